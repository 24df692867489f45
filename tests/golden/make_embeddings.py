#!/usr/bin/env python3
"""Make tests/data/embeddings/: tiny random models that read text, with tokenizers, and what they make of texts.

    pip install torch transformers safetensors tokenizers && python3 tests/golden/make_embeddings.py [NAME...]

A folder is laid out as published ones are: config.json, model.safetensors, tokenizer.json, what
sentence-transformers puts beside them. The tokenizers are real ones, trained on this repository's docs/ by Hugging
Face's library. texts.json lists texts, or pairs of them, and to how many tokens they are cut (0: not at
all), which the same library does ("longest_first"); vectors.f32 has a row of little-endian float32 for each, by PyTorch.
"""
import copy
import json
import math
import os
import shutil
import sys
import tempfile
import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from make_encoders import BERT, ROBERTA, random_weights

ROOT = Path(os.path.abspath(__file__)).parent.parent.parent
OUT = ROOT / "tests" / "data" / "embeddings"
VOCAB = 220

LONG = "A sliding window's pages are dropped as soon as no position that is still to come can see them, " * 3
TEXTS = [("Hello, world!", None, 0), ("", None, 0), ("Weights are MAPPED, not copied; caf\u00e9 na\u00efve \u4f60\u597d.", None, 0),
         (LONG, None, 16), (LONG, None, 3), ("short", None, 16), (LONG, None, 41)]
PAIRS = [("Who maps it?", "The library maps the file.", 0), ("Who maps it?", LONG, 24), (LONG, "Short one.", 24),
         (LONG, LONG, 24), (LONG, LONG, 25), (LONG, "A text of some twenty tokens, more than one half.", 30), ("", LONG, 20),
         ("Single", None, 0), (LONG, None, 12)]


def corpus():
    return [(ROOT / "docs" / name).read_text() for name in ("convert.md", "add-a-family.md")]


def wordpiece(lower):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(corpus(), trainers.WordPieceTrainer(
        vocab_size=VOCAB, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], limit_alphabet=70))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def byte_level(specials, processor):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=VOCAB + 100, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processor
    return tokenizer


QWEN3 = {"model_type": "qwen3", "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 12, "hidden_act": "silu", "max_position_embeddings": 256, "rms_norm_eps": 2e-4,
         "rope_theta": 1000.0, "tie_word_embeddings": True, "attention_bias": False, "use_sliding_window": False,
         "sliding_window": None, "max_window_layers": 2}

# name: class, configuration, tokenizer, pooling, whether sentence-transformers lowers case, texts
CASES = {
    # A tokenizer with case, and a wrapper that lowers it first.
    "bert-mean": ("BertModel", {**BERT, "model_type": "bert"}, lambda: wordpiece(False), "mean", True, TEXTS),
    "bert-pairs": ("BertForSequenceClassification", {**BERT, "model_type": "bert", "id2label": {"0": "A"}, "label2id": {"A": 0}},
                   lambda: wordpiece(True), None, False, PAIRS),
    "roberta-pairs": ("XLMRobertaForSequenceClassification",
                      {**ROBERTA, "model_type": "xlm-roberta", "id2label": {"0": "A"}, "label2id": {"A": 0}},
                      lambda: byte_level(["<s>", "<pad>", "</s>", "<unk>"],
                                         processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)),
                      None, False, PAIRS),
    # Qwen3-Embedding: the last token's vector, which is that of an end that the tokenizer adds; names without a prefix.
    "qwen3-embedding": ("Qwen3ForCausalLM", QWEN3,
                        lambda: byte_level(["<|endoftext|>"], processors.TemplateProcessing(
                            single="$A <|endoftext|>", pair="$A $B <|endoftext|>", special_tokens=[("<|endoftext|>", 0)])),
                        "lasttoken", False, TEXTS),
    # A decoder's class with a score head.
    "qwen3-classifier": ("Qwen3ForSequenceClassification",
                         {**QWEN3, "pad_token_id": 1, "id2label": {"0": "A", "1": "B", "2": "C"}, "label2id": {"A": 0, "B": 1, "C": 2}},
                         lambda: byte_level(["<|endoftext|>", "<|pad|>"], processors.TemplateProcessing(
                             single="$A <|endoftext|>", pair="$A $B <|endoftext|>", special_tokens=[("<|endoftext|>", 0)])),
                         None, False, TEXTS),
    "qwen3-moe-classifier": ("Qwen3MoeForSequenceClassification",
                             {**QWEN3, "model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24,
                              "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": [],
                              "id2label": {"0": "A", "1": "B"}, "label2id": {"A": 0, "B": 1}},
                             lambda: byte_level(["<|endoftext|>"], processors.TemplateProcessing(
                                 single="$A <|endoftext|>", pair="$A $B <|endoftext|>", special_tokens=[("<|endoftext|>", 0)])),
                             None, False, TEXTS),
}


