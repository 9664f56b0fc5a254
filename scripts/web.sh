#!/bin/sh
# Builds the dashboard's page into services/dashboard/web/dist when its sources have changed; cargo then puts it into the service.
# Without Node 20 or newer nothing is built: the service then serves its API and a page that says how to get this one. The same
# with FAULTLINE_WEB=off, for those who want neither npm nor its packages.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root/services/dashboard/web"

say() { printf '== %s\n' "$*" >&2; }

if [ "${FAULTLINE_WEB:-}" = off ]; then
  say 'FAULTLINE_WEB=off: the dashboard starts without its page'
  exit 0
fi
"$root/scripts/node.sh" 'the dashboard starts without its page' || exit 0

stamp=dist/.sources
sources=$(node sources.mjs)
if [ -f dist/index.html ] && [ "$(cat "$stamp" 2>/dev/null)" = "$sources" ]; then
  exit 0
fi

say 'building the page of the dashboard'
"$root/scripts/npm-packages.sh" . || {
  say 'npm could not install the packages of the page: check that npm reaches its registry, or start without the page with FAULTLINE_WEB=off'
  exit 1
}
npm run --silent build >&2
printf '%s\n' "$sources" >"$stamp"
