#!/usr/bin/env bash
# Builds the CUDA binary on a machine that has neither a GPU nor a CUDA toolkit.
#
#   scripts/build-cuda.sh [--toolkit DIR] [--target DIR] [--out DIR] [--jobs N] [--arch CC]
#
# The compiler and the libraries come as Python wheels into the toolkit folder (about 1.2 GB, made once); the driver's
# library, which only a machine with a GPU has, is stood in for by a stub with its name and symbols. The result goes to
# --out: `personascope-cuda`, stripped, the same compressed, and `cuda-build.txt` (size, libraries and glibc it needs).
#
# To run it, the machine needs an NVIDIA driver for CUDA 13.0 or later and libcublas.so.13, libcurand.so.10 and
# libcudart.so.13 on LD_LIBRARY_PATH: a PyTorch built for CUDA 13 brings them in `nvidia/cu13/lib`.
set -euo pipefail
cd "$(dirname "$0")/.."

# The kernels are PTX, which the driver compiles: a driver takes PTX of its own CUDA version or older. 13.0 is what the
# first drivers for CUDA 13 take, and the versions below are those PyTorch's wheels for CUDA 13.0 bring.
WHEELS=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-cccl==13.0.85
  nvidia-cuda-runtime==13.0.96 nvidia-cublas==13.1.0.3 nvidia-curand==10.4.0.35 nvidia-cuda-nvrtc==13.0.88)
CUDA_VERSION=13000

toolkit=$PWD/.cuda target=$PWD/target-cuda out=$PWD/target-cuda/carry jobs=1 arch=90
usage() { sed -n '2,11s/^# \{0,1\}//p' "$0"; }
while [ $# -gt 0 ]; do
  case $1 in
    --toolkit) toolkit=$(realpath -m "$2"); shift 2 ;;
    --target) target=$(realpath -m "$2"); shift 2 ;;
    --out) out=$(realpath -m "$2"); shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --arch) arch=$2; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "unknown argument $1" >&2; usage >&2; exit 2 ;;
  esac
done
for tool in cargo gcc python3 readelf strip gzip; do
  command -v "$tool" >/dev/null || { echo "needs $tool on the PATH" >&2; exit 1; }
done

# --- the toolkit: wheels, laid out as nvcc and the build scripts expect
home=$toolkit/home
if [ ! -e "$toolkit/complete" ]; then
  mkdir -p "$toolkit"
  python3 -m venv "$toolkit/venv"
  "$toolkit/venv/bin/pip" -q install "${WHEELS[@]}"
  touch "$toolkit/complete"
fi
packages=$("$toolkit/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia/cu13
test -x "$packages/bin/nvcc" || { echo "no nvcc in $packages: the wheels changed their layout" >&2; exit 1; }
rm -rf "$home"
mkdir -p "$home/bin" "$home/lib64/stubs"
for part in include nvvm; do ln -s "$packages/$part" "$home/$part"; done
for tool in "$packages"/bin/*; do ln -s "$tool" "$home/bin/"; done
for library in "$packages"/lib/*; do
  name=$(basename "$library")
  ln -s "$library" "$home/lib64/$name"
  # Linking looks for the name without a version, which only development packages have.
  case $name in lib*.so.*) ln -sf "$name" "$home/lib64/${name%%.so.*}.so" ;; esac
done

# Kernels of quantised formats would be most of the build and of the binary, and nothing here calls them. In their place
# stand functions of the same names that say so: candle-kernels lists them in ffi.rs, and compiles them one by one.
rm "$home/bin/nvcc"
cat >"$home/bin/nvcc" <<END
#!/usr/bin/env bash
set -euo pipefail
real="$packages/bin/nvcc"
END
cat >>"$home/bin/nvcc" <<'END'
out= source=
args=("$@")
for ((i = 0; i < $#; i++)); do
  case ${args[i]} in
    -o) out=${args[i + 1]} ;;
    *.cu) source=${args[i]} ;;
  esac
done
case $source in
  *mmq_gguf/* | *mmvq_gguf.cu | *moe/*)
    if [ -n "$out" ] && [ -f src/ffi.rs ]; then
      {
        printf '#include <stdio.h>\n#include <stdlib.h>\n'
        grep -oE 'pub fn [A-Za-z0-9_]+' src/ffi.rs | sort -u | awk '{
          print "__attribute__((weak)) void " $3 "(void) { fputs(\"" $3 " is not in this build\\n\", stderr); abort(); }" }'
      } | gcc -fPIC -O1 -c -o "$out" -x c -
      exit
    fi
    ;;
  */quantized.cu | quantized.cu)
    empty=$(mktemp -d)
    trap 'rm -rf "$empty"' EXIT
    echo 'extern "C" __global__ void not_in_this_build() {}' >"$empty/quantized.cu"
    "$real" "${args[@]/#$source/$empty/quantized.cu}"
    exit
    ;;
esac
exec "$real" "$@"
END
chmod +x "$home/bin/nvcc"

# --- the driver's library: every function that the binding declares, empty
cargo fetch --quiet --locked
binding=$(cargo metadata --format-version 1 --locked --features cuda |
  python3 -c 'import json,sys; print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"]=="cudarc"))')
declarations=$(dirname "$binding")/src/driver/sys/mod.rs
stub=$toolkit/stub.c
grep -hoE '\bfn cu[A-Z][A-Za-z0-9_]*' "$declarations" | sort -u | sed 's/^fn \(.*\)/void \1(void) {}/' >"$stub.new"
[ "$(wc -l <"$stub.new")" -gt 100 ] || { echo "no driver functions found in $declarations" >&2; exit 1; }
mv "$stub.new" "$stub"
gcc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$home/lib64/stubs/libcuda.so" "$stub"
ln -sf libcuda.so "$home/lib64/stubs/libcuda.so.1"

# --- the build, apart from every other
export CUDA_HOME=$home CUDA_PATH=$home CUDA_ROOT=$home CUDA_TOOLKIT_ROOT_DIR=$home PATH=$home/bin:$PATH
export CUDA_COMPUTE_CAP=$arch CUDARC_CUDA_VERSION=$CUDA_VERSION CUDAFORGE_THREADS=$jobs NVCC_APPEND_FLAGS="--compress-mode=size"
export CARGO_TARGET_DIR=$target
started=$SECONDS
cargo build --release --locked -j "$jobs" --features cuda --bin personascope
echo "built in $((SECONDS - started)) s"

# --- what is carried
mkdir -p "$out"
binary=$out/personascope-cuda
strip -o "$binary" "$target/release/personascope"
gzip -9 -k -f "$binary"
if command -v xz >/dev/null; then xz -6 -T1 -k -f "$binary"; fi
{
  echo "bytes $(stat -c %s "$binary")"
  for packed in "$binary".*z; do echo "bytes $(stat -c %s "$packed") $(basename "$packed")"; done
  readelf -d "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/needs \1/p'
  for family in GLIBC GLIBCXX; do
    # None of a family is needed where nothing of it is named.
    { readelf -V "$binary" | grep -oE "\b${family}_[0-9.]+" || true; } | sort -u -V | tail -n1 | sed 's/^/needs /'
  done
} | tee "$out/cuda-build.txt"
missing=$(LD_LIBRARY_PATH="$home/lib64:$home/lib64/stubs" ldd -r "$binary" 2>&1 | grep -E 'not found|undefined symbol' || true)
if [ -n "$missing" ]; then
  echo "unresolved with the toolkit's libraries:" >&2
  echo "$missing" >&2
  exit 1
fi
echo "every symbol resolves with the toolkit's libraries"
