"""What a library lets out: every global symbol of the static library begins with slm_, the shared
ones export what the public headers declare and nothing else, and (where the build is a release)
the runtime stays below 400 KB when stripped.

usage: check_symbols.py SOURCE_ROOT BUILD_ROOT [--release]
"""
import pathlib
import re
import subprocess
import sys
import tempfile


def symbols(path, *options):
    out = subprocess.run(["nm", "--defined-only", "-g", *options, str(path)], capture_output=True, text=True,
                         check=True).stdout
    return {line.split()[-1] for line in out.splitlines() if len(line.split()) == 3}


def declared(header):
    text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
    return set(re.findall(r"SLM_API\b[^;]*?\b(slm_\w+)\(", text))


def main(root, build, release):
    bad = []
    for name, header in (("slm", "slm.h"), ("slm-convert", "convert.h")):
        for symbol in sorted(symbols(build / "src" / f"lib{name}.a")):
            if not symbol.startswith("slm_") and not symbol.startswith(("__asan", "__odr_asan", "__ubsan", "_GLOBAL_", "__tsan")):
                bad.append(f"lib{name}.a: global symbol {symbol} does not begin with slm_")
        shared = build / "src" / f"lib{name}.so"
        exported = {s for s in symbols(shared, "-D") if not s.startswith(("__", "_"))}
        wanted = declared(root / "include" / "slm" / header)
        bad += [f"lib{name}.so exports {s}, which {header} does not declare" for s in sorted(exported - wanted)]
        bad += [f"lib{name}.so lacks {s}, which {header} declares" for s in sorted(wanted - exported)]
    if release:
        with tempfile.NamedTemporaryFile() as stripped:
            subprocess.run(["strip", "-o", stripped.name, str(build / "src" / "libslm.so")], check=True)
            size = pathlib.Path(stripped.name).stat().st_size
        print(f"stripped libslm.so: {size} bytes")
        if size >= 400 * 1024:
            bad.append(f"stripped libslm.so has {size} bytes; the limit is 409600")
    print("\n".join(bad) or "only what the headers declare leaves the libraries")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), "--release" in sys.argv))
