"""Text without weights: slm tokenize on vocabularies of all kinds, slm template, and the prompts that chat shows."""
import json
import shutil
import struct

from support import DATA, STORIES, TEMPLATE, CliTest, main

TOKENIZERS = DATA / "tokenizers"
IM = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def gguf(pairs):
    """A GGUF file with these keys and no tensors."""
    def text(s):
        data = s.encode()
        return struct.pack("<Q", len(data)) + data

    out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs))
    for key, value in pairs.items():
        out += text(key)
        if isinstance(value, str):
            out += struct.pack("<I", 8) + text(value)
        elif isinstance(value, int):
            out += struct.pack("<II", 4, value)
        else:
            string = isinstance(value[0], str)
            out += struct.pack("<IIQ", 9, 8 if string else 6, len(value))
            out += b"".join(text(v) if string else struct.pack("<f", v) for v in value)
    return out


class Vocabularies(CliTest):
    def test_files(self):
        for name in ("gpt2.json", "tok512.model", "unigram.json", "bert.vocab.txt"):
            self.assertNotEqual(self.good("tokenize", TOKENIZERS / name, "-p", "the time", "--ids").out, "\n")
        # The same vocabulary in three clothes.
        text = ["-p", "Once upon a time", "--ids"]
        ids = self.good("tokenize", self.model, *text).out
        self.assertEqual(self.good("tokenize", TOKENIZERS / "tok512.model", *text).out, ids)
        self.assertEqual(self.good("tokenize", TOKENIZERS / "tok512.model", "--decode", "-p", ids).out, "Once upon a time")

    def test_directory(self):
        folder = self.folder / "vocabulary"
        folder.mkdir()
        shutil.copy(TOKENIZERS / "gpt2.json", folder / "tokenizer.json")
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": IM, "eos_token": "<|end|>"}))
        whole = self.good("tokenize", folder, "-p", "it's 12", "--ids")
        self.assertEqual(whole.err, "")
        self.assertEqual(self.good("tokenize", folder / "tokenizer.json", "-p", "it's 12", "--ids").out, whole.out)
        messages = '[{"role": "user", "content": "Hi"}]'
        for model in (folder, folder / "tokenizer.json"):  # its name stands for the directory
            self.assertEqual(self.good("template", model, stdin=messages).out, "<|im_start|>user\nHi<|im_end|>\n")
        self.bad(1, "without config.json", "run", folder, "-p", "x")
        (folder / "empty").mkdir()
        self.bad(1, "empty: is a directory without a tokenizer: no tokenizer.json, tokenizer.model,",
                 "tokenize", folder / "empty", "-p", "x")

    def test_no_tokenizer(self):
        unknown = "notes.md: is no tokenizer that can be read: tokenizer.json, tekken.json"
        for name, data, words in (("notes.md", b"# Notes\n\nNothing.\n", unknown), ("page", b"<html>", "page: this is a web page"),
                                  ("m.pt", b"PK\3\4abcd", "m.pt: is a PyTorch archive")):
            (self.folder / name).write_bytes(data)
            self.bad(1, words, "tokenize", name, "-p", "x")
            self.bad(1, words, "convert", "--vocabulary", name, "-o", "v.slm")
        self.bad(1, "is a .slm file already", "convert", "--vocabulary", self.model, "-o", "v.slm")

    def test_gguf(self):
        tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)] + ["▁", "a", "b", "ab", "▁ab"]
        path = self.folder / "words.gguf"
        path.write_bytes(gguf({"general.architecture": "nobody-knows", "general.name": "Words",
                               "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens,
                               "tokenizer.ggml.scores": [0.0] * 259 + [-1.0, -2.0, -3.0, -4.0, -5.0],
                               "tokenizer.chat_template": IM}))
        self.assertEqual(self.good("tokenize", path, "-p", "ab", "--ids").out, "263\n")
        self.assertEqual(self.good("template", path, stdin="[]").out, "")
        self.bad(1, "architecture", "run", path, "-p", "x")
        out = self.folder / "words.slm"
        self.good("convert", path, "--vocabulary", "-o", out)
        self.good("verify", out)
        self.assertEqual(self.good("tokenize", out, "-p", "ab", "--ids").out, "263\n")
        info = json.loads(self.good("info", out, "--json").out)
        self.assertEqual((info["n_layers"], info["n_vocab"]), (0, 264))
        # Nothing is said of weights but that there are none.
        for text in (self.good("info", out, "--tensors").out, self.good("convert", path, "--vocabulary", "-o", "w.slm").out):
            self.assertRegex(text, "vocabulary +264\n")
            self.assertNotRegex(text, r"(?m)parameters|layers|architecture +-|tensors|layer +role|^\w.* 0$")
        self.assertRegex(self.good("info", out).out, "weights +none: this is a vocabulary, for 'slm tokenize'")
        self.assertEqual(self.good("info", out, "--short").out, "{ vocabulary 264, no weights }\n")
        done = self.bad(1, "words.slm is a vocabulary, no weights: 'slm tokenize'", "run", out, "-p", "x")
        self.assertEqual(done.err.count("\n"), 1)
        self.bad(1, "vocabulary, no weights", "logits", out, "--ids", "1", "-o", "x.f32")
        self.bad(1, "vocabulary, no weights", "embed", out, "-p", "x")

    def test_nothing_to_convert(self):
        garbage = self.folder / "garbage.bin"
        garbage.write_bytes(bytes(range(1, 250)))
        self.bad(1, "garbage.bin", "tokenize", garbage, "-p", "x")
        self.bad(1, "No such file", "tokenize", "nowhere.json", "-p", "x")
        for name, words in (("empty", "the file is empty"), ("/dev/null", "not a regular file")):
            (self.folder / "empty").write_bytes(b"")
            for command in (("tokenize", name, "x"), ("convert", "--vocabulary", name, "-o", "x.slm")):
                self.bad(1, f"slm: {name}: {words}", *command)

    def test_llama2c(self):
        # How many tokens there are stands in the checkpoint alone.
        self.bad(1, "tok512.bin: seems to be llama2.c's tokenizer.bin", "tokenize", STORIES / "tok512.bin", "-p", "x")
        ids = self.good("tokenize", self.model, "-p", "Once upon", "--ids").out
        self.assertEqual(self.good("tokenize", STORIES / "stories260K.bin", "-p", "Once upon", "--ids").out, ids)
        shutil.copy(STORIES / "stories260K.bin", self.folder / "alone.bin")
        self.bad(1, "alone.bin: there is no tokenizer in it or beside it", "tokenize", "alone.bin", "x")
        self.good("convert", "--vocabulary", "alone.bin", "-o", "words.slm", "--tokenizer", STORIES / "tok512.bin")
        self.assertEqual(self.good("tokenize", "words.slm", "-p", "Once upon", "--ids").out, ids)


