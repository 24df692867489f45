"""slm embed on tiny models: an encoder, a reranker, a decoder and a classifier, each with a tokenizer."""
import json
import math
import shutil
import struct
import unittest

from support import DATA, CliTest

EMBEDDINGS = DATA / "embeddings"
LINES = ["Hello, world!", "A second line", "Hello, world!"]
FILE = "\r\n".join(LINES) + "\n"


def numbers(text):
    return [[float(x) for x in line.split()] for line in text.splitlines()]


class Embed(CliTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for name in ("bert-mean", "bert-pairs", "qwen3-embedding", "qwen3-classifier"):
            done = cls.run_slm("convert", EMBEDDINGS / name, "-o", name + ".slm", "--type", "f32")
            if done.code != 0:
                raise RuntimeError(done.err)
        (cls.folder / "lines.txt").write_text(FILE, newline="")

    def wanted(self, name, row, width):
        """A row of what PyTorch made of texts.json."""
        data = (EMBEDDINGS / name / "vectors.f32").read_bytes()
        return struct.unpack_from("<%df" % width, data, 4 * width * row)

    def ids(self, text):
        """With the special tokens."""
        return self.good("tokenize", "bert-mean.slm", text, "--ids", "--add-special").out.replace(",", " ").split()

    def assert_close(self, ours, theirs):
        self.assertEqual(len(ours), len(theirs))
        self.assertLess(max(abs(a - b) for a, b in zip(ours, theirs)), 1e-4)

    def test_text_is_what_pytorch_says(self):
        for name, width in (("bert-mean", 40), ("qwen3-embedding", 32)):
            row, = numbers(self.good("embed", name + ".slm", LINES[0], "--kv", "f32").out)
            self.assert_close(row, self.wanted(name, 0, width))
            self.assertAlmostEqual(math.hypot(*row), 1, places=5)
            self.assertEqual(numbers(self.good("embed", name + ".slm", "-p", LINES[0], "--kv", "f32").out), [row])
        row = self.good("embed", EMBEDDINGS / "bert-mean", LINES[0]).out # converted on the way, bf16 as it is
        self.assert_close(numbers(row)[0], self.wanted("bert-mean", 0, 40))
        self.assert_close(numbers(self.good("embed", "qwen3-classifier.slm", LINES[0], "--scores", "--kv", "f32").out)[0],
                          self.wanted("qwen3-classifier", 0, 3))

    def test_file_has_a_text_a_line(self):
        rows = numbers(self.good("embed", "bert-mean.slm", "-f", "lines.txt").out)
        self.assertEqual(len(rows), 3)
        self.assertEqual(rows[0], rows[2])
        self.assertNotEqual(rows[0], rows[1])
        self.assertEqual(numbers(self.good("embed", "bert-mean.slm", "-f", "-", stdin=FILE).out), rows)
        many = numbers(self.good("embed", "bert-mean.slm", "-f", "-", stdin=FILE * 50).out)
        self.assertEqual(many, rows * 50, "whatever is computed together")

    def test_json(self):
        plain = numbers(self.good("embed", "bert-mean.slm", "-f", "lines.txt").out)
        value = json.loads(self.good("embed", "bert-mean.slm", "-f", "lines.txt", "--json").out)
        self.assertEqual(set(value), {"width", "embeddings"})
        self.assertEqual(value["width"], 40)
        self.assertEqual(len(value["embeddings"]), 3)
        for ours, theirs in zip(value["embeddings"], plain):
            self.assert_close(ours, theirs)
        value = json.loads(self.good("embed", "bert-pairs.slm", "-q", "Who maps it?", "-f", "lines.txt", "--json").out)
        self.assertEqual(set(value), {"width", "scores"})
        self.assertEqual((value["width"], len(value["scores"])), (1, 3))

    def test_query(self):
        """A reranker's own score, as PyTorch has it; with other models the cosine."""
        text = "The library maps the file."
        (score,), = numbers(self.good("embed", "bert-pairs.slm", "-q", "Who maps it?", text).out)
        self.assertAlmostEqual(score, self.wanted("bert-pairs", 0, 1)[0], places=4)
        (same,), (other,), _ = numbers(self.good("embed", "bert-mean.slm", "-q", LINES[0], "-f", "lines.txt").out)
        self.assertAlmostEqual(same, 1, places=5)
        self.assertLess(other, 0.999)

    def test_a_vector_for_each_token(self):
        blocks = self.good("embed", "bert-mean.slm", "-f", "lines.txt", "--pooling", "none").out.split("\n\n")
        self.assertEqual(blocks.pop(), "")
        tokens = [len(self.ids(line)) for line in LINES]
        self.assertEqual([len(numbers(b)) for b in blocks], tokens)
        value = json.loads(self.good("embed", "bert-mean.slm", "-f", "lines.txt", "--pooling", "none", "--json").out)
        self.assertEqual([len(rows) for rows in value["embeddings"]], tokens)
        self.assertEqual({len(row) for rows in value["embeddings"] for row in rows}, {40})

    def test_options(self):
        ids = " ".join(self.ids(LINES[0]))
        self.assertEqual(self.good("embed", "bert-mean.slm", "--ids", ids).out, self.good("embed", "bert-mean.slm", LINES[0]).out)
        first, last, mean = (self.good("embed", "bert-mean.slm", LINES[0], "--pooling", p).out for p in ("first", "last", "mean"))
        self.assertEqual(len({first, last, mean}), 3)
        self.assertEqual(mean, self.good("embed", "bert-mean.slm", LINES[0]).out)
        for threads in (1, 2):
            self.assertEqual(self.good("embed", "bert-mean.slm", LINES[0], "-t", threads).out, mean)
        long = "word " * 100
        self.bad(1, "--truncate", "embed", "bert-mean.slm", long)
        self.assertEqual(len(numbers(self.good("embed", "bert-mean.slm", long, "--truncate").out)), 1)

    def test_nothing(self):
        """Where there is no text: an empty line has its special tokens, an empty file no lines."""
        for arguments in (("-p", ""), ("",), ("a", "-q", "")):
            self.bad(2, "empty", "embed", "bert-mean.slm", *arguments)
        self.assertEqual(self.good("embed", "bert-mean.slm", stdin="").out, "")
        self.assertEqual(json.loads(self.good("embed", "bert-mean.slm", "--json", stdin="").out)["embeddings"], [])
        special = self.good("embed", "bert-mean.slm", "--ids", " ".join(self.ids(""))).out
        self.assertEqual(self.good("embed", "bert-mean.slm", stdin="\n").out, special)
        folder = self.folder / "no-special"  # GPT-2's tokenizer adds nothing
        folder.mkdir()
        for name in ("config.json", "model.safetensors"):
            shutil.copy(EMBEDDINGS / "qwen3-embedding" / name, folder)
        tokenizer = json.loads((EMBEDDINGS / "qwen3-embedding" / "tokenizer.json").read_text())
        tokenizer["post_processor"] = None
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        self.good("convert", folder, "-o", "no-special.slm")
        done = self.run_slm("embed", "no-special.slm", "--pooling", "last", stdin="a\n\nb\n")
        self.assertEqual((done.code, done.err), (1, "slm: standard input, line 2: it has no tokens\n"))

    def test_context(self):
        """-c is the longest line; without it 4096 tokens, or fewer of a model that was trained for fewer."""
        folder = self.folder / "long"
        shutil.copytree(EMBEDDINGS / "qwen3-embedding", folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8192}))
        (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 8192}')
        self.good("convert", folder, "-o", "long.slm")
        ids = "1 " * 4100
        self.bad(1, "is 4096; a larger -c takes all of it, --truncate its beginning\n", "embed", "long.slm", "--ids", ids)
        self.assertEqual(len(numbers(self.good("embed", "long.slm", "--ids", ids, "-c", "4100").out)), 1)
        self.bad(1, "is 4099; a larger -c", "embed", "long.slm", "--ids", ids, "-c", "4099")
        short = self.good("embed", "bert-mean.slm", LINES[0]).out
        done = self.good("embed", "bert-mean.slm", LINES[0], "-c", "100")
        self.assertEqual(done.out, short)
        self.assertIn("more than the 50 tokens", done.err)
        self.bad(1, "is 60; --truncate takes", "embed", "bert-mean.slm", "word " * 100, "-c", "100")

    def test_errors(self):
        self.bad(2, "--scores is for single texts", "embed", "bert-pairs.slm", "-q", "a", "--scores", "b")
        self.bad(2, "--query takes text", "embed", "bert-mean.slm", "-q", "a", "--ids", "1 2")
        self.bad(2, "--pooling none", "embed", "bert-mean.slm", "-q", "a", "b", "--pooling", "none")
        self.bad(2, "mean, first, last", "embed", "bert-mean.slm", "a", "--pooling", "max")
        self.bad(1, "no score head", "embed", "bert-mean.slm", "a", "--scores")
        self.bad(1, "give --pooling last", "embed", self.model, "a decoder that does not say how")
        text = "short\n" * 80 + "word " * 100 + "\nshort\n"
        done = self.run_slm("embed", "bert-mean.slm", stdin=text)
        self.assertEqual((done.code, len(done.out.splitlines())), (1, 64))
        self.assertRegex(done.err, "^slm: standard input, line 81: it has [0-9]+ tokens, and the limit of context and model "
                                   "is [0-9]+; --truncate takes its beginning\n$")
        done = self.bad(1, "slm: --query: it has ", "embed", "bert-mean.slm", "-q", "word " * 100, "a")
        self.assertIn("; --truncate takes its beginning\n", done.err)
        self.assertIn("-p, line 2: ", self.run_slm("embed", "bert-mean.slm", "-p", text[6 * 79:]).err)
        self.assertEqual(len(numbers(self.good("embed", self.model, "a", "--pooling", "last").out)[0]), 64)
        self.bad(1, "9999", "embed", "bert-mean.slm", "--ids", "2 9999 3")
        self.bad(1, "missing.txt", "embed", "bert-mean.slm", "-f", "missing.txt")
        self.bad(1, "missing.slm", "embed", "missing.slm", "a")
        for command, *rest in (("run", "hi"), ("chat",), ("logits", "-p", "hi", "-o", "x"), ("perplexity", "-f", "lines.txt"), ("bench",)):
            self.bad(1, "slm: bert-mean.slm is an encoder, which can't continue a text: 'slm embed'", command, "bert-mean.slm", *rest)
        # Encoders without a tokenizer take token ids.
        self.good("convert", DATA / "encoders" / "bert-reranker", "-o", "no-words.slm")
        for command, *rest in (("tokenize", "hi"), ("embed", "hi"), ("embed", "-q", "who", "hi")):
            self.bad(1, "the model file has no tokenizer", command, "no-words.slm", *rest)


if __name__ == "__main__":
    unittest.main()
