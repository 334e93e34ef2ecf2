#!/usr/bin/env bash
# Runs a command with a temporary folder and a home of its own, and fails where it leaves anything in them.
set -euo pipefail
place=$(mktemp -d /tmp/cXXXX) # short: Ray puts sockets far below it, and their paths have 107 bytes at most
trap 'rm -rf "$place"' EXIT
mkdir "$place/t" "$place/h"
# What libraries keep for a user's next process, and pytest for a look at its last runs, is not what tests leave.
export MPLCONFIGDIR=$place/matplotlib TORCHINDUCTOR_CACHE_DIR=$place/inductor
export MLFLOW_DISABLE_TELEMETRY=true
export RAY_worker_niceness=0 # Ray's workers, nice by 15 else, would wait for the other tests
export PYTEST_DEBUG_TEMPROOT=${TMPDIR:-/tmp}
export OMP_WAIT_POLICY=passive # a thread that waits for another sleeps: three programs at once have six threads on two cores
unset XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME XDG_STATE_HOME RAY_TMPDIR
code=0
TMPDIR="$place/t" HOME="$place/h" "$@" || code=$?
# Pytest's own processes may still be ending, and remove what is theirs as they do.
for _ in {1..20}; do
  left=$(cd "$place" && find t h -mindepth 1 -maxdepth 3)
  [ -n "$left" ] || break
  sleep 0.5
done
if [ -n "$left" ]; then
  printf 'left in the temporary folder (t) or the home (h):\n%s\n' "$left" >&2
  [ "$code" -ne 0 ] || code=1
fi
exit "$code"
