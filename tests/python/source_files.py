"""Directories of tokenizers without tokenizer.json, put together from the small vocabularies of tests/data/tokenizers.

Used by golden/make_sources.py, which asks the reference what such directories make of texts, and by cli/test_sources.py,
which asks `slm tokenize`.
"""
import base64
import json

MARKS = "one <mask> two<mask>three <|endoftext|>x <s></s> <pad> <|im_start|>user\nHi<|im_end|> <tool> {} </tool><|mine|> <|pad|> end"
TEXTS = ["", " ", "Hello, world!", "it's IT'S don't we'll 12345 1234567", "  three   spaces  \n\n\t x\r\n \r\n",
         "naïve ｆｕｌｌ Å e\u0301 日本語 한국어 👩‍👩‍👧 \u0958", "<html>a && b</html>", MARKS,
         # Marks behind letters, which patterns with \\p{M} keep together with them.
         "\u0b05\u0d47\u0d88 \u1246\u09d7\u1479 \u0c09\u0cbe\u13a2 \u0907\u0945\u14e4x e\u0305\u0301!"]
PAIRS = [("the first", "and the second"), ("", "one"), ("Hello", "")]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def _mask(normalized):
    return {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "rstrip": False, "single_word": False,
            "normalized": normalized}


def _decoder(n):
    texts = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool>", "</tool>"]
    return {str(n + i): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                         "special": i < 3} for i, t in enumerate(texts)}


# name: (words added to the vocabulary, files beside vocab.json and merges.txt)
DIRECTORIES = {
    "gpt2-bare": ([], {"config": {"model_type": "gpt2"}}),
    "gpt2-prefix": ([], {"tokenizer_config": {"tokenizer_class": "GPT2TokenizerFast", "add_prefix_space": True,
                                              "add_bos_token": True}, "config": {"model_type": "gpt2"}}),
    "neox": ([], {"tokenizer_config": {"tokenizer_class": "GPTNeoXTokenizer"}, "config": {"model_type": "gpt_neox"},
                  "special_tokens_map": {"pad_token": "<|pad|>", "bos_token": "<|endoftext|>"},
                  "added_tokens": {"<|pad|>": "n"}}),
    "roberta": (ROBERTA, {"tokenizer_config": {"tokenizer_class": "RobertaTokenizer", "mask_token": _mask(True)},
                          "config": {"model_type": "roberta"}}),
    "roberta-map": (ROBERTA, {"special_tokens_map": {"bos_token": "<s>", "mask_token": _mask(False)},
                              "config": {"model_type": "roberta"}}),
    "opt": (ROBERTA, {"tokenizer_config": {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "bos_token": "</s>",
                                           "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "</s>"},
                      "config": {"model_type": "opt"}}),
    "qwen2": ([], {"tokenizer_config": {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "bos_token": None,
                                        "added_tokens_decoder": "decoder",
                                        "extra_special_tokens": ["<|im_start|>", "<|im_end|>", "<|mine|>"]},
                   "config": {"model_type": "qwen2"}}),
    "qwen3.5": ([], {"tokenizer_config": {"tokenizer_class": "Qwen3_5Tokenizer", "added_tokens_decoder": "decoder"},
                     "config": {"model_type": "qwen3_5_text"}}),
}
# Of tiktoken's kind: only what transformers reads, too.
RANKS = {
    "ranks": {"tokenizer_config": {"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": "decoder",
                                   "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}},
}


def _vocabulary(tokenizers):
    model = json.loads((tokenizers / "gpt2.json").read_text("utf-8"))["model"]
    # Special tokens of the file are no texts of a vocabulary that comes without them.
    return model["vocab"], [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]


def _write(folder, files, n):
    for name, content in files.items():
        content = json.loads(json.dumps(content))
        if name == "added_tokens":
            content = {k: n for k in content}
        if content.get("added_tokens_decoder") == "decoder":
            content["added_tokens_decoder"] = _decoder(n)
        (folder / f"{name}.json").write_text(json.dumps(content))


def _bytes_of():
    """GPT-2's printable alphabet, back to bytes."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in own]
    return {**{chr(b): b for b in own}, **{chr(256 + i): b for i, b in enumerate(rest)}}


def write_directory(tokenizers, name, folder):
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = _vocabulary(tokenizers)
    if name in RANKS:
        table = _bytes_of()
        # Ids in a row from 0, in the order of the merges: what a list of ranks is.
        texts = sorted(t for t in vocabulary if len(t) == 1)
        for merge in merges:
            made = merge.replace(" ", "")
            if made not in texts:
                texts.append(made)
        lines = [base64.b64encode(bytes(table[c] for c in t)) + b" %d\n" % i for i, t in enumerate(texts)]
        (folder / "tiktoken.model").write_bytes(b"".join(lines))
        _write(folder, RANKS[name], len(texts))
        return
    words, files = DIRECTORIES[name]
    vocabulary = dict(vocabulary)
    for word in words:
        vocabulary.setdefault(word, max(vocabulary.values()) + 1)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(m + "\n" for m in merges), "utf-8")
    _write(folder, files, max(vocabulary.values()) + 1)


def write_tekken(tokenizers, path):
    """A tekken.json of the same vocabulary; the pattern is that of the published ones."""
    table = _bytes_of()
    vocabulary, merges = _vocabulary(tokenizers)
    texts = sorted(t for t in vocabulary if len(t) == 1)
    texts.sort(key=lambda t: table[t])
    for merge in merges:
        made = merge.replace(" ", "")
        if made not in texts:
            texts.append(made)
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    pattern = (rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*|"
               r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    vocab = [{"rank": i, "token_bytes": base64.b64encode(bytes(table[c] for c in t)).decode(), "token_str": None}
             for i, t in enumerate(texts)]
    path.write_text(json.dumps({"config": {"pattern": pattern, "default_vocab_size": len(texts) + 10, "version": "v3",
                                           "num_vocab_tokens": len(texts), "default_num_special_tokens": 30}, "vocab": vocab}))
    return pattern, {bytes(table[c] for c in t): i for i, t in enumerate(texts)}, 30, len(texts) + 10


def _template(pair):
    """A post-processor that says what stands around two texts."""
    def item(word):
        name, type_id = word.split(":")
        key = "Sequence" if name in "AB" else "SpecialToken"
        return {key: {"id": name, "type_id": int(type_id)}}

    words = {"[CLS]": [2], "[SEP]": [3], "[MARKS]": [4, 3, 4]}
    return {"type": "TemplateProcessing", "single": [item("[CLS]:0"), item("A:0"), item("[SEP]:0")],
            "pair": [item(w) for w in pair.split()],
            "special_tokens": {k: {"id": k, "ids": v, "tokens": [k] * len(v)} for k, v in words.items()}}


# name: (tokenizer, what replaces its post-processor)
WITH_PAIRS = {
    "bert.json": ("bert", None),
    "roberta.json": ("roberta", None),
    "none.json": ("wordpiece", None),
    "types.json": ("bert", _template("[CLS]:0 A:0 [SEP]:0 B:1 [MARKS]:1")),
    "double.json": ("bert", _template("[CLS]:0 A:0 [SEP]:0 [SEP]:0 B:0 [SEP]:0")),
    "bare.json": ("bert", _template("A:0 [MARKS]:1 B:1")),
}


def pair_tokenizer(tokenizers, name):
    source, post = WITH_PAIRS[name]
    document = json.loads((tokenizers / f"{source}.json").read_text("utf-8"))
    document["post_processor"] = post or document["post_processor"]
    return json.dumps(document)
