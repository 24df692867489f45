"""Standard streams that somebody closed, or that end too early."""
import os
import subprocess

from support import SLM, STORIES, CliTest, main

PROMPT = "Once upon a time"


class Streams(CliTest):
    def with_closed(self, fd, *arguments):
        done = subprocess.run([SLM, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
                              env=self.environment, cwd=self.folder, timeout=300, preexec_fn=lambda: os.close(fd))
        return done.returncode, done.stderr.decode()

    def test_closed_output(self):
        """What is written there must not end up in a file that got its number."""
        for arguments in (["info", self.model], ["run", self.model, "--raw", "-p", PROMPT, "-n", "5"], ["--version"],
                          ["logits", self.model, "--ids", "1", "-o", "-"], ["convert", "--help"]):
            code, err = self.with_closed(1, *arguments)
            self.assertEqual(code, 1, err)
            self.assertIn("can't be written: Bad file descriptor", err)
        self.with_closed(1, "convert", STORIES / "stories260K.bin", "-o", "closed.slm")
        self.assertEqual((self.folder / "closed.slm").read_bytes(), self.model.read_bytes())

    def test_closed_input(self):
        code, err = self.with_closed(0, "run", self.model, "--raw")
        self.assertEqual(code, 1)
        self.assertIn("standard input can't be read", err)
        code, err = self.with_closed(0, "chat", self.chat_model)
        self.assertEqual(code, 1)
        self.assertIn("standard input can't be read", err)

    def test_closed_error_stream(self):
        code, _ = self.with_closed(2, "logits", self.model, "--ids", "1,2", "-o", "quiet.f32")
        self.assertEqual(code, 0)
        self.assertEqual((self.folder / "quiet.f32").stat().st_size, 512 * 4)
        self.assertEqual(self.with_closed(2, "run", self.model, "--tmp")[0], 2)

    def test_reader_that_leaves(self):
        """As in `slm run ... | head -c 4`: the program ends with its reader."""
        process = subprocess.Popen([SLM, "run", str(self.model), "--raw", "-p", PROMPT, "-n", "0", "-c", "200000",
                                    "--ignore-eos"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=self.environment)
        self.assertTrue(process.stdout.read(4))
        process.stdout.close()
        self.assertNotEqual(process.wait(60), 0)
        process.stderr.close()


if __name__ == "__main__":
    main()
