// Prints a hash of everything that the built page depends on, so that scripts/web.sh builds only when something changed.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const home = import.meta.dirname ?? new URL('.', import.meta.url).pathname;

function files(folder) {
  return readdirSync(join(home, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path) : [path];
  });
}

const hash = createHash('sha256');
for (const path of [...files('src'), '../../../docs/glossary.md', 'build.mjs', 'index.html', 'recording.html', 'package-lock.json', 'package.json', 'tsconfig.json'].sort()) {
  hash
    .update(path)
    .update('\0')
    .update(readFileSync(join(home, path)))
    .update('\0');
}
console.log(hash.digest('hex'));
