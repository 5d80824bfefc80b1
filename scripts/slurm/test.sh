#!/usr/bin/env bash
# The scripts of this folder against a Slurm of its own on this machine: an array of four tasks over prompts made here, one
# of whose programs is killed with -9, one requeued by hand, one told that its time is nearly over. All must have gone on
# where they were, and the joined parts must have the bytes of one capture of the whole. A capture that fails must take
# its join along.
#
#   PERSONASCOPE=target/release/personascope scripts/slurm/test.sh [--install]
#
# Needs Slurm and munge (Debian: slurm-wlm, munge); without them it says so and exits with 77. --install gets them, as
# root. Nothing of a Slurm that is already here is touched: configuration, keys, ports and state are in a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "${1:-}" = --install ]; then
  apt-get install -y --no-install-recommends slurm-wlm munge
fi
PATH=$PATH:/usr/sbin:/sbin
for tool in slurmctld slurmd munged sbatch scontrol scancel; do
  command -v "$tool" >/dev/null || {
    echo "skipped: no $tool here (Debian: apt-get install slurm-wlm munge, or call this with --install)"
    exit 77
  }
done
PERSONASCOPE=$(realpath -- "${PERSONASCOPE:-target/release/personascope}")
[ -x "$PERSONASCOPE" ] || {
  echo "no program $PERSONASCOPE: build it first (cargo build --release)" >&2
  exit 1
}
export PERSONASCOPE
readonly PARTS=4 CONVERSATIONS=${CONVERSATIONS:-12000}