class Template(CliTest):
    def setUp(self):
        (self.folder / "two.json").write_text(json.dumps([{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Hi"}]))
        (self.folder / "all.jinja").write_text(
            "{{ bos_token }}{% if tools %}{{ tools | tojson }}{% endif %}{% if documents %}{{ documents[0].text }}{% endif %}"
            "{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
            "{% if mode is defined %}<{{ mode }}>{% endif %}{% if add_generation_prompt %}[assistant]{% endif %}")

    def render(self, *arguments, **options):
        return self.good("template", *arguments, **options).out

    def test_model(self):
        self.assertEqual(self.render(self.chat_model, "-f", "two.json"), "system: Be kind\nuser: Hi\nassistant:")
        self.assertEqual(self.render(self.chat_model, "-f", "two.json", "--no-generation-prompt"),
                         "system: Be kind\nuser: Hi\n")
        ids = self.good("tokenize", self.model, "-p", "system: Be kind\nuser: Hi\nassistant:", "--ids").out
        self.assertEqual(self.render(self.chat_model, "-f", "two.json", "--ids"), ids)
        for ids in ([], ["--ids"]):
            self.bad(1, "slm: the model has no chat template", "template", self.model, "-f", "two.json", *ids)

    def test_file(self):
        base = ["--template", "all.jinja", "-f", "two.json"]
        self.assertEqual(self.render(*base), "[system]Be kind[user]Hi[assistant]")
        self.assertEqual(self.render(*base, "--bos", "<s>", "--eos", "</s>", "--no-generation-prompt"),
                         "<s>[system]Be kind</s>[user]Hi</s>")
        # Special tokens of the model, template of the file.
        self.assertEqual(self.render(self.chat_model, *base), "<s>[system]Be kind</s>[user]Hi</s>[assistant]")

    def test_variables(self):
        (self.folder / "tools.json").write_text('\ufeff[{"name": "é"}]', "utf-8")
        (self.folder / "documents.json").write_text('[{"text": "D"}]')
        base = ["--template", "all.jinja", "-f", "two.json", "--no-generation-prompt"]
        messages = "[system]Be kind[user]Hi"
        self.assertEqual(self.render(*base, "--tools", "tools.json"), '[{"name": "é"}]' + messages)
        self.assertEqual(self.render(*base, "--documents", "documents.json"), "D" + messages)
        self.assertEqual(self.render(*base, "--set", "mode=1"), messages + "<1>")
        self.assertEqual(self.render(*base, "--set", "mode=1", "--set", "mode=a b"), messages + "<a b>")
        self.assertEqual(self.render(*base, "--set", "mode=false"), messages + "<False>")
        # Python's names, which model cards have; in quotes they are texts.
        (self.folder / "kind.jinja").write_text("{{ mode }} {{ 'text' if mode is string else 'none' if mode is none else 'bool' }}")
        for value, shown in (("False", "False bool"), ("True", "True bool"), ("true", "True bool"), ("None", "None none"),
                             ("null", "None none"), ('"False"', "False text"), ("FALSE", "FALSE text"), ("", " text")):
            self.assertEqual(self.render("--template", "kind.jinja", "--set", "mode=" + value, stdin="[]"), shown)
        # An object brings its own variables; options count more.
        request = json.dumps({"messages": [{"role": "user", "content": "x"}], "documents": [{"text": "E"}], "mode": "m"})
        self.assertEqual(self.render("--template", "all.jinja", stdin=request), "E[user]x<m>[assistant]")
        self.assertEqual(self.render("--template", "all.jinja", "--documents", "documents.json", "--set", "mode=n", stdin=request),
                         "D[user]x<n>[assistant]")

    def test_unused(self):
        """A template that knows nothing of tools says nothing of them: the command does, beside the exact prompt."""
        (self.folder / "tools.json").write_text('[{"name": "f"}]')
        (self.folder / "none.json").write_text("[]")
        request = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "documents": [{"text": "D"}]})
        words = "note: the template makes no use of {}: without them the prompt is the same"
        for ids in ([], ["--ids"]):
            plain = self.good("template", self.chat_model, "-f", "two.json", *ids)
            self.assertEqual(plain.err, "")
            done = self.good("template", self.chat_model, "-f", "two.json", "--tools", "tools.json", *ids)
            self.assertEqual((done.raw, done.err), (plain.raw, f"slm: {words.format('tools')}\n"))
        self.assertEqual(self.good("template", self.chat_model, "-f", "two.json", "--tools", "none.json").err, "")
        self.assertEqual(self.good("template", self.chat_model, stdin=request).err, f"slm: {words.format('documents')}\n")
        base = ["template", "--template", "all.jinja"]
        self.assertEqual(self.good(*base, "-f", "two.json", "--tools", "tools.json").err, "")
        self.assertEqual(self.good(*base, stdin=request).err, "")

    def test_wrong(self):
        base = ["template", "--template", "all.jinja"]
        self.bad(2, "Give MODEL or --template FILE", "template", "-f", "two.json")
        self.bad(2, "--ids needs MODEL", *base, "--ids", "-f", "two.json")
        self.bad(2, "'mode' is not NAME=VALUE", *base, "-f", "two.json", "--set", "mode")
        for value in ('{"a": 1,}', "[1, 2", '"a'):  # JSON that is broken is no text
            self.bad(2, f"--set mode={value}: JSON", *base, "-f", "two.json", "--set", "mode=" + value)
        for stdin, words in (('{"role": "user"}', "an object without them"), ('"Hi"', "a string"), ("3", "a number"),
                             ("null", "null"), ("true", "true or false"), ('{"messages": {}}', "an object without them")):
            self.bad(1, f'messages must be a JSON array, or "messages" of an object; this is {words}\n', *base, stdin=stdin)
        self.bad(1, "line 2, column 3", *base, stdin="[\n  x]")
        self.bad(1, "slm: messages[1] has no role", *base, stdin='[{"role": "user"}, {"rol": "user", "content": "x"}]')
        self.bad(1, "slm: messages[0] is no object", "template", self.chat_model, stdin='["Hi"]')
        self.bad(1, "slm: standard input is no text: byte 1 is NUL", *base, stdin="[\0]")
        self.bad(1, "stories.slm is no text: byte ", "template", "--template", self.model, stdin="[]")
        (self.folder / "object.json").write_text("{}")
        self.bad(1, "object.json: tools must be a JSON array, this is an object", *base, "-f", "two.json", "--tools", "object.json")
        (self.folder / "bad.jinja").write_text("Hello\n  {% iff %}")
        done = self.bad(1, "bad.jinja: ", "template", "--template", "bad.jinja", "-f", "two.json")
        self.assertIn("line 2, column", done.err)
        (self.folder / "raise.jinja").write_text("a\n{{ raise_exception('no ' ~ messages[0].role) }}")
        done = self.bad(1, "raise.jinja: ", "template", "--template", "raise.jinja", "-f", "two.json")
        self.assertIn("no system", done.err)
        self.assertIn("line 2, column", done.err)

    def test_nothing_is_added(self):
        (self.folder / "exact.jinja").write_text("\n x{{ '\\n\\n' }}\n")  # the last newline is Jinja's to drop
        self.assertEqual(self.good("template", "--template", "exact.jinja", stdin="[]").raw, b"\n x\n\n")


class ShowPrompt(CliTest):
    def test_chat(self):
        done = self.good("chat", self.chat_model, "-n", "2", "--show-prompt", "--system", "S", stdin="one\ntwo\n")
        self.assertIn("system: S\nuser: one\nassistant:\n", done.err)
        self.assertIn("user: one\nassistant: ", done.err)
        self.assertIn("user: two\nassistant:\n", done.err)
        self.assertNotIn("user:", done.out)

    def test_run(self):
        done = self.good("run", self.chat_model, "-n", "2", "--show-prompt", "-p", "one")
        self.assertEqual(done.err, "user: one\nassistant:\n")
        self.assertEqual(self.good("run", self.model, "--raw", "-n", "2", "--show-prompt", "-p", "one").err,
                         "<s> one\n")
        self.assertEqual(TEMPLATE.count("assistant"), 1)


if __name__ == "__main__":
    main()
