#!/bin/sh
# Runs inside of the image build, see docker/Dockerfile: build.sh page|programs compiled|prebuilt
set -eu

case $2 in
  compiled | prebuilt) ;;
  *)
    echo "BINARIES is \`$2\`: it is compiled or prebuilt" >&2
    exit 1
    ;;
esac

page() {
  mkdir -p services/dashboard/web/dist
  [ "$1" = prebuilt ] || scripts/web.sh
}

programs() {
  mkdir -p /out/bin
  # Each service gets the volume with its own key, and only that.
  for owner in admin cli dashboard executor fault-detector generator nats policy scheduler up worker; do
    mkdir -p "/out/keys/$owner"
  done
  mkdir -p /out/data/1 /out/data/2 /out/data/3
  if [ "$1" = prebuilt ]; then
    [ -f docker/prebuilt/faultline ] || {
      echo 'docker/prebuilt is empty: scripts/images.sh fills it' >&2
      exit 1
    }
    cp docker/prebuilt/faultline* /out/bin/
    return
  fi
  cargo build --release --locked --workspace --exclude faultline-tests --exclude faultline-test-container --exclude faultline-simulation --bins
  for program in faultline faultline-generator faultline-scheduler faultline-worker faultline-fault-detector faultline-dashboard; do
    strip -o "/out/bin/$program" "target/release/$program"
  done
}

"$1" "$2"
