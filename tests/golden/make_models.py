#!/usr/bin/env python3
"""Make tests/data/golden/: tiny random models of every supported shape, and their logits by PyTorch.

    pip install torch transformers safetensors && python3 tests/golden/make_models.py [NAME...]

A folder has config.json as published models have it (transformers 4 or 5 spelling), weights, ids.txt
(a text of random tokens, one a line), and logits.f32: little-endian float32, rows of vocab_size, for
the last positions of the text; logits.q8.f32 has the first rows with quantized weights and activations
(quantized.py). The reference reads back the very files that lie there, computes in
float32 with eager attention, and shares no code with this project.

The weights are random, but scaled so that every part matters: scores of attention and logits have a
standard deviation of 1 to 2, attention and feed-forward add as much as the embedding holds, norms
and biases are far from 1 and 0.

Dynamic NTK is computed token by token with a cache, so that the length at a position is position + 1:
transformers lets the rotation of a prompt's first token depend on how long the prompt is.

The model.gguf that some folders have is made from the rest by make_gguf.py: run that afterwards.
"""
import json
import math
import os
import shutil
import sys
import zlib

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from quantized import certain_rows, q8, quantize

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "golden")
TARGET_STD = 1.5  # of the logits
N_QUANTIZED = 6  # rows
LIMIT = 0.09  # margins beyond which 8 bits may not change the first choice

LLAMA, MISTRAL, QWEN2 = "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"


def case(name, cls, layers, dim, heads, kv, ffn, vocab, head_dim=None, old=True, theta=10000.0, rope=None, eps=1e-5,
         context=64, tied=False, n=48, rows=None, storage="bfloat16", shards=1, extra=None, copies=()):
    """One model. rope: the members of rope_scaling (old) or rope_parameters. copies: further tensors
    that published files have although nobody needs them."""
    config = {
        "architectures": [cls],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": dim,
        "initializer_range": 0.02,
        "intermediate_size": ffn,
        "max_position_embeddings": context,
        "model_type": {LLAMA: "llama", MISTRAL: "mistral", QWEN2: "qwen2"}[cls],
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": kv,
        "rms_norm_eps": eps,
        "tie_word_embeddings": tied,
        "use_cache": True,
        "vocab_size": vocab,
    }
    if head_dim:
        config["head_dim"] = head_dim
    if old:
        config["rope_theta"] = theta
        config["rope_scaling"] = rope
        config["torch_dtype"] = storage
        config["transformers_version"] = "4.40.0"
    else:
        config["rope_parameters"] = dict(rope or {"rope_type": "default"}, rope_theta=theta)
        config["dtype"] = storage
        config["transformers_version"] = "5.0.0"
    config.update(extra or {})
    return {"name": name, "config": config, "storage": storage, "shards": shards, "n": n,
            "rows": rows or n, "copies": copies}


