#!/usr/bin/env python3
"""Make the SentencePiece Unigram models of tests/data/tokenizers, and what sentencepiece makes of texts.

    pip install tokenizers sentencepiece gguf && python3 tests/golden/make_unigrams.py

sp-map.model      trained on the sentences of make_tokenizers.py, with a small table of characters, symbols that the
                  user defined (inside words, across the table, one inside the other), and some unused pieces.
sp-bytes.model    byte fallback, spaces kept, no table.
sp-ties.model     a few pieces of three letters whose scores give many equal sums, and so large that they pass
                  the 100,000 at which sentencepiece starts its sums of 32 bits again; its texts are in sp-ties.bin.
t5.gguf           the pieces of sp-map.model without the user's symbols, as the keys tokenizer.ggml.* of a T5 model.
NAME.expected     as make_tokenizers.py writes it, by sentencepiece. For decoding, control and unknown tokens are left
                  out, which libslm does not show and sentencepiece writes in ways of its own.
"""
import io
import os
import random
import struct

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto

import make_tokenizers
from make_tokenizers import META, OUT, corpus, write

USER = ["ther", "the", "ＡＢ", "ﬁ", "\n", "<tool>", "ea", META + "w", "wa" + META]
TABLE = {"\t": " ", "\r": " ", "\u3000": " ", "\u00a0": " ", "ﬁ": "fi", "½": "1/2", "…": "...", "\u200d": "", "\x01": "",
         "Ａ": "A", "Ｂ": "B", "\u212b": "\u00c5", "e\u0301": "é", "a\u0301": "á", "日本": "ni", "\n": " ", "\x7f": ""}


def train(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=model, model_type="unigram", num_threads=1, minloglevel=2,
        hard_vocab_limit=False, character_coverage=0.999, **options)
    m = proto.ModelProto()
    m.ParseFromString(model.getvalue())
    m.ClearField("denormalizer_spec")
    m.trainer_spec.CopyFrom(proto.TrainerSpec(
        model_type=1, vocab_size=len(m.pieces), unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
        byte_fallback=options.get("byte_fallback", False)))
    return m


def define(m, symbols):
    """User-defined symbols, only now: the trainer would learn no piece that overlaps one."""
    for text in symbols:
        piece = next((p for p in m.pieces if p.piece == text), None) or m.pieces.add(piece=text)
        piece.type, piece.score = 4, 0
    m.trainer_spec.vocab_size = len(m.pieces)
    return m


def table_file():
    path = os.path.join(OUT, "..", "table.tsv")
    with open(path, "w") as f:
        for a, b in TABLE.items():
            f.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
    return path


def mapped():
    path = table_file()
    m = train(vocab_size=640, normalization_rule_tsv=path)
    os.remove(path)
    for i, piece in enumerate(m.pieces):
        if piece.type == 1 and i % 23 == 0:
            piece.type = 5  # unused
    return define(m, USER)


def ties():
    """Every way to write up to four of "abc" costs a multiple of 0.1 times its length, more or less."""
    m = proto.ModelProto()
    r = random.Random(5)
    words = ["a", "b", "c", "aa", "ab", "ba", "bb", "cc", "aab", "aba", "bab", "ca", "bcab", "aaaa", "abab", META, META + "a", META + "ab"]
    for text, kind in [("<unk>", 2), ("<s>", 3), ("</s>", 3)] + [(w, 1) for w in words] + [("bc", 4), ("cab", 4)]:
        length = len(text) + (text == META)
        m.pieces.add(piece=text, type=kind, score=0 if kind != 1 else -1100.1 * length + r.choice([0, 0, 0.1, -0.1]))
    m.trainer_spec.CopyFrom(proto.TrainerSpec(model_type=1, vocab_size=len(m.pieces), unk_id=0, bos_id=1, eos_id=2, pad_id=-1))
    m.normalizer_spec.CopyFrom(proto.NormalizerSpec(name="identity", add_dummy_prefix=True, remove_extra_whitespaces=False, escape_whitespaces=True))
    return m


def tie_cases():
    r = random.Random(6)
    return ["".join(r.choice("aaabbc ") for _ in range(r.choice([3, 8, 20, 60]))).encode() for _ in range(300)] + [
        "".join(r.choice("aaabbc ") for _ in range(3000)).encode(), b"a" * 2000, b"d" * 300, b"abcab" * 400]


def expect(name, model, bos, eos=()):
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    silent = [i for i, piece in enumerate(model.pieces) if piece.type in (2, 3)]
    write(name, lambda text: [*bos, *sp.encode(text), *eos], lambda ids, _: sp.decode([i for i in ids if i not in silent]),
          len(model.pieces), False)
    print(name, len(model.pieces))


def save(name, model):
    with open(os.path.join(OUT, name + ".model"), "wb") as f:
        f.write(model.SerializeToString())
    expect(name, model, [1])


def save_gguf(model):
    """What convert_hf_to_gguf.py writes for a T5 model; llama.cpp adds EOS to its texts and no BOS."""
    w = gguf.GGUFWriter(os.path.join(OUT, "t5.gguf"), "t5")
    w.add_tokenizer_model("t5")
    w.add_tokenizer_pre("default")
    w.add_token_list([p.piece.encode() for p in model.pieces])
    w.add_token_scores([p.score for p in model.pieces])
    w.add_token_types([p.type for p in model.pieces])
    w.add_add_space_prefix(model.normalizer_spec.add_dummy_prefix)
    w.add_remove_extra_whitespaces(model.normalizer_spec.remove_extra_whitespaces)
    w.add_precompiled_charsmap(model.normalizer_spec.precompiled_charsmap)
    w.add_unk_token_id(0)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_add_bos_token(False)
    w.add_add_eos_token(True)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    expect("t5", model, [], [2])


def main():
    model = mapped()
    save("sp-map", model)
    save("sp-bytes", define(train(vocab_size=860, byte_fallback=True, normalization_rule_name="identity",
                                  remove_extra_whitespaces=False), ["ing", "\n\n", META + META, "o", "er"]))
    for piece in model.pieces:
        if piece.type == 4:
            piece.type = 1
            piece.score = -9.5
        piece.score = round(piece.score * 4) / 4  # sums of any width are the same
    save_gguf(model)
    texts = tie_cases()
    with open(os.path.join(OUT, "sp-ties.bin"), "wb") as f:
        f.write(struct.pack("<I", len(texts)) + b"".join(struct.pack("<I", len(t)) + t for t in texts))
    make_tokenizers.cases = tie_cases
    save("sp-ties", ties())


if __name__ == "__main__":
    main()
