#!/usr/bin/env bash
# A capetune command on all nodes of a Slurm job, by a Ray that starts and ends with it:
#   sbatch --nodes=4 deploy/slurm/capetune.sh search --space decoder.yaml --data /shared/mp100 --runs /shared/runs \
#     --name decoder --resume-or-start
#SBATCH --job-name=capetune
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@300
#SBATCH --open-mode=append
#SBATCH --output=capetune-%j.log
# --exclusive: at its end Ray stops every Ray of yours on a node. --signal: five minutes before the time is up the command
# is told to end, and the job is queued again; --resume-or-start goes on where it was.
set -euo pipefail

# shellcheck disable=SC1091
. "${CAPETUNE_VENV:-$HOME/capetune/.venv}/bin/activate"

# A folder that all nodes see, for this job alone: Ray's token, and what is told of the command.
job=$SLURM_SUBMIT_DIR/.capetune-$SLURM_JOB_ID
(umask 077 && mkdir "$job" && python -c 'import secrets; print(secrets.token_hex(32))' >"$job/token")
trap 'rm -rf "$job"' EXIT
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$job/token
export RAY_TMPDIR=/tmp/ray-$SLURM_JOB_ID # of nobody else's, and short: Ray's sockets lie below it
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RAY_ADDRESS=$head:6379

# The command runs on the first node, which is this one. It has begun where its number is written down: Ray ends with 0 too
# where it couldn't start.
# shellcheck disable=SC2016
run='echo $$ >"$0/pid" && exec capetune "$@"'
srun --cpus-per-task="$SLURM_CPUS_ON_NODE" --kill-on-bad-exit=1 \
  ray symmetric-run --address "$RAY_ADDRESS" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_ON_NODE" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" \
  -- bash -c "$run" "$job" "$@" &
step=$!

again() {
  if [ -e "$job/pid" ]; then kill "$(cat "$job/pid")" || true; fi
  wait "$step" || true
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
}
trap again USR1
wait "$step"
if [ ! -e "$job/pid" ]; then
  echo "Ray didn't start on all $SLURM_JOB_NUM_NODES nodes: see above" >&2
  exit 1
fi
