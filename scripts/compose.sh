#!/bin/sh
# The cluster in containers, for `just compose-up`, `compose-scale`, `compose-down`, `compose-token` and `compose-cli`:
#
#   compose.sh up [WORKERS] [--cluster] [--observability] [--gpus]     compose.sh scale WORKERS
#   compose.sh down [--keep-data]        compose.sh token        compose.sh cli ARGUMENTS of faultline
#
# FAULTLINE_IMAGES=compiled (the default) compiles inside of the images, =prebuilt packs the programs of `just build` on this machine's
# own libraries, =ready takes the images that are there. COMPOSE_PROJECT_NAME lets several clusters live side by side.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"

COMPOSE_PROJECT_NAME=${COMPOSE_PROJECT_NAME:-faultline}
export COMPOSE_PROJECT_NAME
# What `up` was told, for those that come after it.
memory=.data/compose/$COMPOSE_PROJECT_NAME.env
default_workers=8

say() { printf '== %s\n' "$*" >&2; }

fail() {
  printf 'compose: %s\n' "$*" >&2
  exit 1
}

usage() {
  sed -n 's/^#   //p' "$0" >&2
  exit 2
}

# A whole number from 0 to 500?
check_workers() {
  case $1 in
    '' | *[!0-9]* | ????*) echo "compose: the number of workers must be a whole one from 0 to 500, not \`$1\`" >&2 && exit 2 ;;
  esac
  [ "$1" -le 500 ] || { echo "compose: at most 500 workers, not $1" >&2 && exit 2; }
}

find_compose() {
  command -v docker >/dev/null 2>&1 || fail 'docker not found on PATH: install it, or run the cluster without containers with `just up`'
  answer=$(docker version --format '{{.Server.Version}}' 2>&1) || fail "no container engine answers: start Docker, or name one with DOCKER_HOST. It said:
$answer"
  if docker compose version >/dev/null 2>&1; then
    compose_program='docker compose'
  elif command -v docker-compose >/dev/null 2>&1; then
    compose_program=docker-compose
  else
    fail 'there is neither `docker compose` nor docker-compose: install the compose plugin of Docker, or docker-compose 1.29'
  fi
}

compose() {
  files='-f docker/compose.yaml'
  [ "${FAULTLINE_GPUS:-}" != all ] || files="$files -f docker/compose.gpu.yaml"
  # shellcheck disable=SC2086 # words are meant
  $compose_program $files "$@"
}

remember() { printf '%s\n' "$1" >>"$memory"; }

recall() {
  [ ! -f "$memory" ] || { set -a && . "$root/$memory" && set +a; }
}

# Which options and images; exported, and written down.
choose() {
  mkdir -p "$(dirname -- "$memory")"
  : >"$memory"
  profiles=
  [ -z "$cluster" ] || { profiles=cluster && grep '^FAULTLINE_' docker/cluster.env >>"$memory"; }
  [ -z "$observability" ] || profiles=${profiles:+$profiles,}observability
  remember "COMPOSE_PROFILES=$profiles"
  [ -z "$gpus" ] || remember FAULTLINE_GPUS=all
  case ${FAULTLINE_IMAGES:-compiled} in
    compiled | ready) ;;
    prebuilt) scripts/images.sh >>"$memory" ;;
    *) fail "FAULTLINE_IMAGES is \`$FAULTLINE_IMAGES\`: it is compiled, prebuilt or ready" ;;
  esac
  recall
}

up() {
  workers=$default_workers cluster='' observability='' gpus=''
  for argument in "$@"; do
    case $argument in
      --cluster) cluster=yes ;;
      --observability) observability=yes ;;
      --gpus) gpus=yes ;;
      -*) usage ;;
      *) check_workers "$argument" && workers=$argument ;;
    esac
  done
  find_compose
  choose
  if [ "${FAULTLINE_IMAGES:-compiled}" != ready ]; then
    say "building the images (${FAULTLINE_BINARIES:-compiled}; compiling takes minutes)"
    # The old builder's output goes where it goes; an error is the last thing in it.
    compose --profile tools build >&2
  fi
  compose up --detach --no-build --remove-orphans --scale "worker=$workers"
  say "the cluster runs in containers, with $workers workers"
  say "dashboard: http://127.0.0.1:${FAULTLINE_DASHBOARD_PORT:-8080}, with the token that \`just compose-token\` prints"
  [ -z "$observability" ] || say "Grafana: http://127.0.0.1:${FAULTLINE_GRAFANA_PORT:-3000}, Prometheus: http://127.0.0.1:${FAULTLINE_PROMETHEUS_PORT:-9090}"
}

scale() {
  [ $# -eq 1 ] || usage
  check_workers "$1"
  find_compose
  recall
  # An engine under load can take longer to stop a container than Compose waits for its answer. Scaling is the same when it is done again.
  set -- up --detach --no-build --no-deps --no-recreate --scale "worker=$1" worker
  compose "$@" || { say 'scaling failed; trying once more' && compose "$@"; }
}

down() {
  volumes=--volumes
  case ${1:-} in
    '') ;;
    --keep-data) volumes= ;;
    *) usage ;;
  esac
  find_compose
  recall
  # All profiles, since what belongs to one that is not named stays.
  # shellcheck disable=SC2086
  compose --profile cluster --profile observability --profile tools down --remove-orphans --timeout 5 $volumes
  [ -z "$volumes" ] || rm -f -- "$memory"
}

# The token lies in a volume that only the services see; the container that made it has that volume still.
token() {
  find_compose
  recall
  container=$(compose ps --all --quiet keys 2>/dev/null || compose ps --quiet keys)
  [ -n "$container" ] || fail 'no composed cluster is here: `just compose-up` starts one'
  docker cp "$container:/keys/dashboard/dashboard.token" - | tar -xO
}

cli() {
  find_compose
  recall
  # Without a terminal on both ends there is none to hand on.
  terminal=-T
  [ ! -t 0 ] || [ ! -t 1 ] || terminal=
  # shellcheck disable=SC2086
  exec $compose_program -f docker/compose.yaml --profile tools run --rm $terminal cli "$@"
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
  up | scale | down | token | cli) "$command" "$@" ;;
  *) usage ;;
esac
