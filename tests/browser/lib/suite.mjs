// One cluster and one browser for the tests of a file; whatever the pages complained about fails the test that opened them.

import assert from 'node:assert/strict';
import { after, afterEach, before } from 'node:test';
import { Browser } from './browser.mjs';
import { Cluster } from './cluster.mjs';

/** @param {Parameters<typeof Cluster.start>[0]} options */
export function suite(options = {}) {
  const suite = { cluster: null, browser: null, pages: [] };
  before(async () => {
    [suite.cluster, suite.browser] = await Promise.all([Cluster.start(options), Browser.start()]);
  });
  after(async () => {
    await suite.browser?.stop();
    await suite.cluster?.stop();
  });
  suite.open = async (path = '/', more = {}) => {
    const page = await suite.browser.page(suite.cluster.url + path, more);
    suite.pages.push(page);
    return page;
  };
  afterEach(async () => {
    const pages = suite.pages.splice(0);
    const complaints = pages.flatMap((page) => page.complaints);
    await Promise.all(pages.map((page) => page.context().close()));
    assert.deepEqual(complaints, [], 'the page complained');
  });
  return suite;
}
