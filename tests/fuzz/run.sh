#!/usr/bin/env bash
# Fuzzes targets for so many seconds each (60), and keeps what their corpora gained, minimized: run.sh [seconds] [target …]
# A finding ends the run with its input in tests/fuzz/artifacts/, and what to call to see it again.
set -euo pipefail
cd "$(dirname "$0")"
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0

seconds=${1:-60}
[ $# -gt 0 ] && shift
host=$(rustc -vV | sed -n 's/^host: //p')
bin=${ROLLCALL_FUZZ_BUILT:-target/$host/release}

# Coverage as cargo fuzz asks for it, of everything but build scripts and macros: those run on the host, which --target sets apart.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# ROLLCALL_FUZZ_BUILT is a folder of binaries that were built before.
[ -n "${ROLLCALL_FUZZ_BUILT:-}" ] || cargo build --release --locked --target "$host" -q --features gossip,raft,server

# A crate's name, a tab, a target's name.
all=$(for crate in gossip raft server; do
  sed -n "s/^    (\"\([a-z_]*\)\", .*/$crate\t\1/p" "../../crates/rollcall-$crate/src/fuzz.rs"
done)

printf '%-16s %12s %9s %7s %9s %7s %7s %8s\n' target executions per-s edges features inputs KiB seconds
failed=0
while IFS=$'\t' read -r crate target; do
  [ $# = 0 ] || [[ " $* " = *" $target "* ]] || continue
  export ROLLCALL_FUZZ_TARGET=$target
  kept=corpus/$target work=target/corpus/$target log=target/$target.log
  mkdir -p "$kept" "$work" artifacts
  started=$SECONDS
  if ! "$bin/$crate" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="artifacts/$target-" "$work" "$kept" >"$log" 2>&1; then
    failed=1
    echo "$target: a finding; ROLLCALL_FUZZ_TARGET=$target tests/fuzz/$bin/$crate <the file that tests/fuzz/$log names>"
    grep -aE 'panicked at|^SUMMARY|Test unit written' -A1 "$log" | head -n 8 || true
    continue
  fi
  # The fewest inputs that reach every edge which all of them together do. How often each is passed is left to target/corpus.
  rm -rf "$kept.new" && mkdir "$kept.new"
  "$bin/$crate" -set_cover_merge=1 -use_counters=0 -artifact_prefix=artifacts/ "$kept.new" "$kept" "$work" >>"$log" 2>&1
  rm -rf "$kept" && mv "$kept.new" "$kept"
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | head -n 1)
  read -r edges features < <(grep -aoE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -n 1 | sed 's/cov: //;s/ft: //')
  printf '%-16s %12s %9s %7s %9s %7s %7s %8s\n' "$target" "$executions" $((executions / (seconds > 0 ? seconds : 1))) \
    "$edges" "$features" "$(find "$kept" -type f | wc -l)" "$(find "$kept" -type f -printf '%s\n' | awk '{ s += $1 } END { print int((s + 1023) / 1024) }')" \
    $((SECONDS - started))
done <<<"$all"
exit $failed
