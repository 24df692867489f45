"""The README's hello world: compiled exactly as shown, against an installed library that pkg-config finds, as C99 and
C11, shared and static; it must have at most 40 lines and run. The header must also compile as C++.

usage: check_readme.py SOURCE_ROOT BUILD_ROOT MODEL
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile


def run(*command, **options):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def main(root, build, model):
    program = re.search(r"```c\n(.*?)```", (root / "README.md").read_text(), re.S)[1]
    lines = program.count("\n")
    if lines > 40:
        sys.exit(f"README's hello world has {lines} lines; 40 are allowed")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run("meson", "install", "-C", build, "--no-rebuild", "--destdir", folder / "root")
        pc = next((folder / "root").rglob("slm.pc")).parent
        env = {**os.environ, "PKG_CONFIG_PATH": str(pc), "PKG_CONFIG_SYSROOT_DIR": str(folder / "root")}
        (folder / "hello.c").write_text(program)
        cc = os.environ.get("CC", "cc")
        lib = next((folder / "root").rglob("libslm.so")).parent
        for standard in ("c99", "c11"):
            for static in (False, True):
                flags = run("pkg-config", "--cflags", "--libs", *(["--static"] if static else []), "slm", env=env).split()
                if static:
                    flags = [str(lib / "libslm.a") if f == "-lslm" else f for f in flags]
                output = folder / f"hello-{standard}-{static}"
                run(cc, f"-std={standard}", "-Wall", "-Wextra", "-pedantic", "-Werror", folder / "hello.c", "-o", output, *flags)
                text = run(output, model, "Once upon a time", env={**env, "LD_LIBRARY_PATH": str(lib)})
                if not text.startswith(", there was a little"):
                    sys.exit(f"hello ({standard}) answered {text!r}")
        if shutil.which("c++"):
            (folder / "header.cc").write_text("#include <slm/slm.h>\n#include <slm/convert.h>\nint main() { return slm_version_number() == 0; }\n")
            flags = run("pkg-config", "--cflags", "--libs", "slm", env=env).split()
            run("c++", "-std=c++17", "-Wall", "-Wextra", "-pedantic", "-Werror", folder / "header.cc", "-o", folder / "header", *flags)
    print(f"README's hello world ({lines} lines) builds and runs, shared and static")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]).resolve())
