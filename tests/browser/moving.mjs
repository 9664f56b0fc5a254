// The demo as a moving picture: a rack, the leader, and NATS die, then a worker by the key K. Run by scripts/screenshots.sh, which names a folder
// for the frames and the picture; writes what img2webp is told into a file in that folder.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Browser } from './lib/browser.mjs';
import { FAULTLINE } from './lib/cluster.mjs';
import { eventually } from './lib/wait.mjs';

const [folder, picture] = process.argv.slice(2);
const FRAME_MS = 250;
/** What is cut out of the demo: from the beginning of a scene on, in milliseconds. Together 20 s. */
const KEPT = [
  [/rack-\d+ dies/, 7000],
  ['The leading scheduler dies', 4500],
  ['NATS dies', 4500],
  ['Your turn: press K', 4000],
];
const QUALITY = 55;

const home = mkdtempSync(join(tmpdir(), 'faultline-moving.'));
mkdirSync(folder, { recursive: true });
let said = '';
const demo = spawn(FAULTLINE, ['demo', '--no-browser', '--nodes', '64', '--scene', '6s'], {
  cwd: home,
  stdio: ['ignore', 'pipe', 'pipe'],
  env: { ...process.env, NO_COLOR: '1' },
});
for (const stream of [demo.stdout, demo.stderr]) stream.on('data', (text) => (said += text));
const ended = new Promise((resolve) => {
  demo.on('exit', resolve);
});
const browser = await Browser.start();
try {
  const url = await eventually('the demo has a page', () => said.match(/open in a browser: (\S+)/)?.[1], 120_000);
  const page = await browser.page(url, { theme: 'dark', width: 1500, height: 860, scale: 0.75 });
  const caption = page.getByRole('region', { name: 'Demo' });
  // The caption at the top, and the map below it: that is where it happens.
  for (const hidden of [page.locator('section.time'), page.locator('main > .columns').first()])
    await hidden.evaluate((one) => (one.style.display = 'none'));
  const told = ['-loop', '0', '-min_size', '-lossy', '-q', String(QUALITY), '-m', '5'];
  let frames = 0;
  for (const [title, keptMs] of KEPT) {
    await caption.getByRole('heading', { name: title }).waitFor({ timeout: 120_000 });
    if (title === KEPT.at(-1)[0]) await page.keyboard.press('k');
    const from = performance.now();
    while (performance.now() - from < keptMs) {
      const began = performance.now();
      const name = `${String((frames += 1)).padStart(4, '0')}.jpg`;
      await page.screenshot({ path: join(folder, name), type: 'jpeg', quality: 90, animations: 'allow' });
      await new Promise((resolve) => {
        setTimeout(resolve, Math.max(0, FRAME_MS - (performance.now() - began)));
      });
      told.push('-d', String(Math.round(performance.now() - began)), join(folder, name));
    }
  }
  told.push('-o', picture);
  writeFileSync(join(folder, 'img2webp.txt'), `${told.join('\n')}\n`);
  if (page.complaints.length) throw new Error(page.complaints.join('\n'));
} finally {
  await browser.stop();
  demo.kill('SIGINT');
  await ended;
  rmSync(home, { recursive: true, force: true });
}
