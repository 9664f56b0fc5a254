#!/bin/sh
# Prints the folder that cargo builds into, as cargo itself resolves it: CARGO_TARGET_DIR, its configuration files, or target/.
set -eu
cd -- "$(dirname -- "$0")/.."
cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
