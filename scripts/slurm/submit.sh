#!/usr/bin/env bash
# A capture as a Slurm job array, and the job that joins its parts.
#
#   scripts/slurm/submit.sh -n PARTS --out DIR [-s SBATCH_OPTION]... [-m SBATCH_OPTION]... -- CAPTURE_ARGUMENTS
#
#   scripts/slurm/submit.sh -n 8 --out results -s --partition=gpu -s --gpus=1 -s --time=2:00:00 -- \
#     --model org/name --prompts prompts.jsonl --pick mean_response --device cuda
#
# What stands behind `--` goes to `personascope capture` as it is; --shard and --out are added. Paths there are taken from the
# folder in which this is called. -s gives an option to the tasks (-s --array=0-7%2: two at a time; -s --array=3: only
# that part), -m to the join. PERSONASCOPE names the program if it is not `personascope` on the PATH.
#
# The parts are DIR/part-00000-of-00008 ..., what they say DIR/log, the result DIR/whole. A task that is killed, that comes
# near its time limit or whose node is lost is queued again and goes on where it was (after PERSONASCOPE_RESTARTS times, 20, it
# fails). If a task fails for good, the join is cancelled: the same command again does what is missing and joins.
#
# On standard output: the id of the array and of the join, a line each.
set -euo pipefail

usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p;}' "$0"; }
refuse() {
  echo "submit.sh: $*" >&2
  exit 2
}

parts='' out='' for_tasks=() for_join=()
while [ $# -gt 0 ]; do
  case $1 in
    -n | --out | -s | -m)
      [ $# -ge 2 ] || refuse "$1 needs a value"
      case $1 in
        -n) parts=$2 ;;
        --out) out=$2 ;;
        -s) for_tasks+=("$2") ;;
        -m) for_join+=("$2") ;;
      esac
      shift 2
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    --)
      shift
      break
      ;;
    *) refuse "unknown argument \`$1\`; arguments of capture stand behind \`--\`" ;;
  esac
done
[[ $parts =~ ^[1-9][0-9]{0,4}$ ]] || refuse "-n: the number of parts, 1 to 99999"
[ -n "$out" ] || refuse "--out: the folder for parts, logs and the result"
[ $# -gt 0 ] || refuse "nothing to capture: arguments of \`personascope capture\` stand behind \`--\`"
for argument; do
  case $argument in
    --out | --out=* | --shard | --shard=*) refuse "$argument is set here; give --out before \`--\`" ;;
  esac
done
command -v sbatch >/dev/null || refuse "sbatch is not on the PATH"

asked=${PERSONASCOPE:-personascope}
program=$(command -v -- "$asked") || refuse "no program \`$asked\`: put personascope on the PATH or name it in PERSONASCOPE"
program=$(realpath -- "$program")
here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
mkdir -p -- "$out/log"
out=$(realpath -- "$out")
log=${out//%/%%}/log # `%` begins a pattern there

tasks=$(sbatch --parsable --array="0-$((parts - 1))" --output="$log/part-%5a.log" "${for_tasks[@]}" \
  "$here/capture-array.sh" "$program" "$parts" "$out" "$@")
echo "$tasks"
sbatch --parsable --dependency="afterok:${tasks%%;*}" --kill-on-invalid-dep=yes --output="$log/merge.log" \
  "${for_join[@]}" "$here/merge.sh" "$program" "$parts" "$out"
