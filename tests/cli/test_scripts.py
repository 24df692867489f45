"""The shell scripts of the repository: that they say what they are, and build nothing when asked that."""
import os
import pathlib
import subprocess
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


if __name__ == "__main__":
    unittest.main(verbosity=1)
