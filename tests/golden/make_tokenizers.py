#!/usr/bin/env python3
"""Make tests/data/tokenizers: small tokenizers of every kind, and what the reference makes of texts.

    pip install tokenizers sentencepiece && python3 tests/golden/make_tokenizers.py [NAME...]

With names only those tokenizers are made: training depends on the library's version.

cases.bin      the texts: u32 n, then n times u32 length and the bytes; 40 scripts, emoji sequences, control
               characters, invalid UTF-8, runs of white space, code, digits, special tokens.
NAME.json      a tokenizer.json. All have the same small vocabulary or one made from it; they differ in
               normalizer, pre-tokenizer, added tokens, order of merges, post-processor and decoder.
tok512.model   tests/data/stories260K/tok512.bin as a SentencePiece model.
bert.vocab.txt the words of bert.json, as BERT's own files have them.
NAME.expected  by Hugging Face's tokenizers (tok512: by sentencepiece). For every text: u16 number of ids
               and u16 ids with special tokens added, u32 FNV-1a of the text that they decode to with special tokens
               dropped, and kept. Then u16 number of id sequences, and for each its ids and the two hashes.
               Text that is not UTF-8 is given to the reference with U+FFFD in its place.

Everything is made from the word list and the ranges below; nothing comes from a published vocabulary.
"""
import base64
import json
import os
import random
import struct
import sys

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "data", "tokenizers")
TOK512 = os.path.join(HERE, "..", "data", "stories260K", "tok512.bin")

WORDS = """the of and to in is was that it for on are as with his they be at one have this from or had by
hot but some what there we can out other were all your when up use word how said an each she which do
their time if will way about many then them would write like so these her long make thing see him two
has look more day could go come did my sound no most number who over know water than call first people
may down side been now find any new work part take get place made live where after back little only
round man year came show every good me give our under name very through just form much great think say
help low line before turn cause same mean differ move right boy old too does tell sentence set three
want air well also play small end put home read hand port large spell add even land here must big high
such follow act why ask men change went light kind off need house picture try us again animal point
mother world near build self earth father it's don't I'm we'll they've you're he'd isn't can't""".split()

# First and last of the letters of 44 scripts, most of them in blocks of their own.
SCRIPTS = [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xFF), (0x100, 0x17F), (0x250, 0x2AF), (0x370, 0x3FF),
           (0x400, 0x45F), (0x531, 0x556), (0x5D0, 0x5EA), (0x620, 0x64A), (0x710, 0x72C),
           (0x780, 0x7A5), (0x7CA, 0x7EA), (0x904, 0x94D), (0x985, 0x9CD), (0xA05, 0xA4D),
           (0xA85, 0xACD), (0xB05, 0xB4D), (0xB85, 0xBCD), (0xC05, 0xC4D), (0xC85, 0xCCD),
           (0xD05, 0xD4D), (0xD85, 0xDDF), (0xE01, 0xE4E), (0xE81, 0xECD), (0xF40, 0xF84),
           (0x1000, 0x1049), (0x10D0, 0x10FA), (0x1100, 0x1112), (0x1200, 0x135A), (0x13A0, 0x13EF),
           (0x1401, 0x142F), (0x1681, 0x169A), (0x16A0, 0x16EA), (0x1780, 0x17D3), (0x1820, 0x1878),
           (0x2D30, 0x2D67), (0x3041, 0x3096), (0x30A1, 0x30FA), (0x3105, 0x312F), (0x4E00, 0x4E60),
           (0xA000, 0xA060), (0xAC00, 0xAC60), (0x10330, 0x1034A), (0x10400, 0x1044F)]
SIGNS = [(0x20, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0xA0, 0xBF), (0x300, 0x330), (0x2010, 0x205F),
         (0x2070, 0x209C), (0x2150, 0x218B), (0x2190, 0x21C0), (0x2460, 0x2490), (0x2581, 0x2581),
         (0x3000, 0x3010), (0xFF00, 0xFF5E), (0xE000, 0xE003), (0x1D400, 0x1D430), (0x1F300, 0x1F330)]
