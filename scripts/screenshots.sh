#!/bin/sh
# `just screenshots`: every page of the dashboard in both themes, from a live cluster in which things break, into docs/screenshots.
# Takes about two minutes. Needs Node 20, Chromium, and pngquant to make the pictures small.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"
most_kib=2560

scripts/node.sh 'the page cannot be built' || exit 1
FAULTLINE_CHROMIUM=${FAULTLINE_CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}
for program in "$FAULTLINE_CHROMIUM" pngquant; do
  command -v "$program" >/dev/null 2>&1 || { echo "screenshots: ${program:-chromium} is missing (Debian: apt-get install chromium pngquant)" >&2; exit 1; }
done
scripts/web.sh
cargo build --release --locked --bins --quiet
scripts/npm-packages.sh tests/browser

server=$(scripts/nats-server.sh)
[ -z "$server" ] || PATH=$(dirname -- "$server"):$PATH
FAULTLINE_BIN_DIR=$(scripts/target-dir.sh)/release
export PATH FAULTLINE_BIN_DIR FAULTLINE_CHROMIUM
unset FAULTLINE_NATS_URL

work=$(mktemp -d "${TMPDIR:-/tmp}/faultline-screenshots.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
node tests/browser/screenshots.mjs "$work"
pngquant --force --ext .png --strip --speed 1 128 "$work"/*.png

kib=$(du -sk "$work" | cut -f 1)
[ "$kib" -le "$most_kib" ] || { echo "screenshots: $kib KiB exceed the limit of $most_kib KiB" >&2; exit 1; }
mkdir -p docs/screenshots
rm -f docs/screenshots/*.png
cp "$work"/*.png docs/screenshots/
echo "screenshots: $(find docs/screenshots -name '*.png' | wc -l) pictures, $kib KiB"
