#!/usr/bin/env bash
# Whether the unit is one that systemd understands, and how exposed it leaves the service (0 to 10, at most 2.0 here).
set -euo pipefail
cd "$(dirname "$0")"
command -v systemd-analyze >/dev/null || { echo "check.sh: systemd-analyze is not here" >&2; exit 3; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# The program need not be installed where this runs.
sed 's|^ExecStart=[^ ]*|ExecStart=/bin/true|' rollcall.service > "$folder/rollcall.service"
said=$(systemd-analyze verify --man=no "$folder/rollcall.service" 2>&1) || { echo "$said" >&2; exit 1; }
[ -z "$said" ] || { echo "$said" >&2; exit 1; }
systemd-analyze security --offline=true --threshold=20 "$folder/rollcall.service" | tail -n 1
