#!/usr/bin/env python3
"""Make tests/data/tokenizers/sources.json: what transformers and tiktoken make of texts with tokenizers that have no
tokenizer.json, and of pairs of texts with those that have one.

    pip install transformers tiktoken && python3 tests/golden/make_sources.py

The directories are those of tests/python/source_files.py. For each of them: the ids of every text without and with special
tokens, and the ids and token types of every pair; null where the reference gives no pair.
"""
import json
import pathlib
import sys
import tempfile

import tiktoken
from tokenizers import Tokenizer
from transformers import AddedToken, AutoTokenizer, Qwen3_5Tokenizer

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))
import source_files as sources  # noqa: E402

TOKENIZERS = HERE.parent / "data" / "tokenizers"


def pairs_of(tokenizer):
    out = []
    for a, b in sources.PAIRS:
        e = tokenizer.encode(a, b)
        out.append([e.ids, e.type_ids])
    return out


def load(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not isinstance(tokenizer, Qwen3_5Tokenizer):
        return tokenizer
    # This class does not say which files are its own, so that its vocabulary would be empty.
    config = json.loads((folder / "tokenizer_config.json").read_text())
    added = {int(i): AddedToken(t.pop("content"), **t) for i, t in config["added_tokens_decoder"].items()}
    merges = (folder / "merges.txt").read_text("utf-8").split("\n")[1:-1]
    return Qwen3_5Tokenizer(vocab=json.loads((folder / "vocab.json").read_text()), added_tokens_decoder=added,
                            merges=[tuple(m.split(" ")) for m in merges])


def main():
    result = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for name in [*sources.DIRECTORIES, *sources.RANKS]:
            sources.write_directory(TOKENIZERS, name, folder / name)
            t = load(folder / name)
            result[name] = {"ids": [[t(x, add_special_tokens=s)["input_ids"] for s in (False, True)] for x in sources.TEXTS],
                            "pairs": pairs_of(t.backend_tokenizer) if "roberta" in name else None}
        pattern, ranks, n_special, n_vocab = sources.write_tekken(TOKENIZERS, folder / "tekken.json")
        kept = {t: i for t, i in ranks.items() if i < n_vocab - n_special}
        encoding = tiktoken.Encoding("tekken", pat_str=pattern, mergeable_ranks=kept, special_tokens={})
        ids = [[i + n_special for i in encoding.encode(x, disallowed_special=())] for x in sources.TEXTS]
        result["tekken"] = {"ids": [[i, [1] + i] for i in ids], "pairs": None}
    for name in sources.WITH_PAIRS:
        t = Tokenizer.from_str(sources.pair_tokenizer(TOKENIZERS, name))
        result[name] = {"ids": [], "pairs": pairs_of(t)}
    text = json.dumps(result, separators=(",", ":")).replace('],"', '],\n"').replace('},"', '},\n"')
    (TOKENIZERS / "sources.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
