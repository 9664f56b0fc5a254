#!/bin/sh
# Whether Node 20 or newer with npm is on PATH: node.sh CONSEQUENCE. If not, says so and what follows, and exits with 1.
set -eu

version=$(node --version 2>/dev/null || true)
major=${version#v}
major=${major%%.*}
if [ "${major:-0}" -ge 20 ] && command -v npm >/dev/null 2>&1; then
  exit 0
fi
found=${version:+, found $version}
printf '== Node 20 or newer with npm is needed%s: %s\n' "${found:-, and there is none}" "$1" >&2
exit 1
