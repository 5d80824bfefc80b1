#!/usr/bin/env bash
#SBATCH --job-name=personascope-merge
#SBATCH --requeue
#SBATCH --open-mode=append
# Joins the parts that the tasks of `capture-array.sh` made into OUT/whole. `submit.sh` submits it behind them.
#
#   sbatch --dependency=afterok:ARRAY merge.sh PROGRAM PARTS OUT
set -euo pipefail

program=$1 parts=$2 out=$3
folders=()
for ((part = 0; part < parts; part++)); do
  folders+=("$out/part-$(printf '%05d-of-%05d' "$part" "$parts")")
done
echo "$(date '+%F %T') joining $parts parts into $out/whole"
exec "$program" capture-merge --out "$out/whole" "${folders[@]}"
