"""Every command but chat, as a user types it: results, JSON, errors in words, exit codes."""
import array
import json
import math
import os
import pathlib
import re
import resource
import shutil
import subprocess
import unittest

from support import DATA, EXAMPLES, IDS, SLM, STORIES, TEXT, CliTest, main, replace_in_section

COMMANDS = ["run", "chat", "convert", "info", "verify", "tokenize", "template", "embed", "logits", "perplexity", "bench"]
PROMPT = "Once upon a time"


class Help(CliTest):
    def test_overview(self):
        done = self.good("--help")
        for name in COMMANDS:
            self.assertIn(f"slm {name} ", done.out)
        self.assertEqual(self.good("help").out, done.out)

    def test_nothing(self):
        self.bad(2, "slm run")

    def test_version(self):
        self.assertRegex(self.good("--version").out, r"^slm \d+\.\d+\.\d+ \(c( \w+)*\)\n$")

    def test_each_command(self):
        for name in COMMANDS:
            done = self.good(name, "--help")
            self.assertTrue(done.out.startswith(f"slm {name} "), done.out)
            self.assertIn("Exit code", done.out)
            self.assertEqual(self.good(name, "-h").out, done.out)
            self.assertEqual(self.good("help", name).out, done.out)
            self.assertLessEqual(max(map(len, done.out.splitlines())), 100)

    def test_unknown_command(self):
        self.bad(2, "there is no command 'rnu'; did you mean 'run'?", "rnu")
        self.bad(2, "there is no command 'perp'; did you mean 'perplexity'?", "perp")
        self.bad(2, "there is no command 'tokenise'; did you mean 'tokenize'?", "tokenise")
        self.bad(2, "there is no option '--verison'; did you mean '--version'?", "--verison")
        self.assertEqual(self.good("version").out, self.good("-V").out)
        done = self.bad(2, "there is no command 'zzzz'", "zzzz")
        self.assertNotIn("did you mean", done.err)
        self.assertIn("slm --help", done.err)

    def test_unknown_option(self):
        self.bad(2, "there is no option --tmp; did you mean --temp?", "run", self.model, "--tmp", "1")
        self.bad(2, "there is no option --tokns; did you mean --tokens?", "run", self.model, "--tokns=1")
        self.bad(2, "there is no option -Z", "run", self.model, "-Z")
        self.bad(2, "there is no option --p", "run", self.model, "--p", "x")
        self.bad(2, "'-1 and 2?' looks like an option: put -- before", "run", self.model, "-1 and 2?")
        self.assertEqual(self.good("tokenize", self.model, "--count", "--", "-1").out, "3\n")

    def test_names_of_other_programs(self):
        run = ["run", self.model, "hi"]
        for name, ours in (("temperature", "temp"), ("max-tokens", "tokens"), ("ctx-size", "context"),
                           ("system-prompt", "system"), ("repetition-penalty", "repeat-penalty")):
            self.bad(2, f"there is no option --{name}; did you mean --{ours}?", *run, f"--{name}", "1")
        self.assertNotIn("did you mean", self.bad(2, "there is no option --ctx-size", "info", self.model, "--ctx-size").err)
        self.bad(2, "there is no option -m: the model comes first, slm run MODEL", "run", "-m", self.model)

    def test_option_values(self):
        run = ["run", self.model, "-p", "x"]
        self.bad(2, "--temp: 'hot' is not a number", *run, "--temp", "hot")
        self.bad(2, "--temp: 'nan' is not a number", *run, "--temp", "nan")
        self.bad(2, "--top-p: 1.5 is not allowed, it must be from 0 to 1", *run, "--top-p", "1.5")
        self.bad(2, "--tokens: '12x' is not a whole number", *run, "-n", "12x")
        self.bad(2, "--tokens: -1 is not allowed, it must be 0 or more", *run, "-n", "-1")
        self.bad(2, "--context: 16777217 is not allowed, it must be from 1 to 16777216", *run, "-c", "16777217")
        for n in ("1000000001", "9" * 30):
            self.bad(2, f"--tokens: {n} is not allowed, it must be from 0 to 1000000000\n", *run, "-n", n)
        self.bad(2, "--threads: 0 is not allowed, it must be from 1 to 256", *run, "-t0")
        self.bad(2, "--kv: 'f8' is not one of f16, q8, f32", *run, "--kv=f8")
        self.bad(2, "--seed: '-1' is not a whole number of 0 or more", *run, "--seed", "-1")
        self.bad(2, "--stats takes no value", *run, "--stats=yes")
        self.bad(2, "--tokens needs a value: --tokens N", *run, "-n")
        self.bad(2, "the text 'more' can't be given together with -p", *run, "more")
        self.bad(2, "the text 'more' can't be given together with -f", "run", self.model, "-f", "x", "more")
        self.bad(2, "unexpected argument 'upon': put a text of several words in quotes", "run", self.model, "Once", "upon")
        self.bad(2, "unexpected argument 'hi': slm chat MODEL", "chat", self.model, "hi")
        self.bad(2, "an argument is missing: slm run MODEL", "run")
        self.bad(2, "an argument is empty: slm info MODEL", "info", "")
        self.bad(2, "--file: the value is empty", "run", self.model, "-f", "")
        self.bad(2, "--output: the value is empty", "logits", self.model, "--ids", "1", "-o", "")
        self.bad(2, "--cpu: this machine has no tier 'z80'; it has c", *run, "--cpu", "z80")

    def test_option_spellings(self):
        first = self.good("run", self.model, "--raw", "-p", PROMPT, "-n", "5").out
        self.assertEqual(self.good("run", "--raw", "-n5", f"--prompt={PROMPT}", self.model).out, first)
        self.assertEqual(self.good("run", "--raw", "-n", "5", f"-p{PROMPT}", "--", self.model).out, first)


