#!/usr/bin/env python3
"""Make tests/data/rope/tables.txt: inverse frequencies and attention factors by transformers.

    pip install torch transformers && python3 tests/golden/make_rope.py

For each case three lines: a config.json of a tiny LLaMA, the attention factor, and the inverse
frequencies as hexadecimal f32.
"""
import json
import os
import struct

from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "rope", "tables.txt")

CASES = [
    ({}, 64, 2048),
    ({"rope_theta": 1000000.0}, 128, 32768),
    ({"rope_theta": 10000}, 80, 2048),
    ({"rope_scaling": {"type": "linear", "factor": 2.5}}, 64, 4096),
    ({"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rope_theta": 500000.0}, 48, 4096),
    ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, 64, 2048),
    ({"rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                       "original_max_position_embeddings": 8192}, "rope_theta": 500000.0}, 64, 131072),
    ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.5, "high_freq_factor": 5.0,
                       "original_max_position_embeddings": 4096}, "rope_theta": 500000.0}, 128, 131072),
    ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 300000.0, "factor": 4.0, "low_freq_factor": 1.0,
                          "high_freq_factor": 4.0, "original_max_position_embeddings": 1024}}, 96, 4096),
    ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
      "rope_theta": 1000000.0}, 128, 131072),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096,
                       "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 0.75}}, 64, 65536),
    ({"rope_scaling": {"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096,
                       "mscale": 1.0, "mscale_all_dim": 0.8}}, 64, 163840),
    ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 150000.0, "factor": 32.0,
                          "original_max_position_embeddings": 4096, "truncate": False}}, 64, 131072),
    ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 1.0,
                          "original_max_position_embeddings": 2048}}, 32, 2048),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 100000.0}}, 64, 8192),
]


def main():
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    with open(OUT, "w", newline="\n") as out:
        for extra, head_dim, context in CASES:
            config = {"architectures": ["LlamaForCausalLM"], "hidden_size": 4 * head_dim, "head_dim": head_dim,
                      "num_attention_heads": 4, "num_hidden_layers": 1, "intermediate_size": 32, "vocab_size": 16,
                      "rms_norm_eps": 1e-6, "max_position_embeddings": context}
            config.update(extra)
            text = json.dumps(config)
            rope = LlamaRotaryEmbedding(LlamaConfig(**json.loads(text)))
            table = rope.inv_freq.float().tolist()
            out.write("%s\n%r\n%s\n" % (text, float(rope.attention_scaling),
                                       " ".join("%08x" % struct.unpack("<I", struct.pack("<f", x)) for x in table)))


main()
