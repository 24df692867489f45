"""The smallest .slm that can be, written in plain Python from docs/format.md.

    python3 slm_minimal.py FOLDER

writes the seeds of tests/fuzz/corpus/format: a file with every kind of section, one per weight
type, and what fuzzing starts badly without. test_format.py checks that they are what this makes.
"""

import os
import struct
import sys

from slm_reader import (ATTN_NORM, DATA, FFN_NORM, FINAL_NORM, GATE, METADATA, NONE, ROLES, TEMPLATE, TENSORS, TRAITS, TYPES, length_of,
                        shape_of, up64, xxh64)


PARTS = ATTN_NORM | FFN_NORM | GATE


def traits(rope, dim, experts):
    model = struct.pack("<4IIfIIIIffffI68s", 1, dim, 1, 8, 1, 1e-5, 0, rope, 1, 1, 1, 1, 1, 0,
                        FINAL_NORM, b"")
    layer = struct.pack("<6IffI4If40s", 1, 1, 2 if rope else 1, 0 if experts else 1, 0,
                        0 if rope else NONE, 1, 0, PARTS, experts, *([1, 1, 2] if experts else [0] * 3),
                        0, b"")
    ropes = struct.pack("<2I3fI24s", 2, 0, 1, 0, 0, 0, b"") if rope else b""
    return model + layer + ropes


def metadata(pairs):
    section = struct.pack("<II", len(pairs), 0)
    for key, value in pairs.items():
        key, value = key.encode(), value.encode()
        section += struct.pack("<II", len(key), len(value)) + key + b"\0" + value + b"\0"
    return section


def make(type_number, rope=False, biases=False, dim=1, experts=0, sections=()):
    """The bytes of a model of one layer whose widths are 1 (or dim)."""
    layer = {"n_heads": 1, "n_kv_heads": 1, "head_dim": 2 if rope else 1, "ffn_dim": 0 if experts else 1,
             "n_experts": experts, "expert_dim": 1 if experts else 0, "parts": PARTS}
    shapes = ({"dim": dim, "n_vocab": 1, "n_positions": 0, "n_token_types": 0,
               "n_scores": 0, "parts": FINAL_NORM}, [layer],
              [{"dims": 2, "scaling": 0}] if rope else [])
    first = [(TRAITS, traits(rope, dim, experts)), *sections]

    # Header and directory; then each section at the next multiple of 64.
    directory, body = [], b""
    at = start = up64(64 + 32 * (len(first) + 2))
    for kind, section in first:
        directory.append((kind, at, len(section), xxh64(section)))
        body += section.ljust(up64(len(section)), b"\0")
        at = start + len(body)

    data, entries = b"", b""
    for role, (name, owner, matrix, needed, _, _, _) in ROLES.items():
        index = NONE if owner == "model" else 0
        shape = shape_of(role, index, *shapes) if owner != "rope" or rope else None
        if shape is None or not (needed or biases):
            continue
        t = type_number if matrix else 0
        length = length_of(matrix, t, *shape)
        # Something else in each tensor, and finite in each type.
        weights = (bytes([role, 0, role, 0x2C]) * (length // 4 + 1))[:length]
        entries += struct.pack("<6I5Q", role, index, t, *shape, 0, at + len(data), length,
                               xxh64(weights), 0, 0)
        data += weights.ljust(up64(length), b"\0")
    directory.append((DATA, at, len(data), 0))
    directory.append((TENSORS, at + len(data), len(entries), xxh64(entries)))
    body += data + entries

    table = b"".join(struct.pack("<IIQQQ", kind, 0, *rest) for kind, *rest in directory)
    length = start + len(body)

    def header(stored):
        return struct.pack("<8sHHIQQ32s", b"\x89SLM\r\n\x1a\n", 1, 0, len(directory), length,
                           stored, b"")

    front = header(xxh64(header(0) + table)) + table
    return front.ljust(start, b"\0") + body


def seeds():
    texts = [(TEMPLATE, "{{ x }}".encode()), (4711, b"unknown"),
             (METADATA, metadata({"name": "seed", "license": "MIT"}))]
    made = {"minimal.slm": make(16),
            "sections.slm": make(17, rope=True, biases=True, sections=texts)}
    for number, (name, _) in TYPES.items():
        if number != 16:
            made[f"{name}.slm"] = make(number)
    made["wide.slm"] = make(16, dim=33)
    made["experts.slm"] = make(16, biases=True, experts=3)
    return made


if __name__ == "__main__":
    for file_name, contents in seeds().items():
        with open(os.path.join(sys.argv[1], file_name), "wb") as f:
            f.write(contents)
