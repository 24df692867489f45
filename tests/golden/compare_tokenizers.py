#!/usr/bin/env python3
"""Compare whole published tokenizers with the libraries that define them.

    pip install tokenizers sentencepiece tiktoken gguf
    python3 tests/golden/compare_tokenizers.py BUILD --text wiki.test.raw [--strings 20000] NAME=FILE[,REFERENCE]...

BUILD is a build folder (with examples/slm/slm and tests/tokenize_cases). FILE is what libslm reads. REFERENCE, or FILE
itself, says what is right: a tokenizer.json by Hugging Face's tokenizers; a SentencePiece model by sentencepiece; a
tekken.json by tiktoken, as Mistral's own library does it; a GGUF file by sentencepiece, with a model made of its
pieces and scores; or, where REFERENCE is a program that was made of llama_tokens.c, by llama.cpp.

For each tokenizer: the ids of the text, of the stress file (tests/data/tokenizers/cases.bin), and of random strings;
then the text of those ids, of parts of them and of random ids, token by token. Prints one row of a table each. It must
say "equal" everywhere but for what docs/format-tokenizer.md lists.
"""
import argparse
import base64
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
META = "\u2581"

BLOCKS = [(0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x2AF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF),
          (0x530, 0x58F), (0x590, 0x5FF), (0x600, 0x6FF), (0x700, 0x74F), (0x780, 0x7BF), (0x900, 0x97F),
          (0x980, 0x9FF), (0xA00, 0xA7F), (0xB80, 0xBFF), (0xC00, 0xC7F), (0xD00, 0xD7F), (0xE00, 0xE7F),
          (0xE80, 0xEFF), (0xF00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F),
          (0x13A0, 0x13FF), (0x1680, 0x169F), (0x1780, 0x17FF), (0x1800, 0x18AF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF),
          (0x2000, 0x206F), (0x2070, 0x20CF), (0x2100, 0x214F), (0x2150, 0x218F), (0x2190, 0x21FF), (0x2200, 0x22FF),
          (0x2460, 0x24FF), (0x2580, 0x259F), (0x2600, 0x27BF), (0x2E80, 0x2FDF), (0x3000, 0x303F), (0x3040, 0x30FF),
          (0x3400, 0x34FF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xAC00, 0xD7AF), (0xE000, 0xE010), (0xF900, 0xFAFF),
          (0xFB00, 0xFDFF), (0xFE00, 0xFEFF), (0xFF00, 0xFFEF), (0x10000, 0x1007F), (0x10330, 0x1034F),
          (0x10400, 0x1044F), (0x11000, 0x1104F), (0x1D100, 0x1D1FF), (0x1D400, 0x1D7FF), (0x1F1E6, 0x1F1FF),
          (0x1F300, 0x1F6FF), (0x1F900, 0x1F9FF), (0x20000, 0x2003F), (0xE0100, 0xE01EF), (0xFFFD, 0xFFFD), (0x0, 0x1F),
          (0x7F, 0x9F)]
QUOTES = ["'s", "'S", "'ll", "'LL", "'re", "'ſ", "'T", "don't", "I'M", "'d'd", "’s", "it's"]
CLUSTERS = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "❤️", "☝🏿", "e\u0301", "a\u0328\u0301", "\u1100\u1161\u11a8", "가\u11a8", "\u212b", "ﬁ",
            "q\u0307\u0323", "\u0344", "\u0f73", "क्षि", "\u0958", "\u2126", "🏴\U000e0067\U000e0062\U000e007f"]
CODE = ["def f(x):\n    return x**2\n", "<html>", "https://example.com/a?b=c&d=%20e#f", "!!!", "...", '{"a": [1, 2.5e-3]}',
        "#include <stdio.h>\n", "\\n", "==", "--- ", "x_1 = a->b;", "\u202eabc\u202c"]
SPACES = [" ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\x85"]


