#!/usr/bin/env bash
# Runs a command with a temporary folder and a home of its own, and fails where it leaves anything in them.
set -euo pipefail
place=$(mktemp -d /tmp/cXXXX) # short: Ray puts sockets far below it, and their paths have 107 bytes at most
trap 'rm -rf "$place"' EXIT
mkdir "$place/t" "$place/h"
code=0
env -u XDG_CONFIG_HOME -u XDG_CACHE_HOME -u XDG_DATA_HOME TMPDIR="$place/t" HOME="$place/h" "$@" || code=$?
left=$(cd "$place" && find t h -mindepth 1 -maxdepth 1 ! -name 'pytest-of-*')
if [ -n "$left" ]; then
  printf 'left in the temporary folder (t) or the home (h):\n%s\n' "$left" >&2
  [ "$code" -ne 0 ] || code=1
fi
exit "$code"
