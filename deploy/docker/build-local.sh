#!/usr/bin/env bash
# Builds the image without any registry: the last stage of the Dockerfile, on what this machine compiled.
#
#   deploy/docker/build-local.sh [--binary FILE] [--tag NAME]     default: a build of profile dist, rollcall:local
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
workspace=$(cd "$here/../.." && pwd)
binary=
tag=rollcall:local
while [ $# -gt 0 ]; do
  case $1 in
    --binary) binary=$2; shift 2 ;;
    --tag) tag=$2; shift 2 ;;
    *) echo "build-local.sh: unknown argument $1; there are --binary FILE and --tag NAME" >&2; exit 2 ;;
  esac
done
docker info >/dev/null 2>&1 || { echo "build-local.sh: no Docker engine answers here" >&2; exit 3; }
if [ -z "$binary" ]; then
  (cd "$workspace" && cargo build --locked --profile dist -p rollcall --bin rollcall)
  binary=${CARGO_TARGET_DIR:-$workspace/target}/dist/rollcall
fi

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir -p "$context/image/empty"
sh "$here/rootfs.sh" "$binary" "$context/image/rootfs"
# One description of the image: everything from its last FROM on, with the folder here in place of the stage before.
tac "$here/Dockerfile" | sed '/^FROM scratch/q' | tac | sed 's/--from=build //' > "$context/Dockerfile"
docker build --quiet --tag "$tag" "$context" >/dev/null
docker image inspect --format "$tag: {{.Id}}, {{.Size}} bytes" "$tag"
