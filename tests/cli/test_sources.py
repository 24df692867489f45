"""Tokenizers without tokenizer.json, and pairs of texts: ids as the reference has them (tests/golden/make_sources.py)."""
import json
import sys

from support import DATA, CliTest, main

sys.path.insert(0, str(DATA.parent / "python"))
import source_files as sources  # noqa: E402

TOKENIZERS = DATA / "tokenizers"
EXPECTED = json.loads((TOKENIZERS / "sources.json").read_text())


class Sources(CliTest):
    def ids(self, model, text, *options):
        (self.folder / "text.txt").write_bytes(text.encode())
        done = self.good("tokenize", model, "-f", "text.txt", "--ids", *options)
        return [int(i) for i in done.out.split(",")] if done.out.strip() else []

    def check(self, name, model, *options):
        for text, (plain, special) in zip(sources.TEXTS, EXPECTED[name]["ids"], strict=True):
            self.assertEqual(self.ids(model, text, *options), plain, (name, text))
            self.assertEqual(self.ids(model, text, *options, "--add-special"), special, (name, text))
        self.check_pairs(name, model)

    def check_pairs(self, name, model):
        for (a, b), expected in zip(sources.PAIRS, EXPECTED[name]["pairs"] or [], strict=False):
            got = json.loads(self.good("tokenize", model, "-p", a, "--second", b, "--json").out)
            self.assertEqual([got["ids"], got["types"]], expected, (name, a, b))

    def test_directories(self):
        for name in [*sources.DIRECTORIES, *sources.RANKS]:
            sources.write_directory(TOKENIZERS, name, self.folder / name)
            self.check(name, self.folder / name, "--parse-special")

    def test_byte_order_marks(self):
        folder = self.folder / "gpt2-prefix"
        sources.write_directory(TOKENIZERS, "gpt2-prefix", folder)
        for path in folder.iterdir():
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        self.check("gpt2-prefix", folder, "--parse-special")

    def test_word_lists(self):
        """BERT's vocab.txt with a byte order mark, with Windows' ends of lines, and with [UNK] in its first line."""
        words = (TOKENIZERS / "bert.vocab.txt").read_text("utf-8")
        ids = {}
        for name, text in {"plain": words, "mark": "\ufeff" + words, "windows": words.replace("\n", "\r\n"),
                           "both": "\ufeff" + words.replace("\n", "\r\n")}.items():
            (self.folder / name).mkdir()
            (self.folder / name / "vocab.txt").write_bytes(text.encode())
            ids[name] = [self.ids(self.folder / name, x, "--add-special") for x in sources.TEXTS]
            self.assertEqual(ids[name], ids["plain"])
        self.assertEqual(self.ids(TOKENIZERS / "bert.json", sources.TEXTS[2], "--add-special"), ids["plain"][2])
        first = "\ufeff[UNK]\n" + words.replace("[UNK]\n", "")
        (self.folder / "vocab.txt").write_text(first, "utf-8")
        self.assertEqual(self.ids(self.folder / "vocab.txt", "\u2603"), [0])

    def test_tekken(self):
        sources.write_tekken(TOKENIZERS, self.folder / "tekken.json")
        self.check("tekken", self.folder / "tekken.json")

    def test_pairs(self):
        for name in sources.WITH_PAIRS:
            (self.folder / name).write_text(sources.pair_tokenizer(TOKENIZERS, name))
            self.check_pairs(name, self.folder / name)
        # A template that has no place for the second text.
        self.bad(1, "takes no pairs", "tokenize", TOKENIZERS / "mistral.json", "a", "--second", "b")

    def broken(self, words, files):
        folder = self.folder / "broken"
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        for name, content in files.items():
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        self.bad(1, words, "tokenize", folder, "x")

    def test_broken_files(self):
        letters = {chr(i): i - 97 for i in range(97, 123)}
        end = {**letters, "<|endoftext|>": 26}
        self.broken("there is no merges.txt beside it", {"vocab.json": end})
        self.broken("known are GPT2Tokenizer", {"vocab.json": letters, "merges.txt": "\n"})
        self.broken("CLIPTokenizer", {"vocab.json": end, "merges.txt": "\n", "config.json": {"model_type": "clip"},
                                      "tokenizer_config.json": {"tokenizer_class": "CLIPTokenizer"}})
        self.broken("merges.txt: line 2 is no pair", {"vocab.json": end, "merges.txt": "#version: 0.2\nab\n"})
        self.broken("is not in", {"vocab.json": end, "merges.txt": "a é\n"})
        self.broken("the id of", {"vocab.json": {"a": 0, "b": -1}, "merges.txt": "\n"})
        ranks = "IQ== 0\nIg== 1\nIw== 2\n"
        self.broken("3 ranks, and no tokenizer_config.json", {"tiktoken.model": ranks})
        self.broken("rank 1 is there twice", {"tiktoken.model": ranks + "JA== 1\n"})
        self.broken("line 4 is no base64", {"tiktoken.model": ranks + "?? 3\n"})
        self.broken("is another's", {"tiktoken.model": ranks + "JA== 9\n", "tokenizer_config.json": {
            "added_tokens_decoder": {"9": {"content": "<s>"}}}})
        self.broken("config.pattern is missing", {"tekken.json": {"config": {"default_vocab_size": 3, "default_num_special_tokens": 1},
                                                                  "vocab": []}})
        self.broken("vocab[1] lacks token_bytes, or its rank", {"tekken.json": {
            "config": {"default_vocab_size": 9, "default_num_special_tokens": 1, "pattern": "a"},
            "special_tokens": [{"rank": 0, "token_str": "<s>"}],
            "vocab": [{"rank": 0, "token_bytes": "IQ=="}, {"rank": 2, "token_bytes": "Ig=="}]}})


if __name__ == "__main__":
    main()
