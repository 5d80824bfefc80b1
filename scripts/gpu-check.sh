#!/usr/bin/env bash
# What only a machine with a GPU can show. No Rust is needed there: the binary is carried, as scripts/build-cuda.sh left it.
#
#   scripts/gpu-check.sh BINARY [--out DIR] [--python PYTHON] [--device cuda:0] [--only STEP[,STEP]] [--quick]
#
# BINARY: personascope-cuda, or the same compressed (.gz, .xz). PYTHON: one with torch and transformers for CUDA; its
# NVIDIA libraries are what the binary runs on. Steps, in order:
#   parity  every fixture in tests/fixtures, in f32 and in bf16, against the reference's numbers
#   demo    the shipped probes on the embedded model, on the GPU
#   bench   shapes of 1 B and 8 B parameters in bf16, ours and transformers'
# Every step leaves JSON and a log in DIR, `gpu-check.json` has all of it, and the table is printed at the end. Exit code 1
# if a step failed; the others are run all the same.
set -uo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

usage() { sed -n '2,13s/^# \{0,1\}//p' "$0"; }
out=$PWD/gpu-check python=python3 device=cuda:0 steps=parity,demo,bench quick=false binary=
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=$2; shift 2 ;;
    --python) python=$2; shift 2 ;;
    --device) device=$2; shift 2 ;;
    --only) steps=$2; shift 2 ;;
    --quick) quick=true; shift ;;
    -h | --help) usage; exit 0 ;;
    -*) echo "unknown argument $1" >&2; usage >&2; exit 2 ;;
    *) binary=$1; shift ;;
  esac
done
[ -f "$binary" ] || { echo "no binary: ${binary:-none given}" >&2; usage >&2; exit 2; }
command -v "$python" >/dev/null || { echo "no Python: $python" >&2; exit 2; }
mkdir -p "$out" && out=$(cd "$out" && pwd)

run=$out/personascope
case $binary in
  *.gz) gzip -dc "$binary" >"$run" ;;
  *.xz) xz -dc "$binary" >"$run" ;;
  *) cp "$binary" "$run" ;;
esac
chmod +x "$run"

# The libraries: those of PyTorch's wheels, and the driver's own where the system keeps it out of the loader's way.
libraries=$("$python" -c 'import nvidia, glob, os; print(":".join(sorted({os.path.dirname(f) for p in nvidia.__path__ for f in glob.glob(p + "/**/lib*.so*", recursive=True)})))' 2>/dev/null)
for folder in /usr/local/nvidia/lib64 /usr/lib/x86_64-linux-gnu /usr/lib64; do
  [ -e "$folder/libcuda.so.1" ] && libraries=$libraries:$folder && break
done
# Ours alone: Python finds its own.
ours() { LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$run" "$@"; }
if ! ours --version; then
  echo "the binary does not start; what it lacks:" >&2
  LD_LIBRARY_PATH=$libraries ldd "$run" | grep 'not found' >&2
  exit 1
fi
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$out/gpu.txt" || true

failed=()
step() { # name, command...: its output is shown and kept
  local name=$1 began=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@" 2>&1 | tee "$out/$name.log"; then echo "-- $name: $((SECONDS - began)) s"; else failed+=("$name"); echo "-- $name: FAILED"; fi
}
wanted() { case ,$steps, in *,$1,*) return 0 ;; *) return 1 ;; esac; }

# The driver compiles kernels when they are first used: once, so that nothing below is timed with it.
step warm ours generate --prompts /dev/stdin --max-new-tokens 2 --device "$device" --dtype bf16 <<<'{"id":"a","text":"Tea."}'

if wanted parity; then
  for dtype in f32 bf16; do
    step "parity-$dtype" ours parity --fixtures "$here/tests/fixtures" --device "$device" --dtype $dtype --json "$out/parity-$dtype.json"
  done
  step parity-cpu ours parity --fixtures "$here/tests/fixtures" --json "$out/parity-cpu.json"
fi
if wanted demo; then
  step demo ours demo --device "$device" --out "$out/demo"
fi
pairs=()
if wanted bench; then
  shapes=(llama-1b llama-8b) sizes=()
  $quick && shapes=(llama-1b) && sizes=(--prefill 4x256 --decode 1,8 --new 16 --repeats 2)
  for shape in "${shapes[@]}"; do
    same=(--config "$here/scripts/shapes/$shape.json" --device "$device" --dtype bf16 ${sizes[@]+"${sizes[@]}"})
    step "bench-$shape" ours bench "${same[@]}" --json "$out/$shape.ours.json"
    step "peer-$shape" "$python" "$here/scripts/gpu_peer.py" "${same[@]}" --json "$out/$shape.theirs.json"
    [ -f "$out/$shape.ours.json" ] && [ -f "$out/$shape.theirs.json" ] && pairs+=("$out/$shape.ours.json" "$out/$shape.theirs.json")
  done
  [ ${#pairs[@]} -gt 0 ] && step table "$python" "$here/scripts/gpu_peer.py" --join "${pairs[@]}" --json "$out/bench.json"
fi

OUT=$out STEPS=$steps FAILED=${failed[*]-} "$python" - <<'END'
import json, os
from pathlib import Path
out = Path(os.environ["OUT"])
read = lambda name: json.loads((out / name).read_text()) if (out / name).is_file() else None
gpu = (out / "gpu.txt").read_text().splitlines() if (out / "gpu.txt").is_file() else []
parity = {d: read(f"parity-{d}.json") for d in ["f32", "bf16", "cpu"]}
failed = os.environ["FAILED"].split()
whole = {"gpu": gpu, "steps": os.environ["STEPS"].split(","), "failed": failed, "parity": parity, "bench": read("bench.json")}
(out / "gpu-check.json").write_text(json.dumps(whole, indent=1) + "\n")
print(f"\n{'parity':<10}{'fixtures':>10}{'worst rms':>12}{'  all within their bars'}")
for name, p in parity.items():
    if p:
        worst = max(s["rms"] for f in p["fixtures"] for s in f["sites"].values())
        print(f"{name:<10}{len(p['fixtures']):>10}{worst:>12.1e}  {'yes' if p['passed'] else 'NO'}")
END
rm -f "$run"
if [ ${#failed[@]} -gt 0 ]; then
  printf '\nfailed: %s\n' "${failed[*]}"
  exit 1
fi
printf '\nall steps passed; %s\n' "$out/gpu-check.json"