# --- a Slurm of one node
dir=$(mktemp -d)
chmod 755 "$dir" # munge wants to get through to its socket
daemons=()
finish() {
  code=$?
  trap - EXIT INT TERM
  [ ! -e "$dir/up" ] || scancel --user="$(id -un)" 2>/dev/null || true
  [ ! -e "$dir/up" ] || until_true 20 idle || true
  for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do
    kill "${daemons[$i]}" 2>/dev/null || true
    wait "${daemons[$i]}" 2>/dev/null || true
  done
  if [ "$code" -ne 0 ]; then
    tail -n 25 "$dir"/*.log "$dir"/work/*/log/*.log >&2 2>/dev/null || true
  fi
  rm -rf "$dir"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

fail() {
  echo "FAILED: $*" >&2
  exit 1
}
# until_true SECONDS COMMAND...
until_true() {
  local until=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$until" ] || return 1
    sleep 0.1
  done
}
idle() { [ -z "$(squeue --noheader 2>/dev/null)" ]; }
free_port() {
  local port
  while :; do
    port=$((RANDOM % 20000 + 40000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

host=$(hostname -s)
mkdir "$dir/state" "$dir/spool" "$dir/munge"
mkdir -m 700 "$dir/secret"
head -c 128 /dev/urandom >"$dir/secret/key"
chmod 400 "$dir/secret/key"
cat >"$dir/slurm.conf" <<EOF
ClusterName=throwaway
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
# What was requeued waits for as long as a credential is good; the default is two minutes, the least 5 s.
AuthInfo=socket=$dir/munge/socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobRequeue=1
KillWait=3
ReturnToService=2
MpiDefault=none
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
EOF
export SLURM_CONF=$dir/slurm.conf
version=$(slurmctld -V | grep -o '[0-9]*\.[0-9]*' | head -n 1)
if [ "$(printf '%s\n23.11\n' "$version" | sort -V | head -n 1)" = 23.11 ]; then
  echo CgroupPlugin=disabled >"$dir/cgroup.conf" # older ones do not know the word, and do without by themselves
fi
munged --foreground --key-file="$dir/secret/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
  --log-file="$dir/munged.log" --seed-file="$dir/munge/seed" 2>"$dir/munged.out.log" &
daemons+=($!)
until_true 20 test -S "$dir/munge/socket" || fail "munged did not start"
slurmctld -D -i 2>"$dir/slurmctld.out.log" &
daemons+=($!)
slurmd -D 2>"$dir/slurmd.out.log" &
daemons+=($!)
ready() { [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; }
until_true 60 ready || fail "Slurm did not come up"
touch "$dir/up"
echo "Slurm $version is up on $host"

# --- prompts, in a folder whose name has spaces
mkdir "$dir/work"
work="$dir/work/my results"
mkdir "$work"
prompts="$work/all prompts.jsonl"
subjects=(tea rain bread maps clocks rivers songs lamps)
for ((i = 0; i < CONVERSATIONS; i++)); do
  subject=${subjects[i % 8]} other=${subjects[i / 8 % 8]}
  printf '{"id":"c%d","messages":[{"role":"user","content":"Tell me about %s and %s."},' "$i" "$subject" "$other"
  printf '{"role":"assistant","content":"There is much to say about %s number %d."},' "$subject" "$i"
  printf '{"role":"user","content":"And %s?"},{"role":"assistant","content":"Less, but %d of it."}]}\n' "$other" "$((i % 97))"
done >"$prompts"
arguments=(--prompts "$prompts" --pick each_turn --max-batch-tokens 64 --threads 1)

# --- the array; three of its tasks meet with something
running() { [ "$(scontrol show job --oneliner "$1" | grep -o ' JobState=[A-Z]*')" = ' JobState=RUNNING' ]; }
field() { scontrol show job --oneliner "$1" | grep -o " $2=[^ ]*" | head -n 1 | cut -d= -f2; }
part() { printf '%s/part-%05d-of-%05d' "$1" "$2" "$PARTS"; }
# The program of a part of the array, once it has results: what it is disturbed with must not come before it did anything.
program_of() { pgrep -f -- "^$PERSONASCOPE capture .*$(part "$work/out" "$1")"; }
at_work() { [ "$(du -sk "$(part "$work/out" "$1")" 2>/dev/null | cut -f1 || true)" -gt 500 ] 2>/dev/null; }
disturb() {
  until_true 120 at_work "$1" || fail "part $1 did not begin"
  program_of "$1" >/dev/null || fail "part $1 was done before it could be disturbed; more CONVERSATIONS"
}

mapfile -t ids < <(scripts/slurm/submit.sh -n "$PARTS" --out "$work/out" -- "${arguments[@]}")
[ "${#ids[@]}" = 2 ] || fail "submit.sh printed ${#ids[@]} ids"
array=${ids[0]} join=${ids[1]}
echo "array $array, join $join"
disturb 0
kill -9 "$(program_of 0)"
disturb 1
scontrol requeue "${array}_1"
disturb 2
scancel --batch --signal=USR1 "${array}_2"
# A record goes from the controller a while after the job; nothing here lasts that long.
ended() { [[ $(field "$1" JobState) =~ ^(COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL)$ ]]; }
until_true 300 ended "$join" || fail "the join has not ended: $(field "$join" JobState), $(field "$join" Reason)"
for i in 0 1 2 3; do
  state=$(field "${array}_$i" JobState) restarts=$(field "${array}_$i" Restarts)
  echo "part $i: $state, Restarts=$restarts"
  [ "$state" = COMPLETED ] || fail "part $i ended as $state"
  [ "$restarts" = $((i < 3)) ] || fail "part $i was started again $restarts times"
  resumed=$(grep -o '"rows_resumed": *[0-9]*' "$(part "$work/out" "$i")/run.json" | grep -o '[0-9]*$')
  [ "$((resumed > 0))" = $((i < 3)) ] || fail "part $i took $resumed rows from before"
done
[ "$(field "$join" JobState)" = COMPLETED ] || fail "the join ended as $(field "$join" JobState)"

# --- the same bytes as in one go
same() {
  local name
  diff <(cd "$1" && find . -type f | sort) <(cd "$2" && find . -type f | sort) || fail "$2 has other files"
  while read -r name; do
    [ "$name" = ./run.json ] || cmp "$1/$name" "$2/$name" || fail "$name differs"
  done < <(cd "$1" && find . -type f | sort)
}
"$PERSONASCOPE" capture "${arguments[@]}" --out "$work/alone" 2>/dev/null
same "$work/alone" "$work/out/whole"
echo "joined parts are the bytes of one capture"

# --- again: parts that are done stay as they are, and so does the whole
made() { find "$work/out/"part-* -name '*.safetensors' -exec stat -c '%n %Y %i' {} + | sort; }
before=$(made)
mapfile -t ids < <(scripts/slurm/submit.sh -n "$PARTS" --out "$work/out" -- "${arguments[@]}")
until_true 120 ended "${ids[1]}" || fail "the second join has not ended"
[ "$(field "${ids[1]}" JobState)" = COMPLETED ] || fail "the second join ended as $(field "${ids[1]}" JobState)"
[ "$before" = "$(made)" ] || fail "parts that were done were written again"
same "$work/alone" "$work/out/whole"
echo "the same submission again finds its parts done"

# --- what fails for good takes the join along
mapfile -t ids < <(scripts/slurm/submit.sh -n 2 --out "$work/bad" -- --prompts "$work/none.jsonl")
until_true 120 ended "${ids[1]}" || fail "the join of a failed array waits: $(field "${ids[1]}" Reason)"
[ "$(field "${ids[0]}_1" JobState)" = FAILED ] || fail "a capture without prompts ended as $(field "${ids[0]}_1" JobState)"
[ "$(field "${ids[1]}" JobState)" = CANCELLED ] || fail "its join ended as $(field "${ids[1]}" JobState)"
[ ! -e "$work/bad/whole" ] || fail "something was joined"
echo "a capture that fails cancels its join"
echo "passed in $SECONDS s"
