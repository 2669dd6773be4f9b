#!/usr/bin/env bash
# FNKD Lab on Slurm. FNKD_HOME and the environment with `fnkd` lie on storage that all nodes share.
#
#   sbatch docs/cluster/slurm.sh train        one run on all devices of all nodes, by torchrun
#   sbatch --nodes=1 --array=0-4 docs/cluster/slurm.sh seeds    a run a seed, each a job of its own, by torchrun
#   sbatch docs/cluster/slurm.sh compare      many runs, one a device, over all nodes by Ray
#   sbatch docs/cluster/slurm.sh extract      a teacher's outputs, shared by all nodes by Ray
#
# A job that is requeued, or submitted again with the same RUN, goes on from the last finished epoch.
#SBATCH --job-name=fnkd
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=fnkd-%x-%j.txt
set -euo pipefail

export FNKD_HOME="${FNKD_HOME:?says where runs, stores and checkpoints are, on shared storage}"
DATA=(--dataset "${DATASET:-cifar100}")
TEACHER="${TEACHER:?the checkpoint to learn from, as \`fnkd checkpoints list\` names it}"
RUN="$FNKD_HOME/runs/${RUN:-slurm-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}-${SLURM_ARRAY_TASK_ID:-0}}"
CARDS="${SLURM_GPUS_ON_NODE:-1}"

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head="${nodes[0]}"

train_or_resume() {  # the settings of a run; where its folder holds one, that goes on
  local settings=("${DATA[@]}" --teacher "$TEACHER" --devices "$CARDS" --run-dir "$RUN" "$@")
  if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then  # the first to come owns the run, the others take part
    srun fnkd train "${settings[@]}" --nodes "$SLURM_JOB_NUM_NODES" --rdzv-endpoint "$head:29500"
  elif [ -e "$RUN/spec.json" ]; then
    fnkd runs resume "$RUN"
  else
    fnkd train "${settings[@]}"
  fi
}

start_ray() {  # a cluster of this job's own, with a token of its own: others on these nodes can reach its ports
  RAY_AUTH_TOKEN="$(python3 -c 'import secrets; print(secrets.token_hex(32))')"
  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
  address="$head:$((20000 + SLURM_JOB_ID % 10000))"
  share=(--block --disable-usage-stats --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="$CARDS")
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --port="${address##*:}" --include-dashboard=false "${share[@]}" &
  for _ in $(seq 60); do
    ray status --address="$address" >/dev/null 2>&1 && break
    sleep 2
  done
  if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --overlap --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" \
      ray start --address="$address" "${share[@]}" &
  fi
  trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
}

case "${1:-}" in
  seeds)
    train_or_resume --method fn --epochs 240 --seed "$SLURM_ARRAY_TASK_ID"
    ;;
  train)
    train_or_resume --method fn --epochs 240
    ;;
  compare)
    start_ray
    fnkd compare "${DATA[@]}" --teacher "$TEACHER" --methods ce,kd,fn --seeds 5 --epochs 240 \
      --engine ray --address "$address" --cpus-per-run "$((SLURM_CPUS_PER_TASK / CARDS))" --gpus-per-run 1
    ;;
  extract)
    start_ray
    fnkd extract "${DATA[@]}" --checkpoint "$TEACHER" --split train --engine ray --address "$address"
    ;;
  *)
    echo "usage: sbatch docs/cluster/slurm.sh train|seeds|compare|extract" >&2
    exit 2
    ;;
esac