FIXED = [
    b"", b" ", b"  ", b"\n", b"\t", b"a", b"Hello, world!", b"Hello  world", b" Hello", b"Hello ",
    b"   three   spaces   ", b"\n\n\n", b"\r\n\r\n", b" \n \n  x", b"\t\t\tif x:\n\t\t\t\treturn\n",
    b"a\x00b\x01\x02\x1f\x7f", "\u00a0x\u3000y\u2028z\u0085".encode(), "tab\there\u000b\u000c".encode(),
    b"1 12 123 1234 12345 123456789", "٣٤٥ ½ ² Ⅷ ১২৩ 𝟙𝟚".encode(), b"3.14159e-10 0xFF 1,000,000",
    b"it's IT'S don't DON'T we'll WE'LL they've I'm he'd you're 'tis ''ss", "it’s x'ſ y'ſt".encode(),
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇫🇷 ❤️ ☝🏿 😀😀😀".encode(), "e\u0301 é a\u0328\u0301 q\u0323\u0307 \u0344 \u0f73".encode(),
    "\u1100\u1161\u11a8 가\u11a8 각 Å \u212b \u0958 ﬁ".encode(),
    "a\u0305\u0301 a\u0323\u0305\u0302 \u1100\u0301\u1161 \u0301x c\u0327\u0301 \u09c7\u0301\u09be".encode(), "שלום עולם مرحبا بالعالم \u202eabc\u202c".encode(),
    "日本語のテキスト。中文文本，和标点！한국어 텍스트".encode(), "▁meta▁space ▁ ▁▁ x▁".encode(),
    b"def f(x, y=1):\n    return {'a': [x ** 2, y]}  # comment\n\n\nclass A: pass",
    b"https://example.com/a/b.html?q=1&r=%20x#top user@example.org", b"<html><body class=\"x\">&amp;</body></html>",
    b"UPPER lower MixedCase camelCaseWord SCREAMING_SNAKE kebab-case XMLHttpRequest",
    b"......!!!???---===___***", b"(a)[b]{c}<d>|e|~f`g^h", b"a" * 70, b" " * 70, b"ab" * 40, b"\n" * 40, b"." * 40,
    b"x" + b" " * 33 + b"y", b"\xff\xfe", b"ok\xc3(bad", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80\xed\xb0\x80 surrogates",
    b"\xc0\xaf\xf5\x80\x80\x80 \xe0\x80\x80", b"cut \xf0\x9f\x98\x80 then \xf0\x9f\x98",
    b"<|begin|>user\nHi<|end|>\n<|begin|>assistant\n", b"<|begin|><|end|><|begin|", b"x<tool>y</tool>z <tool> ",
    b"one [MASK] two[MASK]  three  [MASK]", b"left <left>  x<left>y", b"right <right>  x<right>y", b"word xyzzy xyzzyx (xyzzy) xyzzy.",
    "both  <both>\u2003\n x<both>".encode(), "ÉCOLE <É> <E\u0301>".encode(), b"<|end|> <|end|>\n\n<|end|>",
]


def cases():
    r = random.Random(20250101)
    out = list(FIXED)
    # Words in which the order of merges with equal results shows.
    out.append(" ".join("".join(r.choice("aaab") for _ in range(r.randint(4, 24))) for _ in range(60)).encode())
    for first, last in SCRIPTS:  # some words of every script
        out.append(" ".join("".join(chr(r.randint(first, last)) for _ in range(r.randint(1, 5)))
                            for _ in range(2)).encode())
    for _ in range(40):  # and everything mixed
        parts = []
        for _ in range(r.randint(2, 6)):
            kind = r.random()
            if kind < 0.3:
                parts.append(r.choice(WORDS) + r.choice(["", " ", "  ", "\n", ", "]))
            elif kind < 0.5:
                first, last = r.choice(SCRIPTS)
                parts.append("".join(chr(r.randint(first, last)) for _ in range(r.randint(1, 4))))
            elif kind < 0.7:
                first, last = r.choice(SIGNS)
                parts.append("".join(chr(r.randint(first, last)) for _ in range(r.randint(1, 3))))
            elif kind < 0.8:
                parts.append(str(r.randint(0, 10 ** r.randint(1, 8))))
            elif kind < 0.9:
                parts.append(r.choice([" ", "\n", "\t", "\r\n", "\u00a0", "\u3000"]) * r.randint(1, 5))
            else:
                parts.append(r.choice(["<|begin|>", "<|end|>", "<tool>", "<left>", "<right>", "xyzzy", "[MASK]", "<both>"]))
        out.append("".join(parts).encode())
    return out