CASES = [
    # Shapes: a width that fills no tile, several query heads to a key-value head or one, any head_dim.
    case("llama-untied", LLAMA, 3, 40, 5, 1, 52, 259, copies=("inv_freq",)),
    case("llama-tied-f16", LLAMA, 2, 40, 2, 2, 56, 259, old=False, theta=1000000.0, tied=True, storage="float16"),
    case("llama-f32", LLAMA, 2, 34, 1, 1, 33, 67, eps=1e-6, storage="float32"),
    case("llama-biases", LLAMA, 2, 48, 2, 1, 41, 97, old=False, extra={"attention_bias": True, "mlp_bias": True}),
    case("llama-head-dim", LLAMA, 2, 36, 3, 1, 44, 97, head_dim=40, extra={"attention_bias": True}),
    case("llama-sharded", LLAMA, 3, 24, 6, 2, 35, 131, head_dim=8, old=False, shards=3, tied=True, copies=("head",)),
    case("llama-long", LLAMA, 2, 40, 2, 1, 48, 67, theta=500000.0, context=2048, n=1500, rows=24, tied=True),
    # RoPE scaling, each in both spellings.
    case("linear-old", LLAMA, 2, 40, 2, 1, 48, 97, rope={"type": "linear", "factor": 2.5}, tied=True),
    case("linear-new", LLAMA, 2, 48, 2, 2, 40, 67, old=False, rope={"rope_type": "linear", "factor": 4.0}),
    case("dynamic-old", LLAMA, 2, 40, 2, 1, 48, 97, context=20, rope={"type": "dynamic", "factor": 3.0}, tied=True,
         n=64),
    case("dynamic-new", LLAMA, 2, 40, 5, 5, 36, 67, old=False, theta=5000.0, context=32,
         rope={"rope_type": "dynamic", "factor": 2.0}, n=72),
    case("yarn-old", LLAMA, 2, 40, 2, 1, 48, 97, context=64, theta=300.0, tied=True,
         rope={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}),
    case("yarn-mscale", LLAMA, 2, 48, 2, 1, 40, 67, old=False, context=256, theta=500.0,
         rope={"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32, "mscale": 1.0,
               "mscale_all_dim": 0.6, "beta_fast": 2.0, "beta_slow": 0.5}),
    case("yarn-attention-factor", LLAMA, 2, 40, 1, 1, 40, 67, old=False, context=128, theta=1000.0,
         rope={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "attention_factor": 1.25,
               "truncate": False}),
    case("llama3-old", LLAMA, 2, 40, 2, 1, 48, 97, context=512, theta=5000.0, tied=True,
         rope={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}),
    case("llama3-new", LLAMA, 2, 48, 2, 1, 40, 67, old=False, context=256, theta=500000.0,
         rope={"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.5, "high_freq_factor": 5.0,
               "original_max_position_embeddings": 48}),
    # Sliding windows: several times shorter than the text.
    case("mistral-window", MISTRAL, 2, 40, 2, 1, 48, 97, context=256, n=110, extra={"sliding_window": 17}),
    case("mistral-full", MISTRAL, 2, 36, 3, 1, 40, 97, head_dim=20, old=False, theta=1000000.0,
         extra={"sliding_window": None}),
    case("qwen2", QWEN2, 2, 48, 2, 1, 44, 131, theta=1000000.0, eps=1e-6, tied=True,
         extra={"use_sliding_window": False, "sliding_window": 16, "max_window_layers": 1}),
    case("qwen2-late-window", QWEN2, 3, 40, 5, 1, 44, 67, theta=1000000.0, context=256, n=72,
         extra={"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
    case("qwen2-layer-types", QWEN2, 3, 40, 2, 2, 36, 67, old=False, context=256, n=72,
         rope={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
         extra={"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 3,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
]


def std_of(name, config):
    """How large the numbers of a matrix are: so that its outputs are neither lost nor too loud."""
    dim = config.hidden_size
    if "embed_tokens" in name:
        return 0.06
    if "lm_head" in name:
        return 0.15
    if "q_proj" in name or "k_proj" in name:
        return 1.3 / math.sqrt(dim)
    if "o_proj" in name:
        return 0.2 / math.sqrt(dim)
    if "down_proj" in name:
        return 0.3 / math.sqrt(config.intermediate_size)
    return 1 / math.sqrt(dim)


def random_weights(model, generator, storage):
    tensors = {}
    for name, parameter in model.named_parameters():
        value = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            value = 1 + 0.3 * value
        elif name.endswith(".bias"):
            value = 0.03 * value if "o_proj" in name or "down_proj" in name else 0.4 * value
        else:
            value = std_of(name, model.config) * value
        tensors[name] = value.to(storage)
    return tensors


def load(folder):
    """Eager attention and experts; but that of Falcon adds ALiBi twice, once with the mask (transformers 5.23)."""
    alibi = getattr(AutoConfig.from_pretrained(folder), "alibi", False)
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True,
                                                       attn_implementation="sdpa" if alibi else "eager",
                                                       experts_implementation="eager")
    assert not info["missing_keys"] and not info["mismatched_keys"], info
    return model.eval()


def logits_of(model, ids):
    dynamic = (getattr(model.config, "rope_parameters", None) or {}).get("rope_type") == "dynamic"
    with torch.no_grad():
        if not dynamic:
            return model(torch.tensor([ids]), use_cache=False).logits[0]
        rows, cache = [], None
        for token in ids:
            out = model(torch.tensor([[token]]), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            rows.append(out.logits[0, -1])
        return torch.stack(rows)


def quantized_logits(folder, ids):
    """Those, and how many rows don't hang on the order of a sum."""
    model = load(folder)
    with open(os.path.join(folder, "config.json")) as config:
        stored = "quantization_config" in json.load(config) # experts go over as they are
    quantize(model, q8, (lambda w: w) if stored else None)
    logits = logits_of(model, ids)
    return logits, certain_rows(model, len(ids))


def margins_of(logits):
    top = logits.sort(-1).values
    return top[:, -1] - top[:, -2]


def changed_margin(logits, quantized):
    """The largest margin between first and second choice at which 8 bits change the first."""
    return max(margins_of(logits)[quantized.argmax(-1) != logits.argmax(-1)].tolist() + [0])


def save(folder, tensors, n_shards):
    if n_shards == 1:
        save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
        return
    names, where, total = sorted(tensors), {}, 0
    for i in range(n_shards):
        file = "model-%05d-of-%05d.safetensors" % (i + 1, n_shards)
        part = {name: tensors[name] for name in names[i::n_shards]}
        save_file(part, os.path.join(folder, file), metadata={"format": "pt"})
        where.update((name, file) for name in part)
        total += sum(t.numel() * t.element_size() for t in part.values())
    with open(os.path.join(folder, "model.safetensors.index.json"), "w", newline="\n") as out:
        json.dump({"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}, out, indent=1)
        out.write("\n")


def write_weights(folder, case, generator):
    """Random ones; returns a random text."""
    storage = getattr(torch, case["storage"])
    config = AutoConfig.from_pretrained(folder)
    tensors = random_weights(AutoModelForCausalLM.from_config(config), generator, storage)
    if "head" in case["copies"]:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    if "inv_freq" in case["copies"]:
        for i in range(config.num_hidden_layers):
            tensors["model.layers.%d.self_attn.rotary_emb.inv_freq" % i] = torch.full((4,), 7.0)
    ids = [1] + torch.randint(3, config.vocab_size, (case["n"] - 1,), generator=generator).tolist()

    save(folder, tensors, case["shards"])  # once to see how large the logits are, once for good
    scale = TARGET_STD / logits_of(load(folder), ids).std()
    norm = tensors["model.norm.weight"]
    tensors["model.norm.weight"] = (norm.float() * scale).to(storage)
    save(folder, tensors, case["shards"])
    return ids


def make(case):
    folder = os.path.join(OUT, case["name"])
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w", newline="\n") as out:
        json.dump(case["config"], out, indent=2, sort_keys=True)
        out.write("\n")
    generator = torch.Generator().manual_seed(zlib.crc32(case["name"].encode()))
    while True:
        ids = write_weights(folder, case, generator)
        quantized, certain = quantized_logits(folder, ids[:N_QUANTIZED])
        if certain < N_QUANTIZED:
            continue
        logits = logits_of(load(folder), ids)[-case["rows"]:].contiguous()
        whole = quantized_logits(folder, ids)[0][-case["rows"]:]
        if changed_margin(logits, whole) < LIMIT:
            break

    with open(os.path.join(folder, "ids.txt"), "w", newline="\n") as out:
        out.writelines("%d\n" % i for i in ids)
    logits.numpy().astype("<f4").tofile(os.path.join(folder, "logits.f32"))
    quantized.numpy().astype("<f4").tofile(os.path.join(folder, "logits.q8.f32"))
    differences = (whole - logits).abs()
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    assert size < 200000, (case["name"], size)
    print("%-22s %6d bytes, %4d tokens, std %.2f, least margin %.4f; q8: rms %.3f, max %.2f, other first "
          "choice at margins up to %.3f" % (case["name"], size, len(ids), logits.std(), margins_of(logits).min(),
                                            differences.square().mean().sqrt(), differences.max(),
                                            changed_margin(logits, whole)))
    return size


def main():
    torch.set_num_threads(1)
    wanted = sys.argv[1:]
    total = sum(make(c) for c in CASES if not wanted or c["name"] in wanted)
    print("%d bytes" % total)
    assert total < 3000000


if __name__ == "__main__":
    main()
