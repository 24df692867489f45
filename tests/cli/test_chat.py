"""slm chat: conversations that are piped in, and one that is typed on a terminal with Ctrl-C."""
import fcntl
import json
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from support import SLM, CliTest, main


class Piped(CliTest):
    def chat(self, text, *options, tokens="12", code=0):
        done = self.run_slm("chat", self.chat_model, "-n", tokens, *options, stdin=text)
        self.assertEqual(done.code, code, done.err)
        return done

    def test_two_turns(self):
        done = self.chat("Tom had a dog.\nThe dog was big.\n")
        self.assertGreaterEqual(len(done.out.splitlines()), 2)
        first = self.good("run", self.chat_model, "-p", "Tom had a dog.", "-n", "12").out
        self.assertTrue(done.out.startswith(first + "\n"))
        self.assertEqual(done.err, "")

    def test_reuse_changes_nothing(self):
        """A conversation that is loaded, and computed anew, goes on as the one that was kept."""
        self.chat("Tom had a dog.\nThe dog was big.\n/save saved.json \t\n")
        saved = json.loads((self.folder / "saved.json").read_text())
        self.assertEqual([m["role"] for m in saved], ["user", "assistant"] * 2)
        (self.folder / "part.json").write_text(json.dumps(saved[:2]))
        done = self.chat("/load part.json\nThe dog was big.\n/save again.json\n")
        self.assertIn("(2 messages from part.json)", done.err)
        self.assertEqual(json.loads((self.folder / "again.json").read_text()), saved)
        stats = self.chat("Tom had a dog.\nThe dog was big.\n/stats\n").err
        reused = int(stats.split("tokens, ")[1].split(" of them")[0].split()[-1])
        self.assertGreater(reused, 5, stats)

    def test_system(self):
        self.chat("/system\n/system Be brief.\n/system\nHi\n/save s.json\n/clear\nHello\n/save c.json\n")
        saved = json.loads((self.folder / "s.json").read_text())
        self.assertEqual(saved[0], {"role": "system", "content": "Be brief."})
        cleared = json.loads((self.folder / "c.json").read_text())
        self.assertEqual([m["content"] for m in cleared[:2]], ["Be brief.", "Hello"])
        done = self.chat("/system\n", "--system", "From the start")
        self.assertIn("system message: From the start", done.err)

    def test_many_lines(self):
        self.chat('one \\\ntwo\n"""three\nfour"""\n/save m.json\n')
        saved = json.loads((self.folder / "m.json").read_text())
        self.assertEqual([m["content"] for m in saved if m["role"] == "user"], ["one \ntwo", "three\nfour"])
        # A newline next to the quotes is not the text's; a second one is.
        self.chat('"""\none\ntwo\n"""\n"""\n\nthree\n\n"""\n"""four\n"""\n"""\n"""\n/save n.json\n')
        saved = json.loads((self.folder / "n.json").read_text())
        self.assertEqual([m["content"] for m in saved if m["role"] == "user"], ["one\ntwo", "\nthree\n", "four"])

    def test_commands(self):
        for leave in ("/exit", "/quit"):
            done = self.chat(f"/help\n\n   \n{leave}\nnever sent\n")
            self.assertEqual(done.out, "")
            self.assertIn("/clear", done.err)

    def test_error_ends_it(self):
        """A script can't see that something went wrong: what follows is not done."""
        for line, words in (("/sabe x", "there is no command /sabe; did you mean /save"),
                            ("/nothing", "there is no command /nothing; /help lists them"),
                            ("/save", "which file? /save FILE"), ("/load", "which file? /load FILE"),
                            ("/load nowhere.json", "nowhere.json can't be opened"),
                            ("/load .", "can't be read: Is a directory"),
                            ("/save no/where.json", "no/where.json can't be written"),
                            ("/save /dev/full", "/dev/full can't be written: No space left"),
                            ("nul\0byte", "byte 3 of this message is NUL")):
            done = self.chat(f"{line}\nTom had a dog.\n", code=1)
            self.assertIn(words, done.err)
            self.assertEqual(done.out, "")

    def test_endless_files(self):
        """Neither a conversation nor a message without an end takes all memory."""
        self.assertIn("/dev/zero is larger than 64.0 MB", self.chat("/load /dev/zero\n", code=1).err)
        self.assertIn("this message is larger than 64.0 MB", self.chat(b"x" * 65_000_000, code=1).err)

    def test_bad_files(self):
        for content, words in (("[1, 2", "line"), ('{"a": 1}', "holds no conversation"),
                               ('[{"role": "robot", "content": "x"}]', "message 1 needs a role"),
                               ('[{"role": "user"}]', "message 1 needs"), ('[{"role": "user", "content": 3}]', "needs"),
                               ('[{"role": "user", "content": "a\\u0000b"}]', "message 1 has a NUL")):
            (self.folder / "bad.json").write_text(content)
            self.assertIn(words, self.chat("/load bad.json\n", code=1).err)
        (self.folder / "good.json").write_text('{"messages": [{"role": "user", "content": "a"}]}')
        done = self.chat("/load good.json\n/save again.json\n/clear\n/save empty.json\n")
        for words in ("(1 message from good.json)", "(1 message in again.json)", "(0 messages in empty.json)"):
            self.assertIn(words, done.err)

    def test_context_full(self):
        text = "".join(f"This is sentence number {i} of the story.\n" for i in range(12)) + "/stats\n/save full.json\n"
        done = self.chat(text, "-c", "160", "--system", "Tell stories.", tokens="24")
        self.assertIn("(the context is full: the oldest turn is forgotten)", done.err)
        self.assertGreaterEqual(len(done.out.splitlines()), 12)
        saved = json.loads((self.folder / "full.json").read_text())
        self.assertEqual(saved[0]["content"], "Tell stories.")
        self.assertIn("number 11", saved[-2]["content"])
        self.assertNotIn("number 0 ", json.dumps(saved))

    def test_full_in_the_middle_of_an_answer(self):
        done = self.chat("A short line.\nAnother short line.\n", "-c", "96", tokens="400")
        self.assertIn("the context is full: the answer ends here", done.err)

    def test_notes_stand_in_their_own_lines(self):
        """Also where answers and notes go to the same place, and the context is full in the middle of a word."""
        for context in (64, 80, 96, 112):
            done = subprocess.run([SLM, "chat", str(self.chat_model), "-c", str(context), "-n", "400"],
                                  input=b"A short line.\nAnother short line.\nOne more.\n", stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, env=self.environment, timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertIn(b"\nslm: (the context is full: the oldest turn is forgotten)\n", done.stdout)
            self.assertIn(b"\nslm: (the context is full: the answer ends here)\n", done.stdout)
            self.assertNotRegex(done.stdout, b"[^\n]slm: ")

    def test_message_too_long(self):
        done = self.run_slm("chat", self.chat_model, "-c", "64", stdin="word " * 200 + "\n")
        self.assertEqual(done.code, 1)
        self.assertIn("the context has 64: shorten it, or start with a larger -c", done.err)
        done = self.run_slm("chat", self.chat_model, "-n", "12", "-c", "128",
                            stdin="Tom had a dog.\nThe dog was big.\n" + "word " * 200 + "\n")
        self.assertIn("shorten it", done.err)
        self.assertNotIn("forgotten", done.err)  # the turns before it stay


class Terminal(CliTest):
    """A person at a terminal."""

    process = None

    def start(self, *options):
        try:
            self.master, slave = pty.openpty()
        except OSError as error:  # a container may have none
            self.skipTest(str(error))
        self.process = subprocess.Popen([SLM, "chat", str(self.chat_model), *options], stdin=slave, stdout=slave,
                                        stderr=slave, env=self.environment, cwd=self.folder, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.seen = ""

    def tearDown(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            os.close(self.master)

    def expect(self, words, seconds=60):
        end = time.time() + seconds
        while words not in self.seen:
            self.assertGreater(end, time.time(), f"no {words!r} in {self.seen!r}")
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:  # the other side is closed
                    self.fail(f"no {words!r} in {self.seen!r}")
        self.seen = self.seen[self.seen.index(words) + len(words):]

    def type(self, text):
        os.write(self.master, text.encode())

    def test_ctrl_c_stops_the_answer_and_not_the_program(self):
        # Nothing ends this answer but Ctrl-C: no EOS, and the context is larger than patience.
        self.start("-n", "0", "-c", "200000", "--bias", "2=-inf", "--bias", "1=-inf")
        self.expect("> ")
        self.type("Tom had a dog.\n")
        self.expect("Tom had a dog.")
        time.sleep(0.5)
        self.type("\x03")
        self.expect("(stopped)")
        self.expect("> ")
        self.type("/stats\n")
        self.expect("last answer")
        self.expect("> ")
        # At the prompt it only discards the line.
        self.type("half a line\x03")
        self.expect("(/exit or Ctrl-D leaves)")
        # Also in the moment in which the prompt has appeared and waiting begins.
        for _ in range(50):
            self.expect("> ")
            self.type("\x03")
            self.expect("(/exit or Ctrl-D leaves)")
        self.expect("> ")
        self.type("/exit\n")
        self.assertEqual(self.process.wait(30), 0)

    def test_mistakes_do_not_end_it(self):
        self.start("-n", "12")
        for line, words in (("/nothing", "there is no command /nothing"), ("/load nowhere.json", "can't be opened"),
                            ("Tom had a dog.", "\n")):
            self.expect("> ")
            self.type(line + "\n")
            self.expect(words)
        self.expect("> ")
        self.type("/exit\n")
        self.assertEqual(self.process.wait(30), 0)

    def test_says_what_cut_the_answer(self):
        self.start("-c", "4096", "--bias", "2=-inf", "--bias", "1=-inf")
        self.expect("> ")
        self.type("Tom had a dog.\n")
        self.expect("(the answer is cut at 1024 tokens; -n sets how long it may get)")

    def test_ctrl_d_leaves(self):
        self.start()
        self.expect("> ")
        self.type("\x04")
        self.assertEqual(self.process.wait(30), 0)


class Interrupted(CliTest):
    """SIGINT without a terminal."""

    def test_chat(self):
        """It ends the answer, whose beginning went out, and the program: nobody is there to go on."""
        process = subprocess.Popen([SLM, "chat", str(self.chat_model), "-n", "0", "-c", "200000", "--bias", "2=-inf",
                                    "--bias", "1=-inf"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.environment)
        process.stdin.write(b"Tom had a dog.\n/stats\n")
        process.stdin.flush()
        self.assertTrue(process.stdout.read(4))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn(b"(stopped)", err)
        self.assertNotIn(b"last answer", err)

    def test_chat_that_waits(self):
        process = subprocess.Popen([SLM, "chat", str(self.chat_model), "-n", "4"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
        process.stdin.write(b"Tom had a dog.\n")
        process.stdin.flush()
        self.assertTrue(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.wait(60)
        self.assertEqual(process.returncode, 130, process.stderr.read())
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()

    def test_logits(self):
        """No half file stays, whatever ends the program."""
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            with self.subTest(number):
                self.end_logits(number, code)

    def end_logits(self, number, code):
        out = self.folder / "half.f32"
        (self.folder / "long.txt").write_text("Once upon a time. " * 20_000)  # minutes
        process = subprocess.Popen([SLM, "logits", str(self.model), "-f", "long.txt", "--all", "--chunk", "16", "-o",
                                    str(out)], stderr=subprocess.PIPE, env=self.environment, cwd=self.folder)
        while process.poll() is None and not (out.exists() and out.stat().st_size > 0):
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, code, err)
        self.assertFalse(out.exists())

    def test_convert(self):
        """A checkpoint of 65 GB, all zeros and holes, is under way for longer than any test."""
        dim, hidden, layers, heads, vocab, context = 4096, 16384, 60, 32, 1000, 16
        floats = (vocab * dim + layers * (2 * dim + 4 * dim * dim + 3 * dim * hidden) + dim
                  + context * (dim // heads))
        source, folder = self.folder / "holes.bin", self.folder / "half"
        with open(source, "wb") as file:
            file.write(struct.pack("<7i", dim, hidden, layers, heads, heads, vocab, context))
            file.truncate(28 + 4 * floats)
        cache = pathlib.Path(self.environment["XDG_CACHE_HOME"]) / "slm"
        for number, code, where, command in (
                (signal.SIGINT, 130, folder, ["convert", source, "-o", folder / "out.slm", "--type", "q4"]),
                (signal.SIGTERM, 143, folder, ["convert", source, "-o", folder / "out.slm", "--type", "q4"]),
                (signal.SIGHUP, 129, folder, ["convert", source, "-o", folder / "out.slm", "--type", "q4"]),
                (signal.SIGTERM, 143, cache, ["run", source, "-p", "x"])):
            with self.subTest(number):
                where.mkdir(parents=True, exist_ok=True)
                process = subprocess.Popen([SLM, *map(str, command)], stdout=subprocess.DEVNULL,
                                           stderr=subprocess.PIPE, env=self.environment)
                while process.poll() is None and not any(p.stat().st_size > 0 for p in where.glob("*.tmp*")):
                    time.sleep(0.01)
                process.send_signal(number)
                _, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, code, err)
                self.assertEqual(list(where.iterdir()), [], "nothing stays behind")
        source.unlink()

    def test_ignored(self):
        """What the program is started to ignore, as nohup does, does not end it."""
        process = subprocess.Popen([SLM, "chat", str(self.chat_model), "-n", "4"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, env=self.environment,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        process.stdin.write(b"Tom had a dog.\n")
        process.stdin.flush()
        self.assertTrue(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(b"The dog was big.\n", timeout=60)
        self.assertEqual(process.returncode, 0)
        self.assertTrue(out.strip())

    def test_run(self):
        """slm run ends with 130, and what it had went out."""
        process = subprocess.Popen([SLM, "run", str(self.chat_model), "--raw", "-p", "Once", "-n", "0", "-c",
                                    "200000", "--ignore-eos"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=self.environment)
        self.assertTrue(process.stdout.read(4))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)


if __name__ == "__main__":
    main()
