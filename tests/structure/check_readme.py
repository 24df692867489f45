"""The README's hello world: compiled exactly as shown, against an installed library that pkg-config finds, as C99 and
C11, shared and static; it must have at most 40 lines and run. A program that converts is linked in the same ways, and
finds the message of a failure in slm_last_error(); examples/hello.py calls the library through ctypes. The headers must also compile as C++.

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


CONVERTER = r"""
#include <slm/convert.h>
#include <stdio.h>
int main(void)
{
    slm_model *model = NULL;
    slm_model_open(&model, "no model", NULL);
    int rc = slm_convert("no source", "out.slm", NULL);
    printf("%d %s\n", rc, slm_last_error());
    rc = slm_convert_detect(NULL);
    printf("%d %s\n", rc, slm_last_error());
    return 0;
}
"""


APP = """project('app', 'c')
executable('hello', 'hello.c', dependencies: dependency('slm', fallback: ['libslm', 'slm_dep']))
executable('converter', 'converter.c', dependencies: dependency('slm-convert', fallback: ['libslm', 'slm_convert_dep']))
"""


def check_subproject(root, app):
    """A project that has libslm in subprojects: what its programs are linked with (nothing is compiled)."""
    (app / "subprojects").mkdir(parents=True)
    (app / "subprojects" / "libslm").symlink_to(root)
    (app / "meson.build").write_text(APP)
    for name in ("hello.c", "converter.c"):
        (app / name).write_text((app.parent / name).read_text())
    for kind, ending in (("static", ".a"), ("shared", ".so")):
        run("meson", "setup", app / kind, app, f"-Ddefault_library={kind}", "--force-fallback-for=slm,slm-convert")
        for program, libraries in (("hello", ["libslm"]), ("converter", ["libslm", "libslm-convert"])):
            link = run("ninja", "-C", app / kind, "-t", "commands", program).splitlines()[-1].split()
            names = [pathlib.Path(word).name for word in link if not word.startswith("-")]
            linked = {re.sub(r"(\.\d+)+$", "", name) for name in names if name.partition(".")[0] in ("libslm", "libslm-convert")}
            if linked != {name + ending for name in libraries}:
                sys.exit(f"{program} of a {kind} project is linked with {linked}")


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
        (folder / "converter.c").write_text(CONVERTER)

        def built(name, package, standard, static, *arguments):
            """What the program prints when it is linked with what pkg-config says."""
            flags = run("pkg-config", "--cflags", "--libs", *(["--static"] if static else []), package, env=env).split()
            if static:
                flags = [str(lib / f"lib{f[2:]}.a") if f.startswith("-lslm") else f for f in flags]
            output = folder / f"{name}-{standard}-{static}"
            run(cc, f"-std={standard}", "-Wall", "-Wextra", "-pedantic", "-Werror", folder / f"{name}.c", "-o", output, *flags)
            return run(output, *arguments, env={**env, "LD_LIBRARY_PATH": str(lib)})

        for standard in ("c99", "c11"):
            for static in (False, True):
                text = built("hello", "slm", standard, static, model, "Once upon a time")
                if not text.startswith(", there was a little"):
                    sys.exit(f"hello ({standard}) answered {text!r}")
                text = built("converter", "slm-convert", standard, static)
                if text != "-3 no source: No such file or directory\n-1 slm_convert_detect: path is NULL\n":
                    sys.exit(f"converter ({standard}, {'static' if static else 'shared'}) said {text!r}")
        text = run(sys.executable, "-B", root / "examples/hello.py", model, env={**env, "LD_LIBRARY_PATH": str(lib)})
        if not text.startswith(", there was a little"):
            sys.exit(f"hello.py answered {text!r}")
        for library, asked, words in (("/nowhere/libslm.so", model, "hello.py: libslm is not found: /nowhere/libslm.so"),
                                      (__file__, model, "hello.py: libslm is not found: "),
                                      (lib / "libslm.so", "nowhere.slm", "hello.py: nowhere.slm: No such file")):
            done = subprocess.run([sys.executable, "-B", root / "examples/hello.py", asked], capture_output=True, text=True,
                                  env={**env, "SLM_LIBRARY": str(library)})
            if done.returncode != 1 or not done.stderr.startswith(words) or done.stderr.count("\n") != 1:
                sys.exit(f"hello.py with {library} and {asked} said {done.stderr!r}")
        check_subproject(root, folder / "app")
        if shutil.which("c++"):
            (folder / "header.cc").write_text("#include <slm/slm.h>\n#include <slm/convert.h>\nint main() { return slm_version_number() == 0; }\n")
            flags = run("pkg-config", "--cflags", "--libs", "slm", env=env).split()
            run("c++", "-std=c++17", "-Wall", "-Wextra", "-pedantic", "-Werror", folder / "header.cc", "-o", folder / "header", *flags)
    print(f"README's hello world ({lines} lines) builds and runs, shared and static")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]).resolve())
