// Modules of the page for tests without a browser: bundled as for it, and loaded here.

import { createRequire } from 'node:module';

const WEB = new URL('../../../services/dashboard/web/', import.meta.url);

/** What a module of the page exports; `path` is below `src`. */
export async function load(path) {
  const { build } = createRequire(new URL('build.mjs', WEB))('esbuild');
  const { outputFiles } = await build({
    absWorkingDir: WEB.pathname,
    entryPoints: [`src/${path}`],
    bundle: true,
    write: false,
    format: 'esm',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    loader: { '.md': 'text', '.css': 'empty' },
    logLevel: 'warning',
  });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`);
}