# ---------------------------------------------------------------------------- vocabularies --

def corpus():
    """Sentences without sense, in which frequent words are frequent."""
    r = random.Random(1)
    for _ in range(3000):
        words = [WORDS[min(int(r.expovariate(0.02)), len(WORDS) - 1)] for _ in range(r.randint(3, 12))]
        yield " ".join(words).capitalize() + r.choice([".", "!", "?", ",\n", "\n\n", "    "])
    for first, last in SCRIPTS:
        for _ in range(12):
            yield "".join(chr(first + int(r.expovariate(0.5)) % (last - first)) for _ in range(8))
    for _ in range(40):
        yield "        " + str(r.randint(0, 3000)) + "\n\n" + "👍🏽😀 e\u0301 éà … — “x”"


def train(byte_level):
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    alphabet = []
    if byte_level:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        texts = corpus()
    else:  # words that begin with U+2581, and runs of it
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
        texts = corpus()
    trainer = trainers.BpeTrainer(vocab_size=640 if byte_level else 460, initial_alphabet=alphabet,
                                  limit_alphabet=256 if byte_level else 220, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]


def train_words():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(corpus(), trainers.WordPieceTrainer(
        vocab_size=700, limit_alphabet=180, special_tokens=special, show_progress=False))
    # The order of equal counts changes from run to run.
    vocab = special + sorted(t for t in tokenizer.get_vocab() if t not in special)
    for token in ("'", "##.", "...", "'s", "The", "café", "É", "##É", "的", "\u0301", "'mid"):
        if token not in vocab:
            vocab.append(token)
    return {t: i for i, t in enumerate(vocab)}


def train_pieces():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(corpus(), trainers.UnigramTrainer(
        vocab_size=600, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    pieces = json.loads(tokenizer.to_str())["model"]["vocab"]
    return pieces[:3] + sorted((t, round(s, 3)) for t, s in pieces[3:])


def charsmap(rows):
    """A table of characters as SentencePiece compiles it: a double array of the keys, then the texts."""
    units, texts, free = {0: 0}, b"", [1]

    def place(node, keys):
        nonlocal texts
        children = {}
        for key, text in keys:
            children.setdefault(key[:1], []).append((key[1:], text))
        base = free[0] * 256  # nobody else's, so nothing can collide
        free[0] += 1
        units[node] = units.get(node, 0) | (node ^ base) << 10
        for first in sorted(children):
            if first == b"":
                units[node] |= 1 << 8
                units[base] = 1 << 31 | len(texts)
                texts += children[first][0][1] + b"\0"
            else:
                units[base ^ first[0]] = first[0]
                place(base ^ first[0], children[first])

    place(0, [(k.encode(), t.encode()) for k, t in rows.items()])
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(max(units) + 1))
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + texts).decode()


def all_splits(vocab, merges, key):
    """Every way to make every merged token, as converters from other formats list them."""
    out, made = [], []
    for left, right in merges:
        if left + right not in made:
            made.append(left + right)
    for token in made:
        ways = [(token[:i], token[i:]) for i in range(1, len(token))
                if token[:i] in vocab and token[i:] in vocab]
        out += sorted(ways, key=key)
    return out


