#!/bin/sh
# What the images are built from when their programs are not compiled inside of them: images.sh
#
# Puts this machine's release programs into docker/prebuilt, and makes two base images out of this machine's own files, so that nothing is
# pulled and the C library is the one that the programs were linked with: one with those libraries, and one with the shell that the build
# needs. Also the image of the NATS server, out of the pinned binary. Prints, as lines of NAME=VALUE, what docker/compose.yaml has to know.
# For Linux with glibc. The programs must be there: `just build`.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"

fail() {
  printf 'images: %s\n' "$*" >&2
  exit 1
}

[ "$(uname -s)" = Linux ] || fail 'programs of this machine run in containers on Linux only: leave FAULTLINE_IMAGES out, and they are compiled in the image'
command -v ldd >/dev/null 2>&1 || fail 'ldd is missing, which says what libraries a program needs'

programs='faultline faultline-generator faultline-scheduler faultline-worker faultline-fault-detector faultline-dashboard'
release=$(scripts/target-dir.sh)/release
mkdir -p docker/prebuilt
for program in $programs; do
  [ -x "$release/$program" ] || fail "$release/$program is missing: build it with \`just build\`"
  # Unchanged ones stay as they are, so that the image's layers do.
  if [ ! docker/prebuilt/"$program" -nt "$release/$program" ]; then
    strip -o "docker/prebuilt/$program" "$release/$program" 2>/dev/null || cp "$release/$program" "docker/prebuilt/$program"
  fi
done

work=$(mktemp -d "${TMPDIR:-/tmp}/faultline-images.XXXXXX")
trap 'rm -rf -- "$work"' EXIT

# The shared libraries of programs, and the loader.
libraries_of() { ldd "$@" | sed -n 's/^[^(]*[[:space:]]\(\/[^ ]*\) (0x.*/\1/p' | sort -u; }

add() {
  tree=$1
  shift
  for file in "$@"; do
    mkdir -p "$tree$(dirname -- "$file")"
    cp -L -- "$file" "$tree$file"
  done
}

# An image of a folder, under a tag that says what is in it: an unchanged one is not made again, and keeps the layers above it.
import() {
  name=$1
  tree=$2
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$tree" -cf "$work/image.tar" .
  tag=$name:$(sha256sum "$work/image.tar" | cut -c 1-12)
  docker image inspect "$tag" >/dev/null 2>&1 || docker import --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin' "$work/image.tar" "$tag" >/dev/null
  printf '%s\n' "$tag"
}

base=$work/base
mkdir -p "$base/etc" "$base/tmp"
chmod 1777 "$base/tmp"
echo 'faultline:x:10001:10001::/nonexistent:/nonexistent' >"$base/etc/passwd"
echo 'hosts: files dns' >"$base/etc/nsswitch.conf"
# shellcheck disable=SC2046 # paths of libraries have no spaces
add "$base" $(cd docker/prebuilt && libraries_of $programs)

builder=$work/builder
cp -a "$base" "$builder"
for tool in sh cp mkdir; do
  path=$(command -v "$tool")
  # shellcheck disable=SC2046
  add "$builder" $(libraries_of "$path")
  mkdir -p "$builder/bin"
  cp -L -- "$path" "$builder/bin/$tool"
done

base_image=$(import faultline/base "$base")
builder_image=$(import faultline/builder "$builder")
scripts/nats-server.sh pinned >/dev/null
nats_image=faultline/nats:2.15.1
DOCKER_BUILDKIT=0 docker build --quiet --tag "$nats_image" --file docker/nats/Dockerfile . >/dev/null
cat <<EOF
FAULTLINE_BINARIES=prebuilt
FAULTLINE_NODE_IMAGE=$builder_image
FAULTLINE_BUILDER_IMAGE=$builder_image
FAULTLINE_BASE_IMAGE=$base_image
FAULTLINE_NATS_IMAGE=$nats_image
EOF
