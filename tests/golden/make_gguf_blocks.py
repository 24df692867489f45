#!/usr/bin/env python3
"""Make tests/data/gguf/blocks.bin: blocks of every GGUF weight type and their values by gguf-py.

    pip install gguf && python3 tests/golden/make_gguf_blocks.py

For each type a line "NAME BLOCK_BYTES BLOCK_VALUES BLOCKS", then the blocks, then their values as
little-endian f32. The bytes are random but for the f16 scales, which are small finite numbers: one
of a type is a subnormal half, one is zero, signs are mixed.
"""
import os

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "gguf", "blocks.bin")

# Where the f16 numbers of a block stand.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0],
          "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
FLOATS = {"F16": "<f2", "BF16": None}


def main():
    random = np.random.default_rng(20261021)
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    with open(OUT, "wb") as out:
        for name, offsets in HALVES.items():
            kind = GGMLQuantizationType[name]
            n_values, n_bytes = GGML_QUANT_SIZES[kind]
            n = 12 if n_values == 32 else 4
            blocks = random.integers(0, 256, (n, n_bytes), dtype=np.uint8)
            for offset in offsets:
                halves = (random.standard_normal(n) * 0.05).astype("<f2")
                halves[0], halves[1] = np.float16(6e-6), 0
                blocks[:, offset:offset + 2] = halves.view(np.uint8).reshape(n, 2)
            write(out, name, n_bytes, n_values, blocks, dequantize(blocks, kind))
        kind = GGMLQuantizationType.MXFP4 # its scale is an exponent
        blocks = random.integers(0, 256, (12, 17), dtype=np.uint8)
        blocks[:, 0] = [0, 1, 2, 90, 104, 110, 120, 125, 127, 128, 130, 143]
        write(out, "MXFP4", 17, 32, blocks, dequantize(blocks, kind))
        for name in FLOATS:  # finite numbers of both signs, subnormal ones among them
            bits = np.concatenate([np.arange(0, 0x7C00, 97), np.arange(0x8000, 0xFC00, 501)]).astype("<u2")
            blocks = bits.view(np.uint8).reshape(-1, 2)
            values = (bits.view("<f2").astype("<f4") if name == "F16"
                      else dequantize(blocks, GGMLQuantizationType.BF16))
            write(out, name, 2, 1, blocks, values)


def write(out, name, n_bytes, n_values, blocks, values):
    values = np.ascontiguousarray(values, dtype="<f4")
    assert np.isfinite(values).all() and values.size == len(blocks) * n_values
    out.write(b"%s %d %d %d\n" % (name.encode(), n_bytes, n_values, len(blocks)))
    out.write(blocks.tobytes())
    out.write(values.tobytes())


main()
