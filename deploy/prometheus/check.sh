#!/usr/bin/env bash
# Checks configuration, alerts and their unit tests with promtool (Debian package prometheus).
#
#   deploy/prometheus/check.sh [FILE]     FILE: a page that a node answered at /metrics, checked too
set -euo pipefail
page=${1:+$(realpath "$1")}
cd "$(dirname "$0")"
command -v promtool >/dev/null || { echo "check.sh: promtool is not here (apt-get install prometheus)" >&2; exit 3; }
promtool check config prometheus.yml
promtool test rules rollcall.tests.yml
# An alert without a unit test would be a wish.
untested=$(comm -3 <(sed -n 's/^ *- alert: //p' rollcall.rules.yml | sort -u) \
  <(sed -n 's/^ *- name: \(.*\) fires$/\1/p' rollcall.tests.yml | sort -u))
[ -z "$untested" ] || { echo "check.sh: alerts and unit tests differ: $untested" >&2; exit 1; }
if [ -n "$page" ]; then promtool check metrics < "$page"; fi
