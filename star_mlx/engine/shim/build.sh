#!/bin/sh
# Build the shim for both architectures, or for one: build.sh [x86_64|aarch64 [folder]].
# The arm64 one takes Debian's gcc-aarch64-linux-gnu (override with CC_AARCH64).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${2:-$here}
build() {
    "$2" -O3 -Wall -fPIC -shared -nostdlib -s -Wl,--build-id=none "$here/cblas.c" "$here/products.c" -o "$out/libcblas-$1.so"
}
case "${1:-both}" in
x86_64) build x86_64 "${CC:-cc}" ;;
aarch64) build aarch64 "${CC_AARCH64:-aarch64-linux-gnu-gcc}" ;;
both) build x86_64 "${CC_X86_64:-cc}" && build aarch64 "${CC_AARCH64:-aarch64-linux-gnu-gcc}" ;;
*) echo "build.sh [x86_64|aarch64 [folder]]" >&2 && exit 2 ;;
esac
