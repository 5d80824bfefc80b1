#!/usr/bin/env bash
#SBATCH --job-name=personascope-capture
#SBATCH --array=0-0
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@60
# One part of a capture, as a task of a job array. `submit.sh` beside this file calls it:
#
#   sbatch --array=0-7 capture-array.sh PROGRAM 8 OUT CAPTURE_ARGUMENTS
#
# Task i makes OUT/part-0000i-of-00008. The number of parts is an argument and not the size of the array, so that some
# tasks of an array can be submitted again. A part that is done already is found so, and the task ends.
#
# USR1 comes a minute before the time limit: the program is stopped and the task put back into the queue. The same is
# done if the program is killed, as by the kernel when memory runs out. A task that somebody cancels (TERM) ends.
set -euo pipefail

program=$1 parts=$2 out=$3
shift 3
part=${SLURM_ARRAY_TASK_ID:?this is a task of a Slurm job array: use submit.sh}
if [ "$part" -ge "$parts" ]; then
  echo "task $part of $parts parts: the array counts from 0" >&2
  exit 2
fi
folder=$out/part-$(printf '%05d-of-%05d' "$part" "$parts")

# A node may have more processors than the task was given.
threads=()
if [ -n "${SLURM_CPUS_PER_TASK:-}" ] && [[ " $* " != *" --threads"[\ =]* ]]; then
  threads=(--threads "$SLURM_CPUS_PER_TASK")
fi

child='' asked='' signals=0
# TERM and not INT: the shell starts what runs in the background with INT ignored.
# shellcheck disable=SC2317 # traps call it
stop() {
  asked=$1 signals=$((signals + 1))
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true
}
trap 'stop again' USR1
trap 'stop end' TERM INT

echo "$(date '+%F %T') task $part of $parts on $(hostname), start $((${SLURM_RESTART_COUNT:-0} + 1)): $folder"
"$program" capture "$@" "${threads[@]}" --shard "$part/$parts" --out "$folder" &
child=$!
[ -z "$asked" ] || kill -TERM "$child" 2>/dev/null || true # it came before there was a child
# A signal ends `wait` before the child has ended.
while :; do
  code=0 before=$signals
  wait "$child" || code=$?
  [ "$signals" -ne "$before" ] || break
done
echo "$(date '+%F %T') task $part ended with $code${asked:+ (asked to $asked)}"

[ "$code" -ne 0 ] || exit 0
if [ "$asked" = again ] || { [ -z "$asked" ] && [ "$code" -eq 137 ]; }; then
  if [ "${SLURM_RESTART_COUNT:-0}" -lt "${PERSONASCOPE_RESTARTS:-20}" ]; then
    scontrol requeue "$SLURM_JOB_ID"
    sleep 60 # Slurm ends this task before that
  else
    echo "started $((SLURM_RESTART_COUNT + 1)) times; not queued again" >&2
  fi
fi
exit "$code"
