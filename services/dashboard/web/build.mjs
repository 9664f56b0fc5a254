// Bundles the page into dist/: index.html, and below assets/ files whose names carry the hash of their contents, so that browsers may
// keep them for ever. What compresses well lies there as .br and .gz too: the service sends them as they are.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import esbuild from 'esbuild';

const home = new URL('.', import.meta.url).pathname;
const dist = join(home, 'dist');
const COMPRESSED = /\.(html|js|css|svg)$/;

function bundle() {
  return esbuild.build({
    absWorkingDir: home,
    entryPoints: { app: 'src/main.tsx', icon: 'src/icon.svg' },
    outdir: 'dist/assets',
    bundle: true,
    minify: true,
    format: 'esm',
    target: ['es2022', 'chrome110', 'firefox110', 'safari16'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    entryNames: '[name]-[hash]',
    assetNames: '[name]-[hash]',
    loader: { '.woff2': 'file', '.svg': 'copy', '.md': 'text' },
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
}

function clean() {
  for (const name of readdirSync(dist)) {
    if (name !== '.gitignore') rmSync(join(dist, name), { recursive: true });
  }
}

function compress(path) {
  const body = readFileSync(path);
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: body.length };
  writeFileSync(`${path}.br`, brotliCompressSync(body, { params }));
  writeFileSync(`${path}.gz`, gzipSync(body, { level: 9 }));
}

/** The whole page in one file, with a place for what it shows. Its policy allows this script and this style, and no request at all. */
function recording() {
  const file = (pattern) => readFileSync(join(dist, only(pattern)));
  const asData = (kind, body) => `data:${kind};base64,${body.toString('base64')}`;
  const style = file(/app-\w+\.css$/)
    .toString()
    .replace(/url\("?\.\/([\w.-]+\.woff2)"?\)/g, (_, name) => `url(${asData('font/woff2', readFileSync(join(dist, 'assets', name)))})`);
  const script = file(/app-\w+\.js$/).toString();
  if (/<\/style/i.test(style) || /<\/script|<!--/i.test(script)) throw new Error('the page cannot stand in one file: its script or style ends too early');
  const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  const policy = `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; font-src data:; img-src data:; base-uri 'none'; form-action 'none'`;
  const parts = { policy, icon: asData('image/svg+xml', file(/icon-\w+\.svg$/)), style, script };
  return readFileSync(join(home, 'recording.html'), 'utf8').replace(/\{\{(policy|icon|style|script)\}\}/g, (_, part) => parts[part]);
}

clean();
const { metafile } = await bundle();
const outputs = Object.keys(metafile.outputs).map((path) => path.replace(/^dist\//, ''));
const only = (pattern) => {
  const found = outputs.filter((path) => pattern.test(path));
  if (found.length !== 1) throw new Error(`the bundle should have exactly one ${pattern}, not ${found.length}`);
  return `/${found[0]}`;
};

const page = readFileSync(join(home, 'index.html'), 'utf8')
  .replace('{{style}}', only(/app-\w+\.css$/))
  .replace('{{script}}', only(/app-\w+\.js$/))
  .replace('{{icon}}', only(/icon-\w+\.svg$/));
writeFileSync(join(dist, 'index.html'), page);

writeFileSync(join(dist, 'recording.html'), recording());

for (const path of ['index.html', ...outputs].filter((path) => COMPRESSED.test(path))) compress(join(dist, path));
const kib = (pattern) =>
  (outputs.filter((p) => pattern.test(p)).reduce((sum, p) => sum + readFileSync(join(dist, `${p}.br`)).length, 0) / 1024).toFixed(0);
console.log(`page built: ${outputs.length + 1} files, scripts ${kib(/\.js$/)} KiB and styles ${kib(/\.css$/)} KiB compressed`);
