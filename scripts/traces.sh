#!/bin/sh
# Fetches the public cluster traces that replays read: traces.sh [FOLDER], by default shared/traces. A file that is there with the
# right SHA-256 stays; one with another is an error, and so is a download that differs. None of it is committed here.
#
# openb/: tasks and GPU nodes of a production cluster, from alibaba/clusterdata (cluster-trace-gpu-v2023), at a fixed commit.
# swf/lublin_256.swf: a synthetic workload for 256 processors, from the artifact of RLScheduler (SC'20), at a fixed commit.
set -eu

cd -- "$(dirname -- "$0")/.."
folder=${1:-shared/traces}
openb=https://raw.githubusercontent.com/alibaba/clusterdata/50a91c7c74abe3b658188dc78ac1dd302970d40c/cluster-trace-gpu-v2023/csv
rlscheduler=https://raw.githubusercontent.com/DIR-LAB/deep-batch-scheduler/c649e852ab3cabbc5ac8e4f46b81b1dd66625831/data

sum_of() {
  if command -v sha256sum >/dev/null 2>&1; then sha256sum -- "$1"; else shasum -a 256 -- "$1"; fi | cut -d ' ' -f 1
}

download() {
  if command -v curl >/dev/null 2>&1; then
    curl --fail --silent --show-error --location --retry 2 --output "$2" "$1"
  elif command -v wget >/dev/null 2>&1; then
    wget --quiet --output-document="$2" "$1"
  else
    echo 'traces: needs curl or wget' >&2
    return 1
  fi
}

# fetch URL PATH SHA256
fetch() {
  path=$folder/$2
  if [ -f "$path" ]; then
    [ "$(sum_of "$path")" = "$3" ] || { echo "traces: $path is there with other content; move it away" >&2; exit 1; }
    echo "traces: $path is there" >&2
    return 0
  fi
  mkdir -p -- "$(dirname -- "$path")"
  download "$1" "$path.part" || { rm -f -- "$path.part"; echo "traces: could not fetch $1" >&2; exit 1; }
  if [ "$(sum_of "$path.part")" != "$3" ]; then
    rm -f -- "$path.part"
    echo "traces: $1 is not the file that it was (SHA-256 differs)" >&2
    exit 1
  fi
  mv -f -- "$path.part" "$path"
  echo "traces: fetched $path" >&2
}

fetch "$openb/openb_pod_list_default.csv" openb/openb_pod_list_default.csv 1ee7ed79c27a3b0861cda8ddba86a004c6aba904caafa329a76ae93ca63834a8
fetch "$openb/openb_node_list_gpu_node.csv" openb/openb_node_list_gpu_node.csv 2beca64b4d3dfa342036a34b56a495c6cef9225db836c81f541282cb1df320b5
fetch "$rlscheduler/lublin_256.swf" swf/lublin_256.swf a394ab3d81179ebcf645a1cbd593a60b6dff7f11a510e1e6285c45f43310c962
