// Debian's Chromium without a window. A page that logs an error, breaks the content security policy or asks another host fails its test.

import { chromium } from 'playwright-core';

const QUIET = [
  '--no-sandbox',
  '--disable-dev-shm-usage',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-default-apps',
  '--mute-audio',
];

export const CHROMIUM = process.env.FAULTLINE_CHROMIUM ?? '/usr/bin/chromium';

export class Browser {
  static async start() {
    const browser = new Browser();
    browser.chromium = await chromium.launch({ executablePath: CHROMIUM, args: QUIET });
    return browser;
  }

  /** A page whose complaints are gathered in `page.complaints`; `ready` is what must be there first. */
  async page(url, { theme = 'light', width = 1440, height = 900, scale = 1, ready = '.connection[data-link="live"]', mayFail = /ERR_CONNECTION_REFUSED|WebSocket connection/ } = {}) {
    const context = await this.chromium.newContext({ viewport: { width, height }, deviceScaleFactor: scale, colorScheme: theme });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.complaints = [];
    page.on('pageerror', (error) => page.complaints.push(`uncaught: ${error.message}`));
    page.on('console', (message) => {
      const said = `${message.text()} ${message.location().url}`;
      if (message.type() === 'error' && !mayFail.test(said)) page.complaints.push(`console: ${said}`);
    });
    page.on('request', (request) => {
      const to = new URL(request.url());
      if (!['blob:', 'data:'].includes(to.protocol) && to.host !== new URL(url).host)
        page.complaints.push(`asked another host: ${request.url()}`);
    });
    await page.goto(url);
    await page.locator(ready).first().waitFor();
    return page;
  }

  async stop() {
    await this.chromium.close();
  }
}

/** Opens the table beside a canvas and gives its rows as arrays of cell texts. */
export async function twinRows(page, label) {
  const details = page.locator('details', { has: page.locator('summary', { hasText: label }) }).first();
  if (!(await details.evaluate((element) => element.open))) await details.locator('summary').click();
  return details.locator('tbody tr').evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.trim())));
}