# ------------------------------------------------------------------------------ tokenizers --

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_level(use_regex=True, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def added(vocab, *tokens):
    """tokens: (content, letters for special, lstrip, rstrip, single word, normalized)."""
    new = [content for content, _ in tokens if content not in vocab]
    return [{"id": vocab[content] if content in vocab else len(vocab) + new.index(content), "content": content, "special": "s" in flags, "lstrip": "l" in flags,
             "rstrip": "r" in flags, "single_word": "w" in flags, "normalized": "n" in flags}
            for content, flags in tokens]


def template(bos, eos=None):
    names = [x for x in (bos, eos) if x]
    single = [{"SpecialToken": {"id": bos[0], "type_id": 0}}] if bos else []
    single += [{"Sequence": {"id": "A", "type_id": 0}}]
    single += [{"SpecialToken": {"id": eos[0], "type_id": 0}}] if eos else []
    return {"type": "TemplateProcessing", "single": single, "pair": single,
            "special_tokens": {n: {"id": n, "ids": [i], "tokens": [n]} for n, i in names}}


def tokenizer(vocab, merges, pre, tokens=(), normalizer=None, post=None, decoder=None, **model):
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": added(vocab, *tokens), "normalizer": normalizer, "pre_tokenizer": pre,
            "post_processor": post, "decoder": decoder or byte_level(),
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                      "ignore_merges": False, "vocab": vocab, "merges": [list(m) for m in merges], **model}}


def wordpiece(vocab, normalizer, pre, post, decoder, tokens=(), **model):
    special = tuple((t, "s") for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"))
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added(vocab, *special, *tokens),
            "normalizer": normalizer, "pre_tokenizer": pre, "post_processor": post, "decoder": decoder,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": vocab, **model}}


def bert_normalizer(clean=True, chinese=True, strip=None, lower=True):
    return {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese, "strip_accents": strip,
            "lowercase": lower}


def unigram(pieces, normalizer, pre, decoder, post=None, **model):
    special = tuple((t, "s") for t in ("<s>", "</s>", "<unk>"))
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": added({t: i for i, (t, _) in enumerate(pieces)}, *special), "normalizer": normalizer,
            "pre_tokenizer": pre, "post_processor": post, "decoder": decoder,
            "model": {"type": "Unigram", "unk_id": 2, "vocab": pieces, "byte_fallback": False, **model}}


CHAT = (("<|begin|>", "s"), ("<|end|>", "s"), ("<tool>", ""), ("</tool>", ""))
FLAGS = CHAT + (("<left>", "sl"), ("<right>", "sr"), ("<both>", "lr"), ("xyzzy", "w"), ("[MASK]", "sln"),
                ("<É>", "n"), ("xyz", ""))
