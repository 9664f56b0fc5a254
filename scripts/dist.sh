#!/bin/sh
# `just dist`: builds what can be installed without a compiler, into dist/: a tar of the stripped release programs with the page inside, and a
# Python wheel that carries the same and brings a nats-server. Both are for this machine's system, and its C library or newer. The wheel
# needs Python 3.9 with venv and a way to PyPI; without, only the tar is made, and the exit code is 77.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"
programs='faultline faultline-generator faultline-scheduler faultline-worker faultline-fault-detector faultline-dashboard'

scripts/web.sh
cargo build --release --locked --workspace --exclude faultline-tests --exclude faultline-test-container --exclude faultline-simulation --bins
release=$(scripts/target-dir.sh)/release
version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
nats_version=$(sed -n 's/^nats_version=\([0-9.]*\).*/\1/p' scripts/nats-server.sh)

work=$(mktemp -d "${TMPDIR:-/tmp}/faultline-dist.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

name=faultline-$version-$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)
mkdir -p "$work/$name/bin" dist
for program in $programs; do
  strip -o "$work/$name/bin/$program" "$release/$program" 2>/dev/null || cp "$release/$program" "$work/$name/bin/$program"
done
cp README.md LICENSE CHANGELOG.md "$work/$name/"
tar -C "$work" -czf "$work/$name.tar.gz" "$name"
mv -f "$work/$name.tar.gz" dist/
echo "dist/$name.tar.gz: $(du -h "dist/$name.tar.gz" | cut -f 1)"

skip() {
  printf 'dist: no wheel: %s\n' "$1" >&2
  exit 77
}

python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || skip 'Python 3.9 or newer is missing'
stage=$work/wheel
mkdir "$stage"
cp -R "$work/$name/bin" README.md LICENSE scripts/dist/platform_wheel.py "$stage/"
sed "s/@VERSION@/$version/; s/@NATS_VERSION@/$nats_version/" scripts/dist/pyproject.toml >"$stage/pyproject.toml"
log=$work/log
python3 -m venv "$work/venv" >"$log" 2>&1 || skip "python3 -m venv failed: $(tail -n 1 "$log")"
pip="$work/venv/bin/python -m pip --disable-pip-version-check --no-input"
$pip install --quiet --require-hashes --requirement scripts/dist/requirements.txt >"$log" 2>&1 ||
  skip "what builds it cannot be installed: $(tail -n 1 "$log")"
$pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/built" "$stage" >"$log" 2>&1 || {
  cat "$log" >&2
  exit 1
}
rm -f dist/faultline-*.whl
mv -f "$work"/built/*.whl dist/
for wheel in dist/faultline-"$version"-*.whl; do echo "$wheel: $(du -h "$wheel" | cut -f 1)"; done