class Run(CliTest):
    def test_published_text(self):
        done = self.good("run", self.model, "--raw", "-p", PROMPT, "--kv", "f32", "-n", "200")
        self.assertTrue((PROMPT + done.out).startswith(TEXT))
        self.assertEqual(done.err, "")

    def test_bundled_model(self):
        model = EXAMPLES / "stories260K.slm"
        self.assertLess(model.stat().st_size, 400_000)
        done = self.good("run", model, "--raw", "-p", PROMPT, "-n", "30")
        self.assertTrue(done.out.startswith(", there was a little"), done.out)
        self.good("verify", model)

    def test_where_the_text_comes_from(self):
        expected = self.good("run", self.model, "--raw", "-p", PROMPT, "-n", "20").out
        (self.folder / "prompt.txt").write_text(PROMPT)
        for arguments, stdin in ((["-f", "prompt.txt"], ""), (["-f", "-"], PROMPT), ([], PROMPT), ([PROMPT], "")):
            done = self.good("run", self.model, "--raw", "-n", "20", *arguments, stdin=stdin)
            self.assertEqual(done.out, expected)
        self.bad(2, "-p and -f can't both be given", "run", self.model, "-p", "x", "-f", "prompt.txt")
        self.bad(1, "nowhere.txt can't be opened: No such file", "run", self.model, "-f", "nowhere.txt")

    def test_no_template(self):
        done = self.good("run", self.model, "-p", PROMPT, "-n", "3")
        self.assertIn("has no chat template", done.err)
        self.bad(1, "--system needs a chat template", "run", self.model, "-p", "x", "--system", "y")
        self.bad(2, "--system is a message of the chat template", "run", self.model, "--raw", "-p", "x", "--system", "y")
        self.bad(1, "this model has no chat template; 'slm run' continues", "chat", self.model)

    def test_template(self):
        done = self.good("run", self.chat_model, "-p", "Hi", "--system", "Be kind", "-n", "8", "--json")
        self.assertEqual(done.err, "")
        # The template decides alone whether there is a BOS.
        text = "system: Be kind\nuser: Hi\nassistant:"
        count = self.good("tokenize", self.model, "-p", text, "--count").out
        self.assertEqual(json.loads(done.out)["prompt_tokens"], int(count))

    def test_stop(self):
        done = self.good("run", self.model, "--raw", "-p", PROMPT, "--stop", "zzz", "--stop", " named", "--json")
        got = json.loads(done.out)
        self.assertEqual(got["text"], ", there was a little girl")
        self.assertEqual(got["finish"], "stop_text")
        for command in ("run", "chat"):
            self.bad(2, "--stop: the text is empty", command, self.chat_model, "--stop", "")
            self.bad(2, "--stop: the text is not UTF-8 at byte 1", command, self.chat_model, "--stop", "a\udcff")

    def test_json(self):
        done = self.good("run", self.model, "--raw", "-p", PROMPT, "--kv", "f32", "-n", "20", "--json", "--logprobs",
                         "3", "--seed", "18446744073709551615")
        got = json.loads(done.out)
        self.assertEqual(got["finish"], "length")
        self.assertEqual(got["tokens"], 20)
        self.assertEqual(got["prompt_tokens"], 5)
        self.assertEqual([str(i) for i in got["token_ids"]], IDS[5:25])
        self.assertEqual(got["seed"], "18446744073709551615")
        self.assertEqual(len(got["logprobs"]), 20)
        self.assertGreater(got["stats"]["tokens_per_second"], 0)
        self.assertGreater(got["stats"]["peak_memory"], 1_000_000)
        reference = array.array("f", (STORIES / "logits.f32").read_bytes())
        for i, token in enumerate(got["logprobs"]):
            row = reference[(4 + i) * 512:(5 + i) * 512]
            total = math.log(sum(math.exp(x - max(row)) for x in row)) + max(row)
            best = sorted(range(512), key=lambda t: -row[t])[:3]
            self.assertAlmostEqual(token["logprob"], row[token["id"]] - total, delta=2e-4)
            self.assertEqual([t["id"] for t in token["top"]], best)
            entropy = -sum(math.exp(x - total) * (x - total) for x in row)
            self.assertAlmostEqual(token["entropy"], entropy, delta=2e-3)

    def test_escape_sequences(self):
        """A pipe gets what the model wrote; a terminal does not obey it."""
        run = ["run", self.model, "--raw", "-p", PROMPT, "-n", "2", "--bias", "30=20000"]  # 0x1B + 3
        self.assertEqual(self.good(*run).raw, b"\x1b\x1b")
        self.assertEqual(self.on_terminal(*run, output=True), (0, "\ufffd\ufffd\r\n"))

    def test_stats(self):
        done = self.good("run", self.model, "--raw", "-p", PROMPT, "-n", "5", "--stats")
        for word in ("load", "first token", "prompt", "answer", "peak memory", "tokens/s", "ended by     length"):
            self.assertIn(word, done.err)

    def test_default_length(self):
        """An answer that does not end by itself ends at 1024 tokens; -n 0 lets it go on."""
        loop = ["run", self.model, "--raw", "-p", PROMPT, "--ignore-eos", "-c", "1100", "--json"]
        got = json.loads(self.good(*loop).out)
        self.assertEqual((got["tokens"], got["finish"]), (1024, "length"))
        got = json.loads(self.good(*loop, "-n", "0").out)
        self.assertEqual((got["tokens"], got["finish"]), (1100 - got["prompt_tokens"] + 1, "context"))
        loop = ["run", self.model, "--raw", "-p", PROMPT, "--ignore-eos"]
        self.assertIn("(the answer is cut at 1024 tokens; -n sets", self.on_terminal(*loop, "-c", "1100")[1])
        self.assertIn("(the answer is cut: the context is full; -c sets", self.on_terminal(*loop, "-c", "32")[1])
        self.assertEqual(self.on_terminal(*loop, "-n", "3"), (0, ""), "who sets a limit knows it")

    def test_half_a_character(self):
        """Cut by -n it does not appear; broken off by the model, it is U+FFFD."""
        first, eos = 0xE4 + 3, 2  # stories260K's byte tokens begin at 3; E4 begins a character of three bytes
        run = ["run", self.model, "--raw", "-p", PROMPT, "--bias", f"{first}=20000", "--frequency-penalty", "1000"]
        self.assertEqual(self.good(*run, "-n", "1").out, "")
        got = json.loads(self.good(*run, "--bias", f"{eos}=19500", "--json").out)
        self.assertEqual((got["text"], got["finish"]), ("\ufffd", "stop"))

    def test_no_text(self):
        """Nothing is no question, wherever it comes from."""
        (self.folder / "blank.txt").write_text(" \n\t\r\n")
        for arguments, source in ((["-p", ""], "-p"), (["-f", "blank.txt"], "blank.txt"), ([], "standard input"),
                                  (["-f", "-"], "standard input"), (["-f", "/dev/null"], "/dev/null")):
            self.bad(2, f"{source} is empty: there is nothing to answer", "run", self.chat_model, *arguments)
        self.bad(2, "/dev/null is empty: there is nothing to continue", "run", self.model, "--raw", "-f", "/dev/null")
        self.bad(2, "standard input is empty: there is nothing to continue", "run", self.model, "--raw")
        self.bad(2, "-p is empty: there is nothing to continue", "run", self.model, "-p", "")
        done = self.good("run", self.model, "--raw", "-p", "", "-n", "4")
        self.assertEqual(done.out, self.good("run", self.chat_model, "--raw", "-p", "", "-n", "4").out)
        self.assertTrue(done.out.startswith("Once"), "it begins by itself, after BOS")
        self.assertEqual(self.good("run", self.model, "--raw", "", "-n", "4").out, done.out)
        self.bad(2, "the text is empty: there is nothing to answer", "run", self.chat_model, "")

    def test_nul(self):
        (self.folder / "nul.txt").write_bytes(b"before\0after")
        self.bad(1, "nul.txt: byte 6 is NUL", "run", self.chat_model, "-f", "nul.txt")
        done = self.good("run", self.model, "--raw", "-f", "nul.txt", "-n", "1", "--json")
        count = self.good("tokenize", self.model, "-f", "nul.txt", "--add-special", "--count").out
        self.assertEqual(json.loads(done.out)["prompt_tokens"], int(count), "raw text is taken whole")

    def test_endless_file(self):
        self.bad(1, "/dev/zero is larger than 64.0 MB", "run", self.model, "-f", "/dev/zero")
        self.bad(1, "/dev/zero is larger than 64.0 MB", "logits", self.model, "-f", "/dev/zero", "-o", "x.f32")

    def test_options_without_effect(self):
        run = ["run", self.model, "--raw", "-p", PROMPT, "-n", "1"]
        for option, value in (("--top-k", "5"), ("--top-p", "0.9"), ("--min-p", "0.1"), ("--seed", "1")):
            self.assertIn(f"note: {option} changes nothing without --temp", self.good(*run, option, value).err)
            self.assertEqual(self.good(*run, option, value, "--temp", "1").err, "")
        self.assertEqual(self.good(*run, "--top-k", "0", "--top-p", "1", "--min-p", "0").err, "", "these mean: off")
        self.assertIn("note: --logprobs changes nothing without --json", self.good(*run, "--logprobs", "2").err)
        self.assertIn("note: --seed", self.good("chat", self.chat_model, "--seed", "1").err)

    def test_context(self):
        done = self.good("run", self.model, "--raw", "-p", PROMPT, "-c", "32", "--json")
        got = json.loads(done.out)
        self.assertEqual(got["finish"], "context")
        self.assertEqual(got["prompt_tokens"] + got["tokens"], 33)
        done = self.bad(1, "and the context holds 32: shorten it, or give a larger -c", "run", self.model, "--raw", "-p",
                        PROMPT * 20, "-c", "32")
        self.assertNotIn("span", done.err)
        done = self.good("run", self.model, "--raw", "-p", PROMPT, "-c", "1024", "-n", "1")
        self.assertIn("more than the 512 tokens that the model was trained for", done.err)

    def test_seed(self):
        def text(*options):
            return self.good("run", self.model, "--raw", "-p", PROMPT, "-n", "40", "--temp", "1", *options).out
        first = text("--seed", "7", "--top-k", "50", "--top-p", "0.9", "--min-p", "0.01")
        self.assertEqual(text("--seed", "7", "--top-k", "50", "--top-p", "0.9", "--min-p", "0.01", "-t", "1"), first)
        self.assertNotEqual(text("--seed", "8"), first)
        self.assertNotEqual(text(), text(), "without --seed the text changes")

    def test_penalties_and_bias(self):
        def ids(*options):
            done = self.good("run", self.model, "--raw", "-p", PROMPT, "-n", "30", "--json", *options)
            return json.loads(done.out)["token_ids"]
        plain = ids()
        self.assertNotEqual(ids("--repeat-penalty", "1.5"), plain)
        self.assertNotEqual(ids("--frequency-penalty", "2", "--presence-penalty", "1"), plain)
        self.assertNotIn(plain[0], ids("--bias", f"{plain[0]}=-inf"))
        self.assertEqual(ids("--bias", "300=1000")[0], 300)
        for value, words in (("x", "--bias: 'x' is not ID=VALUE"), ("7", "--bias: '7' is not ID=VALUE"),
                             ("512=1", "--bias 512=1: the model's token ids are 0 to 511"),
                             ("-1=1", "--bias -1=1: the model's token ids are 0 to 511"),
                             ("7=x", "--bias 7=x: 'x' is not a number"), ("7=", "--bias 7=: '' is not a number"),
                             ("7=inf", "'inf' is not a number or -inf"), ("7=nan", "'nan' is not a number or -inf")):
            self.bad(2, words, "run", self.chat_model, "-p", "x", "--bias", value)
            self.bad(2, words, "chat", self.chat_model, "--bias", value)

    def test_output_is_gone(self):
        with open("/dev/full", "wb") as full:
            done = self.run_slm("run", self.model, "--raw", "-p", PROMPT, "-n", "50", stdout=full)
        self.assertEqual(done.code, 1)
        self.assertIn("standard output can't be written: No space left", done.err)

    def test_bad_models(self):
        empty, folder = self.folder / "empty.slm", self.folder / "folder"
        empty.write_bytes(b"")
        folder.mkdir(exist_ok=True)
        noise = self.folder / "noise.slm"
        noise.write_bytes(b"certainly no model" * 100)
        self.bad(1, "empty", "info", empty)
        self.bad(1, "No such file", "info", "nowhere.slm")
        self.bad(1, "a model can't come from standard input", "info", "-")
        self.bad(1, "can't be converted", "info", folder)
        self.bad(1, f"slm: {noise} is no .slm file and can't be converted: it is none of GGUF, ", "info", noise)
        whole = self.model.read_bytes()
        for part in (10, 100, 1000, len(whole) // 2, len(whole) - 1):
            cut = self.folder / "cut.slm"
            cut.write_bytes(whole[:part])
            self.bad(1, "truncated", "info", cut)
        if os.getuid() != 0:
            secret = self.folder / "secret.slm"
            secret.write_bytes(whole)
            secret.chmod(0)
            self.bad(1, "Permission denied", "info", secret)


class OddNames(CliTest):
    """Texts and paths with quotes, control characters and bytes that are no UTF-8."""

    TEXT = b'quote " back \\ control \x01\x7f\xc2\x9b no UTF-8 \xff\xfe\xe4\xbd'

    def setUp(self):
        self.odd = os.path.join(os.fsencode(self.folder), b'odd "\\\n\t\x1b\xff name')
        os.makedirs(self.odd, exist_ok=True)
        for name in (b"stories260K.bin", b"tok512.bin"):
            shutil.copy(os.path.join(os.fsencode(STORIES), name), self.odd)
        shutil.copy(self.model, self.odd + b"/stories.slm")

    def start(self, *arguments, **streams):
        return subprocess.run([SLM, *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.environment,
                              **streams)

    def test_json(self):
        """It is one JSON value whatever comes in, and exit code 1 when there is no room for it."""
        model, source, text = self.odd + b"/stories.slm", self.odd + b"/stories260K.bin", self.TEXT
        for command in (["info", model, "--tensors"], ["info", source], ["verify", model], ["verify", source],
                        ["convert", source], ["tokenize", model, text], ["bench", model, "-p8", "-n2", "-r1"],
                        ["run", model, "--raw", text, "--logprobs", "2", "-n5"],
                        ["run", self.chat_model, text, "--system", text, "-n5"],
                        ["embed", model, text, "--pooling", "mean"], ["embed", model, text, "-q", text, "--pooling", "last"]):
            done = self.start(*command, "--json", stdout=subprocess.PIPE)
            self.assertEqual(done.returncode, 0, done.stderr)
            json.loads(done.stdout.decode())
            with open("/dev/full", "wb") as full:
                done = self.start(*command, "--json", stdout=full)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"standard output can't be written: No space left", done.stderr)

    def test_messages(self):
        path = os.fsdecode(self.odd + b"/nowhere.slm")
        self.assertIn(self.odd, self.start("info", path).stderr)
        seen = self.on_terminal("info", path)[1]
        self.assertIn('odd "\\\r\n\t\ufffd\ufffd name/nowhere.slm: No such file', seen)

    def test_names(self):
        self.bad(1, "xxx...' is no file's name: it has 5000 bytes", "info", "x" * 5000)
        long = "x" * 300
        for command, words in ((["info", long], "File name too long"), (["convert", self.model, "-o", long], "already"),
                               (["convert", STORIES / "stories260K.bin", "-o", long + ".slm"], "File name too long"),
                               (["run", self.model, "-f", long], "File name too long"),
                               (["logits", self.model, "--ids", "1", "-o", self.folder], "Is a directory"),
                               (["convert", STORIES / "stories260K.bin", "-o", self.folder], "is a directory; give"),
                               (["convert", STORIES / "stories260K.bin", "-o", "/dev/full"], "is no regular file"),
                               (["embed", self.model, "-f", self.folder], "Is a directory"),
                               (["tokenize", self.model, "-f", self.folder], "Is a directory"),
                               (["perplexity", self.model, "-f", self.folder], "Is a directory")):
            self.bad(1, words, *command)

    @unittest.skipIf(os.geteuid() == 0, "root may do all of it")
    def test_no_permission(self):
        locked = self.folder / "locked"
        locked.mkdir()
        shutil.copy(self.model, locked / "model.slm")
        (locked / "model.slm").chmod(0)
        locked.chmod(0o555)
        try:
            self.bad(1, "Permission denied", "info", locked / "model.slm")
            self.bad(1, "Permission denied", "convert", STORIES / "stories260K.bin", "-o", locked / "new.slm")
            self.bad(1, "Permission denied", "logits", self.model, "--ids", "1", "-o", locked / "out.f32")
        finally:
            locked.chmod(0o755)


class Cache(CliTest):
    def test_converted_once(self):
        source = self.folder / "source.bin"
        source.write_bytes((STORIES / "stories260K.bin").read_bytes())
        (self.folder / "tok512.bin").write_bytes((STORIES / "tok512.bin").read_bytes())
        cache = self.folder / "cache" / "slm"
        arguments = ["run", source, "--raw", "-p", PROMPT, "-n", "10"]
        first = self.good(*arguments)
        self.assertIn("converting", first.err)
        self.assertEqual(len(list(cache.iterdir())), 1)
        second = self.good(*arguments)
        self.assertEqual(second.err, "")
        self.assertEqual(second.out, first.out)
        # A damaged one is made anew.
        for damage in (b"", b"\0" * 5000, next(cache.iterdir()).read_bytes()[:5000]):
            next(cache.iterdir()).write_bytes(damage)
            self.assertEqual(self.good(*arguments).out, first.out)
            self.assertEqual(self.good(*arguments).err, "")
        # A changed source is converted anew, and the old one goes. So does what a conversion left that was killed.
        name = next(cache.iterdir()).name
        for suffix in (".tmp1-0", ".tmp2-0"):
            (cache / (name + suffix)).write_bytes(b"half")
        os.utime(cache / (name + ".tmp1-0"), ns=(1, 1))
        os.utime(source, ns=(1, 1))
        self.assertIn("converting", self.good(*arguments).err)
        self.assertEqual(sorted(p.name.endswith(".tmp2-0") for p in cache.iterdir()), [False, True])
        (cache / (name + ".tmp2-0")).unlink()
        self.assertTrue(next(cache.iterdir()).name.startswith("source-"))

    def test_no_place(self):
        source = STORIES / "stories260K.bin"
        kept = Cache.environment
        try:
            Cache.environment = {**kept, "XDG_CACHE_HOME": "/dev/null"}
            self.bad(1, "/dev/null/slm can't be made: Not a directory; set XDG_CACHE_HOME", "info", source)
            Cache.environment["XDG_CACHE_HOME"] = "/dev/null/deep/er"
            self.bad(1, "/dev/null/deep/er/slm can't be made: Not a directory", "info", source)
            Cache.environment["XDG_CACHE_HOME"] = str(self.folder / "new" / "cache")
            self.good("info", source)
            Cache.environment = {k: v for k, v in kept.items() if k not in ("XDG_CACHE_HOME", "HOME")}
            self.bad(1, "set HOME or XDG_CACHE_HOME", "info", source)
        finally:
            Cache.environment = kept
        # Where the cache is full another place helps, and nothing does where the source is no file.
        limited = ["sh", "-c", 'ulimit -f 8; exec "$0" "$@"', SLM, "info", source]
        environment = {**kept, "XDG_CACHE_HOME": str(self.folder / "full")}
        done = subprocess.run(limited, capture_output=True, text=True, env=environment)
        self.assertRegex(done.stderr, "File too large\nslm: set XDG_CACHE_HOME to another place")
        self.assertEqual(self.bad(1, "not a regular file", "tokenize", "/dev/full", "x").err.count("\n"), 1)


class Tokenize(CliTest):
    def test_forms(self):
        text = "Once upon a time, there was a little girl"
        ids = self.good("tokenize", self.model, "-p", text, "--ids").out.strip()
        self.assertEqual(ids.split(","), IDS[1:len(ids.split(",")) + 1])
        self.assertEqual(self.good("tokenize", self.model, "-p", text, "--count").out, f"{len(ids.split(','))}\n")
        special = self.good("tokenize", self.model, "-p", text, "--ids", "--add-special").out.strip()
        self.assertEqual(special, "1," + ids)
        got = json.loads(self.good("tokenize", self.model, "-p", text, "--json").out)
        self.assertEqual(",".join(map(str, got["ids"])), ids)
        self.assertEqual("".join(got["texts"]).strip(), text)
        table = self.good("tokenize", self.model, "-p", text).out.splitlines()
        self.assertEqual([line.split()[0] for line in table], ids.split(","))
        self.assertIn('" upon"', table[1])
        self.assertEqual(self.good("tokenize", self.model, "--ids", stdin=text).out.strip(), ids)

    def test_round_trip(self):
        for text in ("Once upon", "a  b\n\n\tc", "wörld 你好 🙂", "", "nul\0byte"):
            (self.folder / "in.txt").write_bytes(text.encode())
            ids = self.good("tokenize", self.model, "-f", "in.txt", "--ids").out
            self.assertEqual(self.good("tokenize", self.model, "--decode", stdin=ids).raw, text.encode())

    def test_parts_of_characters(self):
        """What is no UTF-8 by itself: "bytes" say what "texts" can't."""
        text = "a\u8a9e\t\x1b\"\\"  # stories260K has no token for the second: it becomes three
        got = json.loads(self.good("tokenize", self.model, text, "--json").out)
        whole = b"".join(bytes(b) if b else t.encode() for t, b in zip(got["texts"], got["bytes"]))
        self.assertEqual(whole.decode().strip(), text)
        self.assertEqual([b for b in got["bytes"] if b], [[0xE8], [0xAA], [0x9E]])
        self.assertTrue(all(("\ufffd" in t) == bool(b) for t, b in zip(got["texts"], got["bytes"])))
        table = self.good("tokenize", self.model, text).out
        for shown in ('"\\xE8"', '"\\xAA"', '"\\x9E"', '"\\t"', '"\\x1B"', '"\\""', '"\\\\"'):
            self.assertIn(f"  {shown}\n", table)

    def test_decode_forms(self):
        expected = self.good("tokenize", self.model, "--decode", "-p", "403,407").out
        self.assertEqual(self.good("tokenize", self.model, "--decode", "-p", "[403, 407]").out, expected)
        self.assertEqual(self.good("tokenize", self.model, "--decode", "-p", "403 407\n").out, expected)

    def test_errors(self):
        self.bad(2, "-p: 'x' at byte 2 is no token id", "tokenize", self.model, "--decode", "-p", "1,x")
        self.bad(2, "the text: 'x' at byte 2 is no token id", "tokenize", self.model, "--decode", "1,x")
        self.bad(2, "-p: 512 at byte 2 is no token id of this model: they are 0 to 511", "tokenize", self.model,
                 "--decode", "-p", "1,512")
        self.bad(2, "-p: -4 at byte 0 is no token id of this model", "tokenize", self.model, "--decode", "-p-4")
        self.bad(2, "is no token id", "tokenize", self.model, "--decode", "-p", "99999999999999999999")
        (self.folder / "ids.txt").write_bytes(b"1 \033[2J")
        self.bad(1, "ids.txt: '?' at byte 2 is no token id", "tokenize", self.model, "--decode", "-f", "ids.txt")
        self.bad(1, "standard input: 'x' at byte 0", "tokenize", self.model, "--decode", stdin="x")
        self.bad(2, "give only one of", "tokenize", self.model, "-p", "x", "--ids", "--count")
        self.bad(2, "not for --decode", "tokenize", self.model, "-p", "1", "--decode", "--add-special")


class Logits(CliTest):
    def test_against_reference(self):
        self.good("logits", self.model, "--ids", ",".join(IDS), "--all", "--kv", "f32", "-o", "all.f32")
        got = array.array("f", (self.folder / "all.f32").read_bytes())
        reference = array.array("f", (STORIES / "logits.f32").read_bytes())
        self.assertEqual(len(got), len(reference))
        self.assertLess(max(abs(a - b) for a, b in zip(got, reference)), 1e-4)

    def test_same_bits(self):
        ids = ",".join(IDS[:100])
        tiers = self.good("--version").out.split("(")[1].strip(")\n").split()
        whole = None
        ways = [[], ["--chunk", "1"], ["--chunk", "7"], ["-t", "1"], ["-t", "3"]] + [["--cpu", t] for t in tiers]
        for way in ways:
            self.good("logits", self.q8, "--ids", ids, "--all", "-o", "way.f32", *way)
            got = (self.folder / "way.f32").read_bytes()
            self.assertEqual(len(got), 100 * 512 * 4)
            whole = whole or got
            self.assertEqual(got, whole, way)
        self.good("logits", self.q8, "--ids", ids, "-o", "last.f32")
        self.assertEqual((self.folder / "last.f32").read_bytes(), whole[-512 * 4:])
        self.assertEqual(self.good("logits", self.q8, "--ids", ids, "-o", "-").raw, whole[-512 * 4:])

    def test_file(self):
        (self.folder / "text.txt").write_text("Once upon a time")
        self.good("logits", self.model, "-f", "text.txt", "-o", "a.f32")
        self.good("logits", self.model, "--ids", ",".join(IDS[:5]), "-o", "b.f32")
        self.assertEqual((self.folder / "a.f32").read_bytes(), (self.folder / "b.f32").read_bytes())

    def test_errors(self):
        self.bad(2, "give -o OUT.f32", "logits", self.model, "--ids", "1")
        self.bad(2, "give one of --ids, -f, -p and a text", "logits", self.model, "-o", "x.f32")
        self.bad(2, "give one of --ids, -f, -p and a text", "logits", self.model, "--ids", "1", "-p", "x", "-o", "x.f32")
        self.bad(2, "--ids is empty: there are no tokens", "logits", self.model, "--ids", "", "-o", "x.f32")
        self.bad(2, "--ids: 'x' at byte 2", "logits", self.model, "--ids", "1,x", "-o", "x.f32")
        self.bad(2, "--ids: 512 at byte 2 is no token id of this model", "logits", self.model, "--ids", "1,512", "-o",
                 "x.f32")
        self.assertFalse((self.folder / "x.f32").exists(), "no half file")
        self.bad(1, "can't be written: No such file", "logits", self.model, "--ids", "1", "-o", "no/where.f32")
        self.bad(1, "/dev/full can't be written: No space left", "logits", self.model, "--ids", "1", "-o", "/dev/full")
        self.assertTrue(os.path.exists("/dev/full"))

    def test_longer_than_trained(self):
        (self.folder / "long.txt").write_text(PROMPT * 200)
        words = "is more than the 512 tokens that the model was trained for"
        self.assertIn(words, self.good("logits", self.model, "-f", "long.txt", "-o", "long.f32").err)
        self.assertIn(words, self.good("perplexity", self.model, "-f", "long.txt", "--ctx", "600").err)
        self.assertIn(words, self.good("bench", self.q8, "-p", "16", "-n", "4", "-d", "500", "-r", "1").err)
        self.assertEqual(self.good("logits", self.model, "--ids", "1,2", "-o", "long.f32").err, "")


class Perplexity(CliTest):
    def test_convention(self):
        """Against the definition, from the logits of each chunk."""
        (self.folder / "text.txt").write_text(TEXT * 2)
        ids = self.good("tokenize", self.model, "-f", "text.txt", "--ids", "--add-special").out.strip().split(",")
        ctx, chunks, nll = 50, 3, []
        for c in range(chunks):
            chunk = ["1"] + ids[c * ctx + 1:(c + 1) * ctx]  # the model adds BOS: in place of each first token
            self.good("logits", self.model, "--ids", ",".join(chunk), "--all", "-o", "chunk.f32")
            rows = array.array("f", (self.folder / "chunk.f32").read_bytes())
            for i in range(ctx // 2, ctx - 1):
                row = rows[i * 512:(i + 1) * 512]
                total = math.log(sum(math.exp(x - max(row)) for x in row)) + max(row)
                nll.append(total - row[int(chunk[i + 1])])
        mean = sum(nll) / len(nll)
        error = math.sqrt((sum(x * x for x in nll) / len(nll) - mean * mean) / (len(nll) - 1)) * math.exp(mean)
        got = json.loads(self.good("perplexity", self.model, "-f", "text.txt", "--ctx", ctx, "--chunks", chunks,
                                   "--json").out)
        self.assertEqual(got["predictions"], chunks * (ctx - 1 - ctx // 2))
        self.assertEqual(got["chunks"], chunks)
        self.assertAlmostEqual(got["perplexity"], math.exp(mean), delta=1e-9 * math.exp(mean))
        self.assertAlmostEqual(got["standard_error"], error, delta=1e-6 * error)
        done = self.good("perplexity", self.model, "-f", "text.txt", "--ctx", ctx, "--chunks", chunks)
        self.assertTrue(done.out.startswith(f"perplexity {math.exp(mean):.4f} +/- {error:.4f}"), done.out)

    def test_errors(self):
        (self.folder / "short.txt").write_text("too short")
        self.bad(1, "less than one chunk of 512", "perplexity", self.model, "-f", "short.txt")
        self.assertIn("(1 chunk of 5 tokens, 2 predictions", self.good("perplexity", self.model, "-f", "short.txt", "--ctx",
                                                                       "5").out)
        (self.folder / "shorter.txt").write_text("")
        self.bad(1, "the text is 1 token long, less than", "perplexity", self.model, "-f", "shorter.txt")
        self.bad(2, "give -f FILE", "perplexity", self.model)
        self.bad(2, "--ctx: 2 is not allowed", "perplexity", self.model, "-f", "short.txt", "--ctx", "2")


class Bench(CliTest):
    def test_json(self):
        got = json.loads(self.good("bench", self.q8, "-p", "32", "-n", "8", "-r", "2", "-b", "2", "-d", "16", "-t", "1",
                                   "--json").out)
        self.assertEqual([r["test"] for r in got], ["pp32 @ d16", "tg8 @ d16"])
        for r, (p, n) in zip(got, ((32, 0), (0, 8))):
            self.assertEqual((r["n_prompt"], r["n_gen"], r["depth"], r["batch"], r["threads"]), (p, n, 16, 2, 1))
            self.assertTrue(0 < r["min"] <= r["tokens_per_second"] <= r["max"])
            self.assertTrue(r["min"] <= r["mean"] * 1.000001 and r["mean"] <= r["max"] * 1.000001)

    def test_left_out(self):
        got = json.loads(self.good("bench", self.q8, "-p", "0", "-n", "4", "-r", "1", "--json").out)
        self.assertEqual([r["test"] for r in got], ["tg4"])
        got = json.loads(self.good("bench", self.q8, "-p", "16", "-n", "0", "-r", "1", "--json").out)
        self.assertEqual([r["test"] for r in got], ["pp16"])
        self.bad(2, "nothing to measure", "bench", self.q8, "-p", "0", "-n", "0")

    def test_tables(self):
        lines = self.good("bench", self.q8, "-p", "16", "-n", "4", "-r", "1").out.splitlines()
        self.assertEqual(len(lines), 4)
        self.assertEqual(len(set(map(len, lines))), 1, "columns align")
        self.assertTrue(all(line.startswith("| ") and line.endswith("|") for line in lines))
        lines = self.good("bench", self.q8, "-p", "16", "-n", "4", "-r", "1", "--csv").out.splitlines()
        self.assertEqual(lines[0], "test,batch,threads,cpu,kv,tokens/s,min,max")
        self.assertTrue(lines[1].startswith("pp16,1,"))
        self.bad(2, "give only one of --md, --csv and --json", "bench", self.q8, "--csv", "--json")

    def test_progress(self):
        """On a terminal only, from the first moment, and never longer than a line, which could not be wiped."""
        bench = ["bench", self.q8, "-p", "16", "-n", "4", "-r", "1"]
        self.assertEqual(self.good(*bench).err, "")
        code, seen = self.on_terminal(*bench)
        self.assertEqual(code, 0)
        self.assertIn("prompt warming up", seen)
        for columns in (1, 2, 12):
            for command in (bench, ["verify", self.model], ["convert", STORIES / "stories260K.bin", "-o", "narrow.slm"]):
                code, seen = self.on_terminal(*command, columns=columns)
                self.assertEqual(code, 0)
                lines = [line.partition("\r")[2] for line in seen.split("\033[K")]
                self.assertTrue(any(lines) or columns == 1, seen)
                self.assertLess(max(map(len, lines)), columns, seen)


class Info(CliTest):
    def test_json(self):
        got = json.loads(self.good("info", self.model, "--json", "--tensors").out)
        self.assertEqual((got["dim"], got["n_layers"], got["n_heads"], got["n_kv_heads"], got["head_dim"],
                          got["ffn_dim"], got["n_vocab"], got["max_context"], got["bos"], got["eos"]),
                         (64, 5, 8, 4, 8, 172, 512, 512, 1, 2))
        self.assertEqual(got["file_size"], self.model.stat().st_size)
        self.assertTrue(got["has_tokenizer"])
        self.assertFalse(got["has_template"])
        self.assertEqual(got["n_params"], 260032)
        roles = [(t["role"], t["layer"]) for t in got["tensors"]]
        self.assertIn(("attn_q", 4), roles)
        self.assertIn(("rope_frequencies", -1), roles, "layers share it")
        self.assertEqual(sum(t["tensors"] for t in got["types"]), len(roles))
        self.assertTrue(json.loads(self.good("info", self.chat_model, "--json").out)["has_template"])

    def test_text(self):
        done = self.good("info", self.model, "--tensors")
        for word in ("parameters", "260.0 k", "layers", "vocabulary", "attn_q", "f32"):
            self.assertIn(word, done.out)
        self.assertNotIn("\033", done.out)
        self.assertRegex(done.out, r"q8: +\d+ tensors, |f32: +\d+ tensors, ")

    def test_foreign_text(self):
        """Columns align below wide characters; what a file says can't steer a terminal, nor break JSON."""
        self.assertEqual(self.good("info", self.model, "--json").out.count("stories260K.bin"), 1)
        replace_in_section(self.model, self.folder / "wide.slm", b"source\0", "日本\0".encode())
        lines = self.good("info", "wide.slm").out.splitlines()
        wide = next(line for line in lines if line.startswith("日本 "))
        self.assertEqual(wide.index("stories260K.bin") + 2, lines[0].index("llama2.c"))
        evil = "\x1b[31m\x9b'\"\\\t日x"
        replace_in_section(self.model, self.folder / "evil.slm", b"stories260K.bin\0", evil.encode() + b"\0")
        self.assertRegex(self.good("info", "evil.slm").out, re.escape("\ufffd[31m\ufffd'\"\\\ufffd日x") + "\n")
        self.assertEqual(json.loads(self.good("info", "evil.slm", "--json").out)["metadata"]["source"], evil)

    def test_info_short(self):
        for option in ("--json", "--tensors"):
            self.bad(2, "leave out " + option, "info", self.model, "--short", option)

    def test_verify(self):
        self.assertIn("good", self.good("verify", self.model).out)
        data = bytearray(self.model.read_bytes())
        tensors = json.loads(self.good("info", self.model, "--json", "--tensors").out)["tensors"]
        victim = next(t for t in tensors if t["role"] == "ffn_up" and t["layer"] == 2)
        data[victim["offset"] + 100] ^= 1
        (self.folder / "damaged.slm").write_bytes(data)
        done = self.bad(1, "ffn_up", "verify", self.folder / "damaged.slm")
        self.assertIn("2", done.err)
        self.assertIn("damaged.slm: ", done.err)
        done = self.run_slm("verify", self.folder / "damaged.slm", "--json")
        got = json.loads(done.out)
        self.assertEqual((done.code, got["good"], got["converted"]), (1, False, None))
        self.assertIn("ffn_up", got["error"])
        (self.folder / "cut.slm").write_bytes(data[:100])
        for name, why in (("cut.slm", "truncated"), ("nowhere.slm", "No such file")):
            done = self.run_slm("verify", self.folder / name, "--json")
            got = json.loads(done.out)
            self.assertEqual((done.code, got["good"]), (1, False))
            self.assertIn(why, got["error"])
        got = json.loads(self.good("verify", self.model, "--json").out)
        self.assertEqual(got, {"model": str(self.model), "converted": None, "bytes": len(data), "good": True,
                               "error": None})

    def test_converted(self):
        """Of a model in another format the converted file is shown and checked, and what is said makes that clear."""
        source = STORIES / "stories260K.bin"
        info = json.loads(self.good("info", source, "--json", "--tensors").out)
        converted = pathlib.Path(info["converted"])
        self.assertEqual((info["model"], info["file_size"]), (str(source), converted.stat().st_size))
        self.assertRegex(self.good("info", source).out, f"converted into +1.1 MB, {converted}\n")
        self.assertIn(f"{source} was converted into {converted}, which is good (1.1 MB, ", self.good("verify", source).out)
        got = json.loads(self.good("verify", source, "--json").out)
        self.assertEqual((got["model"], got["converted"], got["good"]), (str(source), str(converted), True))
        data = bytearray(converted.read_bytes())
        data[info["tensors"][-1]["offset"]] ^= 1
        converted.write_bytes(data)
        done = self.bad(1, f"{source} was converted into {converted}, which is damaged: ", "verify", source)
        self.assertIn("remove that file, and it is made anew", done.err)
        converted.unlink()
        self.good("verify", source)


class Convert(CliTest):
    def test_types(self):
        self.assertLess(self.q8.stat().st_size, 0.45 * self.model.stat().st_size)
        done = self.good("convert", STORIES / "stories260K.bin", "-o", "t.slm", "--type", "f16", "--head-type", "q8",
                         "--json")
        got = json.loads(done.out)
        self.assertEqual(got["source"], "llama2.c")
        self.assertEqual(got["bytes"], (self.folder / "t.slm").stat().st_size)
        self.assertEqual({t["to"] for t in got["types"]}, {"f32", "f16", "q8"})
        q8 = next(t for t in got["types"] if t["to"] == "q8")
        self.assertTrue(0 < q8["error"] < 0.02)
        self.assertIn({"from": "computed", "to": "f32", "tensors": 1, "source_bytes": 0, "bytes": 16, "error": 0},
                      got["types"])
        info = json.loads(self.good("info", "t.slm", "--json").out)
        self.assertEqual(sum(t["tensors"] for t in got["types"]), sum(t["tensors"] for t in info["types"]))
        text = self.good("convert", STORIES / "stories260K.bin", "-o", "t.slm", "--type", "q8", "--tensors").out
        for line in ("norms +RMSNorm, epsilon 1e-05: before attention, before feed-forward, before the head",
                     "positions +rotary, 8 dimensions", "feed-forward +SiLU, gated",
                     r"token_embd.weight +F32 +embedding +q8 +512 x 64",
                     r"blk.4.ffn_up.weight +F32 +ffn_up of layer 4 +q8 +172 x 64"):
            self.assertRegex(text, line)
        self.assertEqual(self.good("info", "t.slm", "--short").out, "{ layers 5, params 260K, quant int8 }\n")
        # Gemma's layers turn in two ways, which differ in their base.
        self.good("convert", DATA / "golden" / "gemma3", "-o", "gemma3.slm")
        self.assertEqual(json.loads(self.good("info", "gemma3.slm", "--json").out)["traits"]["positions"],
                         "rotary, 16 dimensions, base 4000 in 1 of 6 layers; rotary, 16 dimensions, base 10000 in 5 of 6 layers")
        self.assertEqual(json.loads(self.good("info", "t.slm", "--json").out)["traits"]["head"], "the embedding")
        text = self.good("convert", STORIES / "stories260K.bin", "-o", "t.slm", "--type", "q4").out
        self.assertRegex(text, r"F32 +q4 .* %")

    def test_default_output(self):
        folder = self.folder / "named"
        folder.mkdir()
        for name in ("stories260K.bin", "tok512.bin"):
            (folder / name).write_bytes((STORIES / name).read_bytes())
        self.assertIn("stories260K.slm", self.good("convert", folder / "stories260K.bin").out)
        self.assertIn("behind.slm", self.good("convert", folder / "stories260K.bin", folder / "behind.slm").out)
        self.good("info", folder / "stories260K.slm")
        self.assertIn("Without OUT, dir/model.gguf becomes dir/model.slm", self.good("convert", "--help").out)

    def test_bundled_model(self):
        """examples/stories260K.slm is what this command makes, as examples/README.md says."""
        self.good("convert", STORIES / "stories260K.bin", "--type", "q8", "-o", "bundled.slm")
        self.assertEqual((self.folder / "bundled.slm").read_bytes(), (EXAMPLES / "stories260K.slm").read_bytes())

    def test_errors(self):
        source = STORIES / "stories260K.bin"
        self.bad(2, "--output: the value is empty", "convert", source, "-o", "")
        self.bad(2, "can't be standard output", "convert", source, "-o", "-")
        self.bad(1, "a model can't come from standard input", "convert", "-", "-o", "x.slm")
        self.bad(2, "OUT stands there twice: 'a.slm' and -o 'b.slm'", "convert", source, "a.slm", "-o", "b.slm")
        self.bad(2, "unexpected argument 'b.slm': slm convert IN", "convert", source, "a.slm", "b.slm")
        (self.folder / "config.json").write_text("{}")
        self.bad(1, "is a JSON file; give the directory", "convert", "config.json")
        self.assertFalse((self.folder / "-").exists())
        self.bad(2, "q7", "convert", source, "-o", "bad.slm", "--type", "q7")
        self.bad(1, "nowhere.gguf", "convert", "nowhere.gguf")
        self.bad(1, "is a .slm file already, to be used as it is", "convert", self.model)
        self.bad(1, "is a directory without a tokenizer: no tokenizer.json, tokenizer.model, tekken.json", "convert", source, "-o", "bad.slm", "--tokenizer", self.folder)
        self.bad(1, "No such file", "convert", source, "-o", "no/where.slm")
        done = subprocess.run([SLM, "convert", source, "-o", "bad.slm"], capture_output=True, cwd=self.folder,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"bad.slm: could not be written: File too large", done.stderr)
        (self.folder / "cut.bin").write_bytes(source.read_bytes()[:500_000])
        self.bad(1, "cut.bin", "convert", "cut.bin", "-o", "bad.slm")
        self.assertFalse([p for p in self.folder.iterdir() if p.name.startswith("bad")], "nothing stays behind")


if __name__ == "__main__":
    main()