def write_sentence(folder, pooling, lower):
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (folder / "modules.json").write_text(json.dumps(
        [{"idx": i, "name": str(i), "path": path, "type": "sentence_transformers.models." + name}
         for i, (path, name) in enumerate(modules)], indent=1) + "\n")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(
        {"pooling_mode_" + mode: mode in (pooling, pooling + "_tokens")
         for mode in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")}, indent=1) + "\n")
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 50, "do_lower_case": lower}) + "\n")


def make(name):
    cls, config, tokenizer, pooling, lower, texts = CASES[name]
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    config = {**config, "architectures": [cls], "vocab_size": tokenizer.get_vocab_size()}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    kind = AutoModelForSequenceClassification if pooling is None else AutoModel
    model = kind.from_config(AutoConfig.for_model(**config), dtype=torch.float32, attn_implementation="eager").eval()
    tensors = random_weights(model, torch.Generator().manual_seed(zlib.crc32(name.encode())))
    for key in tensors:
        if key.endswith("embed_tokens.weight"):
            tensors[key] = (tensors[key].float() * 1.5 * math.sqrt(tensors[key].shape[-1])).to(torch.bfloat16)
    model.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
    if config["model_type"] == "qwen3_moe":  # transformers takes its experts apart again, as they are published
        with tempfile.TemporaryDirectory() as saved:
            copy.deepcopy(model).to(torch.bfloat16).save_pretrained(saved)
            shutil.copy(Path(saved) / "model.safetensors", folder)
    else:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    if pooling:
        write_sentence(folder, pooling, lower)
    rows = []
    for text, second, longest in texts:
        tokenizer.no_truncation()
        if longest:
            tokenizer.enable_truncation(longest, strategy="longest_first")
        text, second = (t and t.lower() if lower else t for t in (text, second))
        encoded = tokenizer.encode(text, second)
        assert not longest or len(encoded.ids) <= longest
        inputs = {"input_ids": torch.tensor([encoded.ids]), "attention_mask": torch.ones(1, len(encoded.ids), dtype=torch.long)}
        if config["model_type"] == "bert":
            inputs["token_type_ids"] = torch.tensor([encoded.type_ids])
        with torch.no_grad():
            out = model(**inputs)
        if pooling is None:
            rows.append(out.logits[0])
            continue
        hidden = out.last_hidden_state[0]
        rows.append(torch.nn.functional.normalize(hidden.mean(0) if pooling == "mean" else hidden[-1], dim=0))
    torch.stack(rows).numpy().astype("<f4").tofile(folder / "vectors.f32")
    (folder / "texts.json").write_text(json.dumps(texts, indent=0) + "\n")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print("%-18s %7d bytes, %d tokens, std %.3f" % (name, size, config["vocab_size"], torch.stack(rows).std()), flush=True)
    assert size < 200000


def main():
    torch.set_num_threads(1)
    for name in CASES:
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(name)


if __name__ == "__main__":
    main()