META = "\u2581"
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": META}
META_DECODER = [{"type": "Replace", "pattern": {"String": META}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]


def tokenizers():
    vocab, merges = train(True)
    n = len(vocab)
    yield "gpt2", tokenizer(vocab, merges, byte_level(), (("<|end|>", "sn"),))
    yield "smollm", tokenizer(vocab, merges, sequence({"type": "Digits", "individual_digits": True}, byte_level()), CHAT)
    ids = all_splits(vocab, merges, lambda x: (vocab[x[0]], vocab[x[1]]))
    yield "llama3", tokenizer(vocab, ids, sequence(split(LLAMA3), byte_level(False)), CHAT, ignore_merges=True,
                              post=template(("<|begin|>", n)))
    yield "qwen2", tokenizer(vocab, merges, sequence(split(QWEN2), byte_level(False)), CHAT, normalizer={"type": "NFC"})
    yield "o200k", tokenizer(vocab, merges, sequence(split(O200K), byte_level(False)), CHAT)
    yield "flags", tokenizer(vocab, merges, byte_level(), FLAGS, normalizer={"type": "NFC"})
    yield "roberta", tokenizer(vocab, merges, byte_level(prefix=True), CHAT,
                               post={"type": "RobertaProcessing", "sep": ["<|end|>", n + 1], "cls": ["<|begin|>", n],
                                     "trim_offsets": True, "add_prefix_space": True})
    yield "falcon", tokenizer(vocab, merges, sequence({"type": "Punctuation", "behavior": "Contiguous"}, byte_level(),
                                                      {"type": "Digits", "individual_digits": False},
                                                      split("[0-9][0-9][0-9]")))
    yield "deepseek", tokenizer(vocab, merges, sequence(split("[\r\n]"), split("\\s?\\p{L}+"), split("\\s?\\p{P}+"),
                                                        split("[一-龥ࠀ-一가-퟿]+"), {"type": "Digits", "individual_digits": True},
                                                        byte_level(False)))
    yield "behaviours", tokenizer(vocab, merges, sequence(
        split(",", "MergedWithPrevious", kind="String"), split("[<(]", "MergedWithNext"), split("[!?.]", "Contiguous"),
        split(r"\S+", "Removed", True), {"type": "Punctuation", "behavior": "Isolated"}, byte_level(False)))
    # Without some bytes, and with merges that come in no order that follows from the tokens.
    some = {t: i for i, t in enumerate(x for x in vocab if x not in "xyzqXYZ~\u0122\u0123" or len(x) > 1)}
    kept = [m for m in merges if m[0] in some and m[1] in some and m[0] + m[1] in some]
    odd = kept[::2] + [m for m in all_splits(some, kept, lambda x: x) if m not in kept][::3] + kept[1::2]
    yield "odd", tokenizer(some, odd, byte_level())
    # Ties: a few tokens of two letters, made in every way, in both orders in use, and in ways of which some
    # are missing, in order and out of order.
    small = {t: i for i, t in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for token in ("aa", "ba", "aaa", "ab", "aab", "aaaa", "baa", "abaa", "aaba", "aaaaa", "aabaa", "\u0120a", "\u0120aa"):
        small[token] = len(small)
    by_id = all_splits(small, [(t, "") for t in small if len(t) > 1], lambda x: (small[x[0]], small[x[1]]))
    by_length = all_splits(small, [(t, "") for t in small if len(t) > 1], lambda x: -len(x[0]))
    shuffled = list(by_id)
    random.Random(3).shuffle(shuffled)
    yield "ties-id", tokenizer(small, by_id, byte_level())
    yield "ties-length", tokenizer(small, by_length, byte_level())
    yield "ties-partial", tokenizer(small, [m for i, m in enumerate(by_id) if i % 4 != 1], byte_level())
    yield "ties-shuffled", tokenizer(small, shuffled, byte_level())

    yield "nfkc", tokenizer(vocab, merges, byte_level(), CHAT, normalizer={
        "type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]})
    yield "nfkd", tokenizer(vocab, merges, byte_level(), CHAT + (("<É>", "n"),), normalizer={
        "type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "StripAccents"}]})

    words = train_words()
    bert = {"type": "BertPreTokenizer"}
    post = {"type": "BertProcessing", "sep": ["[SEP]", words["[SEP]"]], "cls": ["[CLS]", words["[CLS]"]]}
    pieces = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    yield "bert", wordpiece(words, bert_normalizer(), bert, post, pieces)
    yield "bert-cased", wordpiece(words, bert_normalizer(clean=False, strip=True, lower=False), bert, post,
                                  dict(pieces, cleanup=False), (("<tool>", ""), ("xyzzy", "wn")))
    yield "wordpiece", wordpiece(words, {"type": "NFD"}, {"type": "WhitespaceSplit"}, None, pieces,
                                 max_input_chars_per_word=12)

    pieces = train_pieces()
    table = {"\t": " ", "\n": " ", "\r": " ", "\u3000": " ", "\u00a0": " ", "É": "E", "e\u0301": "é", "ﬁ": "fi", "½": "1/2",
             "…": "...", "\u200d": "", "Å": "Å", "日本": "ni"}
    always = {"type": "Metaspace", "replacement": META, "prepend_scheme": "always", "split": True}
    normal = {"type": "Precompiled", "precompiled_charsmap": charsmap(table)}
    yield "unigram", unigram(pieces, normal, sequence({"type": "WhitespaceSplit"}, always), always,
                             template(("<s>", 0), ("</s>", 1)))
    yield "unigram-strip", unigram(pieces, {"type": "Sequence", "normalizers": [
        normal, {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": META}]}, always, always)
    # Scores of 32 bits, as published files have them: sums are equal but for how the reference reads them.
    r, few = random.Random(30), [("<s>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    for text in (META, META + "a", "a", "aaa", "aaaa", "b", "ab", "aab", META * 3, ".", "...", "....", "=", "!", "!!"):
        few.append((text, struct.unpack("<f", struct.pack("<f", -5 - 5 * r.random() - len(text) / 2))[0]))
    yield "unigram-read", unigram(few, None, dict(always, split=False), always)
    # As SentencePieceUnigramTokenizer of tokenizers has it; and all white space as single spaces.
    with open(os.path.join(OUT, "unigram.json"), encoding="utf-8") as f:
        short = [p for p in json.load(f)["model"]["vocab"] if len(p[0]) < 3 or p[1] == 0]
    spaces = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    yield "unigram-nmt", unigram(short, {"type": "Sequence", "normalizers": [{"type": "Nmt"}, {"type": "NFKC"}, spaces]}, always, always)
    yield "unigram-white", unigram(short, {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, dict(spaces, pattern={"Regex": r"\s+"}), {"type": "Lowercase"}]}, dict(always, prepend_scheme="never"), always)
    yield "unigram-bytes", unigram(pieces + [(f"<0x{b:02X}>", 0.0) for b in range(256)], None, dict(always, split=False),
                                   {"type": "Sequence", "decoders": META_DECODER + [
                                       {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}, byte_fallback=True)

    chars, merges = train(False)
    for token in [f"<0x{b:02X}>" for b in range(256)]:
        chars[token] = len(chars)
    chars["<unk>"] = len(chars)
    runs = []  # as in vocabularies of code: runs of line ends and of spaces, longest first
    for sign in ("\n", META):
        if sign not in chars:
            chars[sign] = len(chars)
        for k in range(2, 9):
            chars.setdefault(sign * k, len(chars))
    for k in range(8, 1, -1):
        for sign in ("\n", META):
            runs += [(sign * (k - i), sign * i) for i in range(1, k)]
    ids = all_splits(chars, merges, lambda x: (chars[x[0]], chars[x[1]]))
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    prepend = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": META}, REPLACE]}
    fallback = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
    yield "mistral", tokenizer(chars, ids, None, CHAT + (("<both>", "lrn"), ("<left>", "ln")), normalizer=prepend,
                               decoder={"type": "Sequence", "decoders": META_DECODER + [strip]},
                               post=template(("<|begin|>", len(chars))), **fallback)
    lengths = runs + [m for m in all_splits(chars, merges, lambda x: -len(x[0])) if m not in runs]
    yield "gemma", tokenizer(chars, lengths, split(" ", "MergedWithPrevious", kind="String"),
                             (("\n\n", ""), ("\t", ""), ("<|begin|>", "s"), ("<|end|>", "s"), ("\n\n\n\n", "")),
                             normalizer=REPLACE, decoder={"type": "Sequence", "decoders": META_DECODER},
                             post=template(("<|begin|>", len(chars) + 1)), **fallback)
    meta = {"type": "Metaspace", "replacement": META, "prepend_scheme": "first", "split": True}
    yield "metaspace", tokenizer(chars, merges, meta, CHAT, decoder=dict(meta, split=False), unk_token="<unk>")
    always = sequence(dict(meta, prepend_scheme="always", split=False), split("[\u4e00-\u4e30é]"))
    yield "always", tokenizer(chars, merges, always, CHAT + (("<both>", "lrn"),),
                              decoder=dict(meta, prepend_scheme="always", split=False), unk_token="<unk>", fuse_unk=True)


# -------------------------------------------------------------------------------- expected --

def fnv(text):
    h = 0x811C9DC5
    for byte in text.encode():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def record(ids, decode):
    return (struct.pack(f"<H{len(ids)}H", len(ids), *ids) +
            struct.pack("<II", fnv(decode(ids, True)), fnv(decode(ids, False))))


def write(name, encode, decode, n_vocab, whole_only):
    r = random.Random(name)
    out = b"".join(record(encode(c.decode("utf-8", "replace")), decode) for c in cases())
    # Any ids, so broken characters too; not where the reference gives up whole runs of byte tokens.
    sequences = [] if whole_only else [[r.randrange(n_vocab) for _ in range(r.randint(1, 12))] for _ in range(60)]
    out += struct.pack("<H", len(sequences)) + b"".join(record(s, decode) for s in sequences)
    with open(os.path.join(OUT, name + ".expected"), "wb") as f:
        f.write(out)


def tok512():
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as proto
    raw, at, model = open(TOK512, "rb").read(), 4, proto.ModelProto()
    kinds = {0: 2, 1: 3, 2: 3}
    for i in range(512):
        score, n = struct.unpack_from("<fi", raw, at)
        text = raw[at + 8:at + 8 + n].decode()
        at += 8 + n
        piece = model.pieces.add()
        piece.piece = ["<unk>", "<s>", "</s>"][i] if i < 3 else text if i < 259 else text.replace(" ", META)
        piece.score = score
        piece.type = kinds.get(i, 6 if i < 259 else 1)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.vocab_size, trainer.byte_fallback = 2, 512, True
    trainer.unk_id, trainer.bos_id, trainer.eos_id, trainer.pad_id = 0, 1, 2, -1
    normalizer.name, normalizer.add_dummy_prefix = "identity", True
    normalizer.remove_extra_whitespaces, normalizer.escape_whitespaces = False, True
    with open(os.path.join(OUT, "tok512.model"), "wb") as f:
        f.write(model.SerializeToString())
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())

    # It never shows control tokens, so the two hashes are equal.
    def decode(ids, _):
        return sp.decode([i for i in ids if i > 2])

    write("tok512", lambda text: [1] + sp.encode(text), decode, 512, True)


def check_reading(texts):
    """Somewhere the way in which the reference reads the scores of unigram-read.json must decide."""
    path = os.path.join(OUT, "unigram-read.json")
    read, exact = Tokenizer.from_file(path), Tokenizer.from_file(path)
    model = json.load(open(path, encoding="utf-8"))["model"]
    exact.model = models.Unigram([tuple(p) for p in model["vocab"]], unk_id=model["unk_id"])
    texts = [t.decode("utf-8", "replace") for t in texts]
    assert any(read.encode(t).ids != exact.encode(t).ids for t in texts), "scores read exactly give the same"


def main():
    os.makedirs(OUT, exist_ok=True)
    texts = cases()
    with open(os.path.join(OUT, "cases.bin"), "wb") as f:
        f.write(struct.pack("<I", len(texts)) + b"".join(struct.pack("<I", len(t)) + t for t in texts))
    words = None
    for name, description in tokenizers():
        words = description["model"]["vocab"] if name == "bert" else words
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        path = os.path.join(OUT, name + ".json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(description, f, ensure_ascii=False, separators=(",", ":"))
        reference = Tokenizer.from_file(path)
        whole_only = description["model"].get("byte_fallback", False)
        write(name, lambda text: reference.encode(text).ids,
              lambda ids, skip: reference.decode(ids, skip_special_tokens=skip), reference.get_vocab_size(), whole_only)
        print(name, reference.get_vocab_size())
    ties = [open(os.path.join(OUT, f"ties-{x}.expected"), "rb").read() for x in ("id", "length", "partial", "shuffled")]
    assert len(set(ties)) == 4, "the orders must differ"
    check_reading(texts)
    if sys.argv[1:]:
        return
    with open(os.path.join(OUT, "bert.vocab.txt"), "w", encoding="utf-8") as f:
        f.write("".join(t + "\n" for t in words))
    tok512()


if __name__ == "__main__":
    main()
