#!/bin/sh
# Build the shim for both architectures, or for one: build.sh [x86_64|aarch64 [folder]].
# The arm64 one takes Debian's gcc-aarch64-linux-gnu (override with CC_AARCH64).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "${2:-$here}" && pwd)
# Without the first flag the compiler makes calls of memset and memcpy out of loops.
flags="-fno-tree-loop-distribute-patterns -O3 -fPIC -shared -nostdlib -s -Wl,--build-id=none"
build() {
    (cd "$here" && "$2" $flags $3 -o "$out/libcblas-$1.so")
}
x86_64() { build x86_64 "$1" "cblas.c products.c fused.c"; }
aarch64() { build aarch64 "$1" cblas.c; }
case "${1:-both}" in
x86_64) x86_64 "${CC:-cc}" ;;
aarch64) aarch64 "${CC_AARCH64:-aarch64-linux-gnu-gcc}" ;;
both) x86_64 "${CC_X86_64:-cc}" && aarch64 "${CC_AARCH64:-aarch64-linux-gnu-gcc}" ;;
*) echo "build.sh [x86_64|aarch64 [folder]]" >&2 && exit 2 ;;
esac
