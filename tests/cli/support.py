"""What the tests of the command share: running it, and the models it runs on.

The environment names what is tested: SLM (the command), SLM_TEST_DATA and SLM_EXAMPLES (folders).
"""
import fcntl
import os
import pathlib
import pty
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import unittest

DATA = pathlib.Path(os.environ["SLM_TEST_DATA"])
EXAMPLES = pathlib.Path(os.environ["SLM_EXAMPLES"])
SLM = os.environ["SLM"]
STORIES = DATA / "stories260K"
TEXT = (STORIES / "text.txt").read_text().rstrip("\n")
IDS = (STORIES / "ids.txt").read_text().split()

# Shells ignore it in a background job, nohup ignores hanging up, and so would the commands started here.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGTERM, signal.SIG_DFL)

sys.path.insert(0, str(DATA.parent / "python"))
from slm_reader import xxh64  # noqa: E402


class Result:
    def __init__(self, done):
        self.code = done.returncode
        self.raw = done.stdout
        self.out = done.stdout.decode("utf-8", "replace")
        self.err = done.stderr.decode("utf-8", "replace")


def add_chat_template(source, target, template):
    """Write a copy of a .slm file that has this template: one more section at the end, as docs/format.md has it."""
    data = bytearray(source.read_bytes())
    n, = struct.unpack_from("<I", data, 12)
    end = 64 + 32 * n
    first = min(struct.unpack_from("<Q", data, 64 + 32 * i + 8)[0] for i in range(n))
    if end + 32 > first:
        raise RuntimeError("the directory has no room for one more entry")
    while len(data) % 64:
        data.append(0)
    offset, text = len(data), template.encode()
    data += text
    struct.pack_into("<IIQQQ", data, end, 3, 0, offset, len(text), xxh64(text))
    struct.pack_into("<IQQ", data, 12, n + 1, len(data), 0)
    struct.pack_into("<Q", data, 24, xxh64(bytes(data[:end + 32])))
    target.write_bytes(data)


def replace_in_section(source, target, old, new):
    """Write a copy of a .slm file in which bytes of one section are others, and the checksums agree."""
    data = bytearray(source.read_bytes())
    n, = struct.unpack_from("<I", data, 12)
    for entry in range(64, 64 + 32 * n, 32):
        offset, length = struct.unpack_from("<QQ", data, entry + 8)
        section = bytes(data[offset:offset + length])
        if section.count(old) == 1 and len(old) == len(new):
            section = section.replace(old, new)
            data[offset:offset + length] = section
            struct.pack_into("<Q", data, entry + 24, xxh64(section))
            struct.pack_into("<Q", data, 24, 0)
            struct.pack_into("<Q", data, 24, xxh64(bytes(data[:64 + 32 * n])))
            target.write_bytes(data)
            return
    raise RuntimeError(f"no section has {old} once")


# Every message in a line of its own, then the assistant's name.
TEMPLATE = ("{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}")


class CliTest(unittest.TestCase):
    """A folder with three models: plain f32, q8, and f32 with a chat template."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="slm-cli-"))
        cls.environment = {**os.environ, "XDG_CACHE_HOME": str(cls.folder / "cache"), "TERM": "xterm"}
        cls.model = cls.folder / "stories.slm"
        cls.q8 = cls.folder / "stories-q8.slm"
        cls.chat_model = cls.folder / "chat.slm"
        for path, options in ((cls.model, []), (cls.q8, ["--type", "q8"])):
            done = cls.run_slm("convert", STORIES / "stories260K.bin", "-o", path, *options)
            if done.code != 0:
                raise RuntimeError(done.err)
        add_chat_template(cls.model, cls.chat_model, TEMPLATE)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def run_slm(cls, *arguments, stdin=b"", stdout=subprocess.PIPE):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        done = subprocess.run([SLM, *map(str, arguments)], input=stdin, stdout=stdout, stderr=subprocess.PIPE,
                              env=cls.environment, cwd=cls.folder, timeout=300)
        if stdout != subprocess.PIPE:
            done.stdout = b""
        return Result(done)

    def good(self, *arguments, **options):
        """Run it; it must succeed."""
        done = self.run_slm(*arguments, **options)
        self.assertEqual(done.code, 0, done.err)
        return done

    def on_terminal(self, *arguments, columns=80, output=False, **environment):
        """Run it with standard error, and if wanted standard output, on a terminal of so many columns; returns the exit
        code and what appeared there."""
        try:
            master, slave = pty.openpty()
        except OSError as error:  # a container may have none
            self.skipTest(str(error))
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen([SLM, *map(str, arguments)], stdin=subprocess.DEVNULL,
                                   stdout=slave if output else subprocess.DEVNULL, stderr=slave, env={**self.environment, **environment}, cwd=self.folder)
        os.close(slave)
        seen = b""
        try:
            while data := os.read(master, 65536):
                seen += data
        except OSError:  # the other side is closed
            pass
        os.close(master)
        return process.wait(60), seen.decode("utf-8", "replace")

    def bad(self, code, words, *arguments, **options):
        """Run it; it must fail with this exit code, and say these words and nothing on standard output."""
        done = self.run_slm(*arguments, **options)
        self.assertEqual(done.code, code, done.err)
        self.assertIn(words, done.err)
        self.assertEqual(done.out, "")
        self.assertNotIn("\033", done.err, "colours only belong on a terminal")
        self.assertNotRegex(done.err, r"\bslm_[a-z]", "shells know nothing of C's names")
        return done


def main():
    unittest.main(verbosity=1)
