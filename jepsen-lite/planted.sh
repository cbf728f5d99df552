#!/usr/bin/env bash
# Builds nodes that can show bugs, has the harness look for each, and checks that a normal build holds none of them.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build -p jepsen-lite
cargo build -p rollcall
if grep -q PLANTED_BUG target/debug/rollcall; then
  echo "a normal build reads PLANTED_BUG: planted bugs are not compiled out" >&2
  exit 1
fi
cargo build -p rollcall --features planted-bugs
cp target/debug/rollcall target/debug/rollcall-planted
# Nobody should start the special build by mistake.
cargo build -p rollcall
target/debug/jepsen-lite suite jepsen-lite/suites/planted.txt -- --rollcall target/debug/rollcall-planted "$@"
