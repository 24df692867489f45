#!/bin/sh
# Build and test everything, as CI does it: sh tests/run.sh [--quick]
#
# Installs what is missing on Debian or Ubuntu, then builds and runs the suites five times: as a
# release, under AddressSanitizer and UndefinedBehaviorSanitizer, the threads under
# ThreadSanitizer, the tiny model under valgrind, and for 64-bit ARM under qemu-user, where a cross
# compiler is to be had. Ends with "N passed, N failed"; the exit code says the same. --quick: only
# the release.
set -eu

case ${1:-} in
'' | --quick) ;;
*)
    echo "usage: sh tests/run.sh [--quick]"
    echo "Builds and tests everything, as CI does it (10 minutes); --quick: only the release."
    [ "$1" = --help ] || [ "$1" = -h ]
    exit
    ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/tests
jobs=$(nproc 2>/dev/null || echo 2)
started=$(date +%s)
mkdir -p "$build"

have() {
    command -v "$1" >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

say() {
    echo "[$(($(date +%s) - started)) s] $*"
}

# install_packages "A B C": by name; the index is fetched only if it does not know them.
install_packages() {
    have apt-get || return 1
    say "installing $1"
    # shellcheck disable=SC2086
    as_root apt-get install -y -qq --no-install-recommends $1 >"$build/install.log" 2>&1 || {
        as_root apt-get update -qq >>"$build/install.log" 2>&1 || true
        as_root apt-get install -y -qq --no-install-recommends $1 >>"$build/install.log" 2>&1
    }
}

install_missing() {
    missing=
    have gcc || missing="$missing gcc libc6-dev"
    have meson || missing="$missing meson"
    have ninja || missing="$missing ninja-build"
    have pkg-config || missing="$missing pkg-config"
    have python3 || missing="$missing python3"
    have valgrind || missing="$missing valgrind libc6-dbg"
    [ -f /usr/include/cmocka.h ] || missing="$missing libcmocka-dev"
    pkg-config --exists openblas 2>/dev/null || missing="$missing libopenblas-dev"
    if [ -n "$missing" ] && ! install_packages "$missing"; then
        echo "please install:$missing; $build/install.log says why it failed here"
        exit 1
    fi
}

have_arm() {
    have aarch64-linux-gnu-gcc && [ -f /usr/aarch64-linux-gnu/include/stdio.h ] && have qemu-aarch64 ||
        install_packages "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
}

# build NAME OPTION... : one configuration, in $build/NAME
build() {
    name=$1
    shift
    say "building $name"
    if [ ! -f "$build/$name/build.ninja" ]; then
        rm -rf "${build:?}/$name"
        meson setup "$build/$name" "$root" "$@" >"$build/$name.log" 2>&1 || {
            tail -5 "$build/$name.log"
            exit 1
        }
    fi
    ninja -C "$build/$name" -j "$jobs" >"$build/$name.log" 2>&1 || {
        grep -v '^\[' "$build/$name.log" || true
        echo "the build '$name' failed"
        exit 1
    }
}

# run_suites NAME [--suite S]... : test results go into NAME's log, which summary.py reads. A suite
# that fails does not stop the others.
run_suites() {
    name=$1
    shift
    say "testing $name"
    meson test -C "$build/$name" --no-rebuild --num-processes "$jobs" "$@" >"$build/$name.log" 2>&1 || true
    python3 "$root/tests/summary.py" "$name" "$build/$name/meson-logs/testlog.json" >>"$build/summary.txt" || true
}

# Undefined behaviour and leaks are failures, and say where.
export ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1

install_missing
: >"$build/summary.txt"

# Warnings are errors here and not under sanitizers, whose instrumentation makes gcc see ghosts.
build release --buildtype=release -Dwerror=true
run_suites release

if [ "${1:-}" != --quick ]; then
    build sanitize --buildtype=debugoptimized -Db_sanitize=address,undefined -Dbench=false
    run_suites sanitize

    build threads --buildtype=debugoptimized -Db_sanitize=thread -Dbench=false
    run_suites threads --suite threads

    build valgrind --buildtype=debugoptimized -Dvalgrind=true -Dbench=false
    run_suites valgrind --suite valgrind

    # qemu's best CPU has every tier; same_logits.py takes lesser ones too.
    if have_arm; then
        build arm --cross-file "$root/tests/cross/aarch64-linux-gnu.ini" --buildtype=release -Dwerror=true -Dbench=false
        SLM_NATIVE=$build/release/examples/slm/slm QEMU_CPU=max run_suites arm
    else
        say "no cross compiler for 64-bit ARM, or no qemu-user: its tiers are not tested"
    fi
fi

say "done"
python3 "$root/tests/summary.py" --total "$build/summary.txt"
