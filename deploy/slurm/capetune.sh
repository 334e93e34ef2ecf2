#!/usr/bin/env bash
# A capetune command on all nodes of a Slurm job, by a Ray that starts and ends with it:
#   sbatch --nodes=4 deploy/slurm/capetune.sh search --space decoder.yaml --data /shared/mp100 --runs /shared/runs \
#     --name decoder --resume-or-start
#SBATCH --job-name=capetune
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --mem=0
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=capetune-%j.log
# --exclusive, --mem=0: whole nodes; at its end Ray stops every Ray of yours there. --signal: five minutes before the time is
# up the command is told to end, and the job is queued again; --resume-or-start goes on where it was.
set -euo pipefail

# shellcheck disable=SC1091
. "${CAPETUNE_VENV:-$HOME/capetune/.venv}/bin/activate"

# A folder that all nodes see, for this job alone: Ray's token, and the process that the command is.
export job=$SLURM_SUBMIT_DIR/.capetune-$SLURM_JOB_ID log=$SLURM_SUBMIT_DIR/capetune-$SLURM_JOB_ID.log
rm -rf "$job"
trap 'rm -rf "$job"' EXIT
(umask 077 && mkdir "$job" && python -c 'import secrets; print(secrets.token_hex(32))' >"$job/token")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$job/token

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) # this node
export RAY_ADDRESS=$head:6379
export RAY_TMPDIR=/tmp/ray-$SLURM_JOB_ID          # short: Ray's sockets lie below it
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 # seconds for all nodes to come
export RAY_gcs_rpc_server_reconnect_timeout_s=20  # after the command's end the other nodes end so much later

# What Ray itself says goes to capetune-JOB.ray.log, the command's words to capetune-JOB.log. Ray ends with 0 where it can't
# start, too: a node that ends before there is a code ends the job.
# shellcheck disable=SC2016
srun --cpus-per-task="$SLURM_CPUS_ON_NODE" --kill-on-bad-exit=1 --output="${log%.log}.ray.log" --open-mode=append \
  bash -c '"$@"; rm -rf "$RAY_TMPDIR"; [ -e "$job/code" ]' node \
  ray symmetric-run --address "$RAY_ADDRESS" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_ON_NODE" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" -- \
  bash -c '"$@" >>"$log" 2>&1 & echo $! >"$job/pid"; code=0; wait $! || code=$?; echo $code >"$job/code"; exit $code' \
  command capetune "$@" &
step=$!

# shellcheck disable=SC2329
again() {
  kill "$(cat "$job/pid")" || kill "$step"
  wait "$step" || true
  scontrol requeue "$SLURM_JOB_ID"
  exit
}
trap again USR1
wait "$step" || true
if [ ! -e "$job/code" ]; then
  echo "Ray didn't start, or was ended: see ${log%.log}.ray.log" >&2
  exit 1
fi
exit "$(cat "$job/code")"
