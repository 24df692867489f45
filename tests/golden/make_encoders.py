#!/usr/bin/env python3
"""Make tests/data/encoders/: tiny random encoders of every family, and their vectors by PyTorch.

    pip install torch transformers safetensors gguf && python3 tests/golden/make_encoders.py LLAMA_CPP_FOLDER [NAME...]

A folder has config.json and model.safetensors as published models have them, for some what
sentence-transformers puts beside them, for some a model.gguf that llama.cpp's converter made; texts.txt:
a line for each text, the number of tokens that belong to the first of two texts (0: it is one), then token
ids; vectors.f32: little-endian float32, a row for each text, what becomes of it (scores where the model
has a head for them); vectors.q8.f32: the same with quantized weights and activations (quantized.py).

Weights are random and exact in bfloat16, scaled so that every part matters.
"""
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
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from quantized import q8, quantize

OUT = Path(os.path.abspath(__file__)).parent.parent / "data" / "encoders"
LENGTHS = (48, 1, 5, 17, 33, 30)
FIRST = {4: 14, 5: 3}  # of these texts: tokens of the first of two

BERT = {"hidden_size": 40, "num_hidden_layers": 2, "num_attention_heads": 5, "intermediate_size": 52, "vocab_size": 97,
        "max_position_embeddings": 60, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 2e-4,
        "pad_token_id": 0, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
ROBERTA = {**BERT, "hidden_size": 36, "num_attention_heads": 3, "max_position_embeddings": 62, "type_vocab_size": 1,
           "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
DISTILBERT = {"dim": 40, "n_layers": 2, "n_heads": 4, "hidden_dim": 44, "vocab_size": 83, "max_position_embeddings": 50,
              "activation": "gelu", "sinusoidal_pos_embds": False, "dropout": 0.0, "attention_dropout": 0.0,
              "model_type": "distilbert", "pad_token_id": 0}
MODERNBERT = {"hidden_size": 36, "num_hidden_layers": 4, "num_attention_heads": 3, "intermediate_size": 26, "vocab_size": 71,
              "max_position_embeddings": 64, "hidden_activation": "gelu", "norm_eps": 2e-4, "norm_bias": False,
              "attention_bias": False, "mlp_bias": False, "global_attn_every_n_layers": 3, "local_attention": 12,
              "global_rope_theta": 400.0, "local_rope_theta": 30.0, "embedding_dropout": 0.0, "mlp_dropout": 0.0,
              "attention_dropout": 0.0, "classifier_dropout": 0.0, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
              "cls_token_id": 1, "sep_token_id": 2, "model_type": "modernbert", "reference_compile": False}
NOMIC = {"n_embd": 40, "n_layer": 2, "n_head": 4, "n_inner": 56, "vocab_size": 79, "n_positions": 8192,
         "max_trained_positions": 2048, "type_vocab_size": 2, "activation_function": "swiglu", "layer_norm_epsilon": 2e-4,
         "prenorm": False, "rotary_emb_base": 500, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
         "rotary_emb_scale_base": None, "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False,
         "causal": False, "model_type": "nomic_bert", "pad_token_id": 0}
# Its published names and those of transformers.
NOMIC_KEYS = {"n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads",
              "n_inner": "intermediate_size", "layer_norm_epsilon": "layer_norm_eps"}
NOMIC_NAMES = (("embeddings.LayerNorm", "emb_ln"), ("layers", "encoder.layers"), ("self_attn.o_proj", "attn.out_proj"),
               ("up_proj", "fc11"), ("gate_proj", "fc12"), ("down_proj", "fc2"),
               ("post_attention_layernorm", "norm1"), ("post_mlp_layernorm", "norm2"))

# name: class, configuration, pooling, unit length
CASES = {
    "bert": ("BertModel", {**BERT, "model_type": "bert"}, "mean", True),
    "bert-cls": ("BertForMaskedLM", {**BERT, "model_type": "bert", "hidden_act": "gelu_new"}, "cls", False),
    "bert-reranker": ("BertForSequenceClassification",
                      {**BERT, "model_type": "bert", "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}, None, False),
    "roberta": ("RobertaModel", {**ROBERTA, "model_type": "roberta"}, "mean", True),
    "xlm-roberta-reranker": ("XLMRobertaForSequenceClassification",
                             {**ROBERTA, "model_type": "xlm-roberta", "id2label": {"0": "A"}, "label2id": {"A": 0}},
                             None, False),
    "distilbert": ("DistilBertModel", DISTILBERT, "mean", False),
    "distilbert-classifier": ("DistilBertForSequenceClassification",
                              {**DISTILBERT, "id2label": {"0": "A", "1": "B", "2": "C"},
                               "label2id": {"A": 0, "B": 1, "C": 2}}, None, False),
    "modernbert": ("ModernBertModel", MODERNBERT, "cls", True),
    "modernbert-reranker": ("ModernBertForSequenceClassification",
                            {**MODERNBERT, "norm_bias": True, "attention_bias": True, "mlp_bias": True,
                             "classifier_bias": True, "classifier_pooling": "mean", "classifier_activation": "gelu",
                             "id2label": {"0": "A"}, "label2id": {"A": 0}}, None, False),
    "nomic-bert": ("NomicBertModel", NOMIC, "mean", True),
}
# Whose GGUF would not say the same.
NO_GGUF = {
    "bert-cls": "llama.cpp computes GELU with erf, whatever the key",
    "distilbert": "its vectors keep their length, which GGUF can not say",
    "bert-reranker": "llama.cpp's converter leaves out the pooler that the score is made of",
    "distilbert-classifier": "GGUF has no key for the activation of the score head",
}


def std_of(name, shape):
    if "embeddings" in name:
        return 0.5 if "word" in name or "tok_" in name else 0.3
    if any(part in name for part in ("query", "key", "q_lin", "k_lin", "Wqkv", "q_proj", "k_proj")):
        return 1.3 / math.sqrt(shape[-1])
    return 1 / math.sqrt(shape[-1])


def is_norm(name):
    return "norm" in name.lower()


def random_weights(model, generator):
    tensors, tied = {}, set(model.all_tied_weights_keys)
    for name, parameter in model.named_parameters():
        if name in tied:
            continue
        value = torch.randn(parameter.shape, generator=generator)
        if is_norm(name) and name.endswith("weight"):
            value = 1 + 0.3 * value
        elif name.endswith("bias"):
            value = 0.2 * value
        else:
            value = std_of(name, parameter.shape) * value
        tensors[name] = value.to(torch.bfloat16)
    return tensors


def published(tensors, config):
    if config["model_type"] != "nomic_bert":
        return tensors
    out = {}
    for name, value in tensors.items():
        for ours, theirs in NOMIC_NAMES:
            name = name.replace(ours, theirs, 1)
        out[name] = value
    for i in range(config["n_layer"]):
        parts = [out.pop("encoder.layers.%d.self_attn.%s_proj.weight" % (i, p)) for p in "qkv"]
        out["encoder.layers.%d.attn.Wqkv.weight" % i] = torch.cat(parts)
    return out


def known(config):
    """The configuration as transformers knows it."""
    if config["model_type"] != "nomic_bert":
        return AutoConfig.for_model(**config)
    config = {NOMIC_KEYS.get(k, k): v for k, v in config.items()}
    return AutoConfig.for_model("nomic_bert", rope_parameters={"rope_type": "default", "rope_theta": config["rotary_emb_base"]},
                                hidden_act="silu", **{k: config[k] for k in (*NOMIC_KEYS.values(), "vocab_size",
                                                                              "type_vocab_size", "pad_token_id")})


def make_model(cls, config):
    config = known(config)
    kind = AutoModelForSequenceClassification if "Classification" in cls else AutoModel
    return kind.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()


def vectors_of(model, texts, pooling, unit):
    rows = []
    typed = getattr(model.config, "type_vocab_size", 0) > 1 and model.config.model_type != "distilbert"
    for first, ids in texts:
        inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        if typed:
            inputs["token_type_ids"] = torch.tensor([[int(first > 0 and i >= first) for i in range(len(ids))]])
        with torch.no_grad():
            out = model(**inputs)
        if pooling is None:
            rows.append(out.logits[0])
            continue
        hidden = out.last_hidden_state[0]
        row = hidden.mean(0) if pooling == "mean" else hidden[0]
        rows.append(torch.nn.functional.normalize(row, dim=0) if unit else row)
    return torch.stack(rows)


def write_sentence(folder, pooling, unit):
    """As sentence-transformers lays a model out."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")] + ([("2_Normalize", "Normalize")] if unit else [])
    (folder / "modules.json").write_text(json.dumps(
        [{"idx": i, "name": str(i), "path": path, "type": "sentence_transformers.models." + name}
         for i, (path, name) in enumerate(modules)], indent=1) + "\n")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(
        {"word_embedding_dimension": 40, "pooling_mode_cls_token": pooling == "cls",
         "pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_max_tokens": False,
         "pooling_mode_mean_sqrt_len_tokens": False}, indent=1) + "\n")


def make(name, llama_cpp):
    cls, config, pooling, unit = CASES[name]
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = {**config, "architectures": [cls]}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    model = make_model(cls, config)
    tensors = random_weights(model, generator)
    model.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
    model.tie_weights()
    if cls == "BertForMaskedLM": # what it has beside the encoder is to be left out
        tensors = {"bert." + k: v for k, v in tensors.items() if "pooler" not in k}
        tensors["cls.predictions.bias"] = torch.zeros(7, dtype=torch.bfloat16)
    save_file(published(tensors, config), folder / "model.safetensors", metadata={"format": "pt"})
    vocab = config["vocab_size"]
    texts = [(FIRST.get(i, 0), torch.randint(3, vocab, (n,), generator=generator).tolist())
             for i, n in enumerate(LENGTHS)]
    with open(folder / "texts.txt", "w", newline="\n") as out:
        out.writelines(" ".join(map(str, [first, *ids])) + "\n" for first, ids in texts)
    if pooling and name != "bert-cls" and name != "distilbert":
        write_sentence(folder, pooling, unit)
    if name == "bert-cls": # pooling alone
        write_sentence(folder, pooling, unit)
        (folder / "modules.json").unlink()

    vectors = vectors_of(model, texts, pooling, unit)
    vectors.numpy().astype("<f4").tofile(folder / "vectors.f32")
    body = model if pooling else getattr(model, model.base_model_prefix)
    pooler = getattr(body, "pooler", None)
    if pooler is not None:
        body.pooler = None
    quantize(body, q8)
    if pooler is not None:
        body.pooler = pooler
    quantized = vectors_of(model, texts, pooling, unit)
    quantized.numpy().astype("<f4").tofile(folder / "vectors.q8.f32")
    if name not in NO_GGUF:
        make_gguf(folder, llama_cpp)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print("%-22s %7d bytes, std %.3f, q8 off by %.3f" % (name, size, vectors.std(), (vectors - quantized).abs().max()),
          flush=True)
    assert size < 200000
    return size


def make_gguf(folder, llama_cpp):
    """llama.cpp's conversion, beside a tokenizer that has as many tokens as the model."""
    sys.path[:0] = [os.path.join(llama_cpp, "gguf-py"), llama_cpp]
    import gguf
    from conversion import get_model_class
    with tempfile.TemporaryDirectory() as copy:
        copy = Path(copy) / "model"
        shutil.copytree(folder, copy)
        config = json.loads((folder / "config.json").read_text())
        vocab = {"<%d>" % i: i for i in range(config["vocab_size"])}
        (copy / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab, "type": "WordPiece"}, "added_tokens": []}))
        base = get_model_class(config["architectures"][0])
        converter = type("Converter", (base,), {
            "model_arch": base.model_arch, "set_vocab": lambda self: None})
        # Published configurations of nomic-bert have names that newer transformers do not read.
        hparams = config if "n_inner" in config else {**base.load_hparams(copy, False), **config}
        if config["model_type"] == "xlm-roberta": # its own class wants a real tokenizer
            hparams["max_position_embeddings"] -= 2
            converter._position_offset = 2
            converter.__init__ = lambda self, *a, **k: super(base, self).__init__(*a, **k)
        converter(copy, gguf.LlamaFileType.MOSTLY_BF16, folder / "model.gguf", eager=True, hparams=hparams).write()


def main():
    torch.set_num_threads(1)
    llama_cpp, wanted = sys.argv[1], sys.argv[2:]
    total = sum(make(name, llama_cpp) for name in CASES if not wanted or name in wanted)
    print("%d bytes" % total)


if __name__ == "__main__":
    main()