def random_text(r, words, special):
    out = []
    for _ in range(r.choice([1, 2, 3, 5, 8, 13, 20, 40])):
        kind = r.random()
        if kind < .25:
            first, last = r.choice(BLOCKS)
            out.append("".join(chr(r.randint(first, last)) for _ in range(r.choice([1, 1, 2, 3, 8]))))
        elif kind < .45:
            out.append(r.choice(words) + r.choice(["", " ", "  ", "\n"]))
        elif kind < .55:
            out.append(r.choice(SPACES) * r.choice([1, 1, 2, 3, 4, 7, 16, 33]))
        elif kind < .62:
            out.append(str(r.randint(0, 10 ** r.choice([1, 2, 3, 4, 9, 20]))))
        elif kind < .82:
            out.append(r.choice(r.choice([QUOTES, CLUSTERS, CODE])))
        elif kind < .88 and special:
            out.append(r.choice(special))
        elif kind < .92:
            out.append(r.choice("aeiou xyz.,-" + META) * r.choice([2, 3, 5, 17, 64, 130]))
        else:
            out.append("".join(r.choice("abcdefghij ABCD 0123 \n.,") for _ in range(r.randint(1, 30))))
    return "".join(out)


def random_bytes(r, words, special):
    """One text in thirty has bytes that are not UTF-8: cut characters, surrogates, anything."""
    data = random_text(r, words, special).encode()
    if r.random() < 1 / 30:
        at = r.randint(0, len(data))
        data = data[:at] + r.choice([b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xc3", b"\xff", bytes([r.randrange(256)])]) + data[at:]
    return data


def readable(data):
    return data.decode("utf-8", "replace")


# -------------------------------------------------------------------------------- programs --

def blocks_by(command, blocks, width):
    """What a program makes of blocks of bytes (width 1) or of tokens (width 4): blocks of the other kind."""
    data = b"".join(struct.pack("<I", len(b) // width) + b for b in blocks)
    out = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout
    at, width = 0, 5 - width
    while at < len(out):
        n = struct.unpack_from("<I", out, at)[0] * width
        yield out[at + 4:at + 4 + n]
        at += 4 + n


def encode_by(command, texts, special):
    texts = [t.encode() if isinstance(t, str) else t for t in texts]
    return [list(struct.unpack(f"<{len(b) // 4}i", b))
            for b in blocks_by(command + ["encode-special" if special else "encode"], texts, 1)]


def decode_by(command, sequences, special):
    sequences = [struct.pack(f"<{len(s)}i", *s) for s in sequences]
    return list(blocks_by(command + ["decode-special" if special else "decode"], sequences, 4))


# ------------------------------------------------------------------------------ references --

class Reference:
    special = []
    finds_special = False  # special tokens that stand in a text

    def makes_special(self, text):
        """Whether a text without a special token becomes one. In libslm plain text never does."""
        return False


class HuggingFace(Reference):
    library = "tokenizers"
    finds_special = True

    def __init__(self, file):
        from tokenizers import Tokenizer
        self.tokenizer = Tokenizer.from_file(file)
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        model = json.load(open(file, encoding="utf-8"))
        self.special = [a["content"] for a in model["added_tokens"]][:80]
        self.control = [a["content"] for a in model["added_tokens"] if a["special"]]
        self.special += [s[:-1] for s in self.special[:5]] + [" " + s for s in self.special[:5]]
        # Byte tokens in any order come out differently: docs/format-tokenizer.md, differences.
        fallback = model["model"].get("byte_fallback", False)
        self.ids = [i for t, i in self.tokenizer.get_vocab().items()
                    if not (fallback and re.fullmatch("<0x[0-9A-F]{2}>", t))]
        self.ids.sort()

    def makes_special(self, text):
        """Normalizing writes one where it drops the last character of "<unk\\v>", say."""
        normalizer = self.tokenizer.normalizer
        normal = normalizer.normalize_str(text) if normalizer else text
        return any(normal.count(c) > text.count(c) for c in self.control)

    def encode(self, texts):
        return [e.ids for e in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def decode(self, sequences, special):
        return self.tokenizer.decode_batch(sequences, skip_special_tokens=not special)


class SentencePiece(Reference):
    library = "sentencepiece"

    def __init__(self, file):
        import sentencepiece
        from sentencepiece import sentencepiece_model_pb2 as proto
        data = gguf_model(file) if file.endswith(".gguf") else open(file, "rb").read()
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=data)
        model = proto.ModelProto()
        model.ParseFromString(data)
        kinds = [p.type for p in model.pieces]
        self.special = [p.piece for p in model.pieces if p.type == 4][:80]
        self.silent = {i for i, kind in enumerate(kinds) if kind in (2, 3)}
        self.ids = [i for i, kind in enumerate(kinds) if kind in (1, 4, 5)]

    def encode(self, texts):
        return self.processor.encode(texts)

    def decode(self, sequences, special):
        return None if special else [self.processor.decode([i for i in s if i not in self.silent]) for s in sequences]


class Tekken(Reference):
    """Ranks of bytes and a pattern, behind a number of special tokens."""
    library = "tiktoken"

    def __init__(self, file):
        import tiktoken
        model = json.load(open(file, encoding="utf-8"))
        config = model["config"]
        self.first = config["default_num_special_tokens"]
        n = config["default_vocab_size"] - self.first
        ranks = {base64.b64decode(t["token_bytes"]): t["rank"] for t in model["vocab"][:n]}
        self.encoding = tiktoken.Encoding("tekken", pat_str=config["pattern"], mergeable_ranks=ranks, special_tokens={})
        self.ids = list(range(self.first, self.first + n))

    def encode(self, texts):
        return [[i + self.first for i in self.encoding.encode(t)] for t in texts]

    def decode(self, sequences, special):
        return None if special else [self.encoding.decode_bytes([i - self.first for i in s]).decode("utf-8", "replace")
                                     for s in sequences]


class LlamaCpp(Reference):
    library = "llama.cpp"
    finds_special = True

    def __init__(self, program, file):
        import gguf
        fields = gguf.GGUFReader(file).fields
        texts = fields["tokenizer.ggml.tokens"].contents()
        kinds = fields["tokenizer.ggml.token_type"].contents()
        self.command = [program, file]
        self.special = [t for t, kind in zip(texts, kinds) if kind in (3, 4)][:80]
        # Tokens with some names are control tokens to it, whatever the file says.
        self.ids = [i for i, kind in enumerate(kinds) if kind != 6 and texts[i] != "</s>"]

    def encode(self, texts):
        return encode_by(self.command, texts, True)

    def decode(self, sequences, special):
        return [readable(b) for b in decode_by(self.command, sequences, special)]


def gguf_model(file):
    """A SentencePiece model with the pieces of a GGUF's llama or t5 tokenizer."""
    import gguf
    from sentencepiece import sentencepiece_model_pb2 as proto
    fields = gguf.GGUFReader(file).fields
    get = lambda key, default: fields["tokenizer.ggml." + key].contents() if "tokenizer.ggml." + key in fields else default
    model = proto.ModelProto()
    unigram = get("model", "llama") == "t5"
    for text, score, kind in zip(get("tokens", []), get("scores", []), get("token_type", [])):
        model.pieces.add(piece=text, score=score, type=kind)
    kinds = {p.type for p in model.pieces}
    model.trainer_spec.CopyFrom(proto.TrainerSpec(
        model_type=1 if unigram else 2, vocab_size=len(model.pieces), unk_id=get("unknown_token_id", 0),
        bos_id=get("bos_token_id", 1), eos_id=get("eos_token_id", 2), pad_id=-1, byte_fallback=6 in kinds))
    model.normalizer_spec.CopyFrom(proto.NormalizerSpec(
        name="identity", add_dummy_prefix=get("add_space_prefix", True), escape_whitespaces=True,
        remove_extra_whitespaces=get("remove_extra_whitespaces", unigram),
        precompiled_charsmap=bytes(x & 255 for x in get("precompiled_charsmap", []))))
    return model.SerializeToString()


def reference_of(reference, file):
    if os.access(reference, os.X_OK):
        return LlamaCpp(reference, file)
    file = reference
    if os.path.basename(file).startswith("tekken"):
        return Tekken(file)
    return HuggingFace(file) if file.endswith(".json") else SentencePiece(file)


# ------------------------------------------------------------------------------- comparing --

class Ours:
    def __init__(self, build, file, folder):
        model = os.path.join(folder, "vocabulary.slm")
        self.command = [os.path.join(build, "tests", "tokenize_cases"), model]
        subprocess.run([os.path.join(build, "examples", "slm", "slm"), "convert", file, "-o", model, "--vocabulary"],
                       check=True, stdout=subprocess.DEVNULL)

    def encode(self, texts, special):
        return encode_by(self.command, texts, special)

    def decode(self, sequences, special):
        return [b.decode() for b in decode_by(self.command, sequences, special)]


def show(what, text, ours, theirs):
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    print(f"  {what} {text!r:.300}\n    at {at}: {ours[max(0, at - 2):at + 8]!r}, should be {theirs[max(0, at - 2):at + 8]!r}",
          file=sys.stderr)


def compare(what, texts, ours, theirs):
    wrong = [i for i in range(len(theirs)) if i >= len(ours) or ours[i] != theirs[i]]
    for i in wrong[:3]:
        show(what, texts[i], ours[i] if i < len(ours) else [], theirs[i])
    return f"{len(theirs):,} equal" if not wrong else f"**{len(wrong)} of {len(theirs):,} differ**"


def sequences_of(r, reference, encoded):
    """What was encoded, parts of it, and anything. Parts must not begin inside a character made of byte tokens."""
    out, whole = [], set(reference.ids)
    for e in encoded:
        kind = r.random()
        if kind < .4:
            out.append([r.choice(reference.ids) for _ in range(r.randint(1, 12))])
        elif kind < .7 and e:
            out.append([i for i in e[r.randint(0, len(e) - 1):] if i in whole])
        else:
            out.append(e)
    return out


def cases():
    data = open(os.path.join(HERE, "..", "data", "tokenizers", "cases.bin"), "rb").read()
    n, at = struct.unpack_from("<I", data)[0], 4
    for _ in range(n):
        length = struct.unpack_from("<I", data, at)[0]
        yield data[at + 4:at + 4 + length]
        at += 4 + length


def campaign(options, name, file, reference_file, folder):
    reference, ours = reference_of(reference_file, file), Ours(options.build, file, folder)
    text = open(options.text, "rb").read()
    words = readable(text).split(" ")
    r = random.Random(options.seed)
    # sentencepiece ends a text at NUL, and has one U+FFFD for each byte that is not UTF-8: it gets repaired text.
    clean = (lambda t: t.replace(b"\0", b"")) if reference.library == "sentencepiece" else lambda t: t
    strings = []
    while len(strings) < options.strings:
        one = clean(random_bytes(r, words, reference.special))
        strings += [one] if not reference.makes_special(readable(one)) else []
    row, encoded = [], []
    for what, texts in (("text", [text]), ("stress", [clean(c) for c in cases()]), ("random", strings)):
        theirs = reference.encode([readable(t) for t in texts])
        row.append(compare(what, texts, ours.encode(texts, reference.finds_special), theirs))
        encoded.append(theirs)
    sequences = sequences_of(r, reference, encoded[2]) + encoded[1] + encoded[0]
    decoded = []
    for shown in (False, True):
        theirs = reference.decode(sequences, shown)
        if theirs is not None:
            decoded.append(compare("decoding", sequences, ours.decode(sequences, shown), theirs))
    back = ours.decode(encoded[2] + encoded[0], True)
    same = sum(readable(t) == b for t, b in zip(strings + [text], back))
    print(f"| {name} | {reference.library} | {len(encoded[0][0]):,} {row[0].split(' ', 1)[1]} | {row[1]} | {row[2]} "
          f"({sum(map(len, encoded[2])):,} tokens) | {'; '.join(dict.fromkeys(decoded))} | "
          f"{'text ' if back[-1] == readable(text) else ''}{100 * same / len(back):.1f} % |", flush=True)
    return "differ" in "".join(row + decoded)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--text", required=True)
    parser.add_argument("--strings", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("tokenizers", nargs="+", metavar="NAME=FILE[,REFERENCE]")
    options = parser.parse_args()
    print("| tokenizer | reference | ids of the text | stress file | random strings | decoding | comes back |\n"
          "|---|---|---|---|---|---|---|")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for one in options.tokenizers:
            name, _, files = one.partition("=")
            file, _, reference = files.partition(",")
            failed += campaign(options, name, file, reference or file, folder)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
