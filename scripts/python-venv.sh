#!/bin/sh
# The Python environment of the example executor and of the tests that use nats-py: made in .tools/python from the pinned, hashed
# requirements, and made anew when these change. Prints the path of its interpreter. Exit code 77, with the reason, where there
# is no Python 3.9 or newer, or no way to the packages.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
requirements=$root/services/worker/examples/python/requirements.txt
home=$root/.tools/python

skip() {
  printf 'python-venv: %s\n' "$1" >&2
  exit 77
}

if [ -f "$home/requirements.txt" ] && cmp -s "$requirements" "$home/requirements.txt" && "$home/bin/python" -c 'import nats, nkeys' 2>/dev/null; then
  printf '%s\n' "$home/bin/python"
  exit 0
fi

python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || skip 'Python 3.9 or newer not found'
mkdir -p "$root/.tools"
# Tests that run side by side make it once; a lock ends with its holder.
lock=$root/.tools/python.lock
exec 9>"$lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
if [ ! -f "$home/requirements.txt" ] || ! cmp -s "$requirements" "$home/requirements.txt"; then
  rm -rf "$home"
  log=$root/.tools/python.log
  # Programs in a venv name its path: it is made where it stays, and the copied list, written last, says that it is whole.
  python3 -m venv "$home" >"$log" 2>&1 || skip "python3 -m venv failed: $(tail -n 1 "$log")"
  "$home/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --requirement "$requirements" >>"$log" 2>&1 ||
    skip "the packages cannot be had: $(tail -n 1 "$log")"
  cp "$requirements" "$home/requirements.txt"
fi
printf '%s\n' "$home/bin/python"
