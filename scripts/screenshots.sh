#!/bin/sh
# `just screenshots`: every page of the dashboard in both themes, on a desk and on a phone, from a live cluster in which things break, and the demo as a
# moving picture of 20 s, into docs/screenshots. Takes about five minutes. Needs Node 20, Chromium, pngquant to make the pictures small, and img2webp. With
# the argument `moving` only the moving picture is made.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"
most_kib=3072
most_moving_kib=3072

scripts/node.sh 'the page cannot be built' || exit 1
FAULTLINE_CHROMIUM=${FAULTLINE_CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}
for program in "$FAULTLINE_CHROMIUM" pngquant img2webp; do
  command -v "$program" >/dev/null 2>&1 || { echo "screenshots: ${program:-chromium} is missing (Debian: apt-get install chromium pngquant webp)" >&2; exit 1; }
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
mkdir -p docs/screenshots

if [ "${1:-}" != moving ]; then
  node tests/browser/screenshots.mjs "$work/pages"
  pngquant --force --ext .png --strip --speed 1 128 "$work"/pages/*.png
  kib=$(du -sk "$work/pages" | cut -f 1)
  [ "$kib" -le "$most_kib" ] || { echo "screenshots: $kib KiB exceed the limit of $most_kib KiB" >&2; exit 1; }
  rm -f docs/screenshots/*.png
  cp "$work"/pages/*.png docs/screenshots/
  echo "screenshots: $(find docs/screenshots -name '*.png' | wc -l) pictures, $kib KiB"
fi

node tests/browser/moving.mjs "$work/frames" "$work/demo.webp"
img2webp "$work/frames/img2webp.txt" >/dev/null
kib=$(du -k "$work/demo.webp" | cut -f 1)
[ "$kib" -le "$most_moving_kib" ] || { echo "screenshots: the moving picture's $kib KiB exceed the limit of $most_moving_kib KiB" >&2; exit 1; }
cp "$work/demo.webp" docs/screenshots/
echo "screenshots: the demo in $(find "$work/frames" -name '*.jpg' | wc -l) frames, $kib KiB"
