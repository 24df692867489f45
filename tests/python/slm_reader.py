"""A reader of .slm files in plain Python, written from docs/format.md and from nothing else.

It is the proof that the page is complete: test_format.py compares every weight that it finds with
what the library finds. Clarity first; it takes a second for a megabyte.

    from slm_reader import File
    f = File(open("model.slm", "rb").read())
    f.traits["dim"], f.layers[0]["n_heads"], f.metadata["name"]
    for t in f.tensors:
        t.name, t.layer, t.type, t.rows, t.cols
        f.row(t, 0)  # list of float
"""

import struct
from collections import namedtuple

MAGIC = b"\x89SLM\r\n\x1a\n"
NONE = 0xFFFFFFFF
TRAITS, TOKENIZER, TEMPLATE, METADATA, TENSORS, DATA = range(1, 7)

# number: (name, bytes of a tile)
TYPES = {0: ("f32", 2048), 1: ("f16", 1024), 2: ("bf16", 1024),
         8: ("q8", 544), 16: ("q4", 288), 17: ("q4a", 320)}

# Bits of parts, of the model and of a layer.
EMBEDDING_NORM, FINAL_NORM, UNIT_LENGTH, SCORE_DENSE, SCORE_NORM = (1 << i for i in range(5))
(ATTN_NORM, ATTN_POST_NORM, FFN_NORM, FFN_POST_NORM, HEAD_NORMS, WIDE_NORMS, PARALLEL, GATE,
 SLOPES, ATTN_SUM_NORM, FFN_SUM_NORM, SHARED_GATE, SINKS, UP_PLUS_ONE) = (1 << i for i in range(14))
QK_NORMS = HEAD_NORMS | WIDE_NORMS

# number: (name, belongs to, is a matrix, is needed, rows, cols, parts); see shape_of(). It exists
# where its model or layer has one of these parts; 0: everywhere.
ROLES = {
    1: ("embedding", "model", True, True, "V", "D", 0),
    2: ("head", "model", True, False, "V", "D", 0),
    3: ("head_bias", "model", False, False, 1, "V", 0),
    4: ("final_norm", "model", False, True, 1, "D", FINAL_NORM),
    5: ("rope_frequencies", "rope", False, True, 1, "R", 0),
    6: ("final_norm_bias", "model", False, False, 1, "D", FINAL_NORM),
    7: ("embedding_norm", "model", False, True, 1, "D", EMBEDDING_NORM),
    8: ("embedding_norm_bias", "model", False, False, 1, "D", EMBEDDING_NORM),
    9: ("position_embedding", "model", True, True, "P", "D", 0),
    10: ("rope_long_frequencies", "rope", False, True, 1, "L", 0),
    11: ("token_type_embedding", "model", True, True, "T", "D", 0),
    16: ("attn_norm", "layer", False, True, 1, "D", ATTN_NORM),
    17: ("attn_q", "layer", True, True, "H", "D", 0),
    18: ("attn_k", "layer", True, True, "K", "D", 0),
    19: ("attn_v", "layer", True, True, "K", "D", 0),
    20: ("attn_out", "layer", True, True, "D", "H", 0),
    21: ("attn_q_bias", "layer", False, False, 1, "H", 0),
    22: ("attn_k_bias", "layer", False, False, 1, "K", 0),
    23: ("attn_v_bias", "layer", False, False, 1, "K", 0),
    24: ("attn_out_bias", "layer", False, False, 1, "D", 0),
    25: ("attn_norm_bias", "layer", False, False, 1, "D", ATTN_NORM),
    26: ("attn_post_norm", "layer", False, True, 1, "D", ATTN_POST_NORM),
    27: ("attn_post_norm_bias", "layer", False, False, 1, "D", ATTN_POST_NORM),
    28: ("attn_q_norm", "layer", False, True, 1, "H", QK_NORMS),
    29: ("attn_q_norm_bias", "layer", False, False, 1, "H", QK_NORMS),
    30: ("attn_k_norm", "layer", False, True, 1, "K", QK_NORMS),
    31: ("attn_k_norm_bias", "layer", False, False, 1, "K", QK_NORMS),
    32: ("attn_slopes", "layer", False, True, 1, "N", SLOPES),
    33: ("attn_sum_norm", "layer", False, True, 1, "D", ATTN_SUM_NORM),
    34: ("attn_sum_norm_bias", "layer", False, False, 1, "D", ATTN_SUM_NORM),
    35: ("attn_sinks", "layer", False, True, 1, "N", SINKS),
    48: ("ffn_norm", "layer", False, True, 1, "D", FFN_NORM),
    49: ("ffn_gate", "layer", True, True, "F", "D", GATE),
    50: ("ffn_up", "layer", True, True, "F", "D", 0),
    51: ("ffn_down", "layer", True, True, "D", "F", 0),
    52: ("ffn_gate_bias", "layer", False, False, 1, "F", GATE),
    53: ("ffn_up_bias", "layer", False, False, 1, "F", 0),
    54: ("ffn_down_bias", "layer", False, False, 1, "D", 0),
    55: ("ffn_norm_bias", "layer", False, False, 1, "D", FFN_NORM),
    56: ("ffn_post_norm", "layer", False, True, 1, "D", FFN_POST_NORM),
    57: ("ffn_post_norm_bias", "layer", False, False, 1, "D", FFN_POST_NORM),
    58: ("ffn_sum_norm", "layer", False, True, 1, "D", FFN_SUM_NORM),
    59: ("ffn_sum_norm_bias", "layer", False, False, 1, "D", FFN_SUM_NORM),
    60: ("router", "layer", True, True, "E", "D", 0),
    61: ("router_bias", "layer", False, False, 1, "E", 0),
    62: ("shared_gate", "layer", True, True, 1, "D", SHARED_GATE),
    64: ("experts_gate", "layer", True, True, "EX", "D", GATE),
    65: ("experts_gate_bias", "layer", False, False, 1, "EX", GATE),
    66: ("experts_up", "layer", True, True, "EX", "D", 0),
    67: ("experts_up_bias", "layer", False, False, 1, "EX", 0),
    68: ("experts_down", "layer", True, True, "ED", "X", 0),
    69: ("experts_down_bias", "layer", False, False, 1, "ED", 0),
    80: ("score_dense", "model", True, True, "D", "D", SCORE_DENSE),
    81: ("score_dense_bias", "model", False, False, 1, "D", SCORE_DENSE),
    82: ("score_norm", "model", False, True, 1, "D", SCORE_NORM),
    83: ("score_norm_bias", "model", False, False, 1, "D", SCORE_NORM),
    84: ("score", "model", True, True, "S", "D", 0),
    85: ("score_bias", "model", False, False, 1, "S", 0),
}

MODEL_FIELDS = ("<4IIfIIIIffff6I48s", ("n_layers", "dim", "n_vocab", "max_context", "norm", "norm_eps",
                                      "n_positions", "n_ropes", "attention", "activation",
                                      "embedding_scale", "residual_scale", "logit_scale",
                                      "logit_cap", "parts", "n_token_types", "pooling",
                                      "n_scores", "score_activation", "n_separators",
                                      "reserved"))
LAYER_FIELDS = ("<6IffI4If40s", ("n_heads", "n_kv_heads", "head_dim", "ffn_dim", "window", "rope",
                                 "attention_scale", "attention_cap", "parts", "n_experts", "n_chosen",
                                 "expert_dim", "router", "gate_limit", "reserved"))
ROPE_FIELDS = ("<2I3fI24s", ("dims", "scaling", "magnitude", "base", "factor", "original_context",
                             "reserved"))

Tensor = namedtuple("Tensor", "name layer type rows cols offset length hash matrix")


class Damaged(Exception):
    """The file is not a .slm that this reader understands."""


def need(condition, message):
    if not condition:
        raise Damaged(message)


# ------------------------------------------------------------------------------- XXH64 ---

P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                      0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
M64 = (1 << 64) - 1


def _rotate(x, n):
    return (x << n | x >> (64 - n)) & M64


def _round(accumulator, lane):
    return _rotate((accumulator + lane * P2) & M64, 31) * P1 & M64


def xxh64(data):
    n, at = len(data), 0
    if n >= 32:
        lanes = [(P1 + P2) & M64, P2, 0, -P1 & M64]
        for at in range(0, n - 31, 32):
            lanes = [_round(a, b) for a, b in zip(lanes, struct.unpack_from("<4Q", data, at))]
        at = n // 32 * 32
        h = sum(_rotate(a, r) for a, r in zip(lanes, (1, 7, 12, 18))) & M64
        for a in lanes:
            h = ((h ^ _round(0, a)) * P1 + P4) & M64
    else:
        h = P5
    h = (h + n) & M64
    while n - at >= 8:
        (lane,) = struct.unpack_from("<Q", data, at)
        h = (_rotate(h ^ _round(0, lane), 27) * P1 + P4) & M64
        at += 8
    if n - at >= 4:
        (lane,) = struct.unpack_from("<I", data, at)
        h = (_rotate(h ^ lane * P1 & M64, 23) * P2 + P3) & M64
        at += 4
    for byte in data[at:]:
        h = _rotate(h ^ byte * P5 & M64, 11) * P1 & M64
    h = (h ^ h >> 33) * P2 & M64
    h = (h ^ h >> 29) * P3 & M64
    return h ^ h >> 32


# ------------------------------------------------------------------------------ numbers ---

def f32(x):
    """x rounded to binary32, nearest even."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def bf16(bits):
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def up64(n):
    return (n + 63) // 64 * 64


def up16(n):
    return (n + 15) // 16 * 16


def shape_of(role, layer, traits, layers, ropes):
    """(rows, cols) that the traits ask for, or None where there is no such tensor."""
    name, owner, _, _, rows, cols, parts = ROLES[role]
    extents = {1: 1, "D": traits["dim"], "V": traits["n_vocab"], "P": traits["n_positions"],
               "T": traits["n_token_types"], "S": traits["n_scores"]}
    has = traits["parts"]
    if owner == "model":
        if layer != NONE:
            return None
    elif owner == "rope":
        if layer >= len(ropes):
            return None
        extents["R"] = ropes[layer]["dims"] // 2
        extents["L"] = extents["R"] if ropes[layer]["scaling"] == 2 else 0
    else:
        if layer >= len(layers):
            return None
        l = layers[layer]
        has = l["parts"]
        extents.update(H=l["n_heads"] * l["head_dim"], K=l["n_kv_heads"] * l["head_dim"],
                       F=l["ffn_dim"], N=l["n_heads"], E=l["n_experts"], X=l["expert_dim"],
                       EX=l["n_experts"] * up16(l["expert_dim"]), ED=l["n_experts"] * up16(traits["dim"]))
        if name == "ffn_down_bias" and not l["ffn_dim"]:
            return None
    if parts and not parts & has or not (extents[rows] and extents[cols]):
        return None
    return extents[rows], extents[cols]


def length_of(matrix, type_number, rows, cols):
    if not matrix:
        return 4 * cols
    return (rows + 15) // 16 * ((cols + 31) // 32) * TYPES[type_number][1]


# --------------------------------------------------------------------------------- file ---

class File:
    def __init__(self, data):
        self.data = data
        self.sections = {}    # kind: (offset, length), the known ones
        self.directory = []   # (kind, offset, length, hash), all
        self._read_directory()
        self._read_traits()
        self._read_tensors()
        self._read_texts()

    def _read_directory(self):
        data = self.data
        need(len(data) >= 64, "shorter than a header")
        magic, major, minor, count, length, stored, reserved = struct.unpack_from("<8sHHIQQ32s", data)
        need(magic == MAGIC, "no .slm file")
        need(major == 1, f"format version {major}.{minor}")
        need(length == len(data), f"the header says {length} bytes, there are {len(data)}")
        need(1 <= count <= 64 and 64 + 32 * count <= len(data), "directory")
        front = data[:24] + bytes(8) + data[32:64 + 32 * count]
        need(xxh64(front) == stored, "checksum of the directory")
        need(not any(reserved), "reserved bytes of the header")
        self.version = (major, minor)
        end = 64 + 32 * count
        for i in range(count):
            kind, zero, offset, size, stored = struct.unpack_from("<IIQQQ", data, 64 + 32 * i)
            need(zero == 0 and offset % 64 == 0 and offset >= end, f"section {i}")
            end = offset + size
            need(end <= len(data), f"section {i} exceeds the file")
            self.directory.append((kind, offset, size, stored))
            if TRAITS <= kind <= DATA:
                need(kind not in self.sections and size > 0, f"section {kind} twice or empty")
                self.sections[kind] = (offset, size)
                if kind in (TRAITS, TEMPLATE, METADATA, TENSORS):
                    need(xxh64(data[offset:end]) == stored, f"checksum of section {kind}")
        need(TRAITS in self.sections, "section 1 is missing")

    def _section(self, kind):
        offset, length = self.sections[kind]
        return self.data[offset:offset + length]

    def _read_traits(self):
        section = self._section(TRAITS)

        def record(fields, at):
            layout, names = fields
            need(at + struct.calcsize(layout) <= len(section), "traits are too short")
            r = dict(zip(names, struct.unpack_from(layout, section, at)))
            need(not any(r.pop("reserved")), f"reserved bytes of the traits at {at}")
            return r

        t = self.traits = record(MODEL_FIELDS, 0)
        need(len(section) == 128 + 96 * t["n_layers"] + 48 * t["n_ropes"], "length of the traits")
        self.layers = [record(LAYER_FIELDS, 128 + 96 * i) for i in range(t["n_layers"])]
        first_rope = 128 + 96 * t["n_layers"]
        self.ropes = [record(ROPE_FIELDS, first_rope + 48 * i) for i in range(t["n_ropes"])]
        for layer in self.layers:
            need(layer["n_kv_heads"] and layer["n_heads"] % layer["n_kv_heads"] == 0, "heads")
            need(layer["rope"] == NONE or layer["rope"] < len(self.ropes), "rope of a layer")

    def _read_tensors(self):
        self.tensors = []
        if self.traits["n_layers"] == 0:  # a vocabulary without weights
            need(TENSORS not in self.sections and DATA not in self.sections, "weights without layers")
            need(not any(v for k, v in self.traits.items() if k != "n_vocab"), "traits of a vocabulary")
            return
        need(TENSORS in self.sections and DATA in self.sections, "section 5 or 6 is missing")
        section = self._section(TENSORS)
        data_offset, data_length = self.sections[DATA]
        need(len(section) % 64 == 0 and data_length % 64 == 0, "length of tensors or data")
        seen, place = set(), data_offset
        for at in range(0, len(section), 64):
            role, layer, type_number, rows, cols, zero, offset, length, stored, zero1, zero2 = \
                struct.unpack_from("<6I5Q", section, at)
            what = f"tensor {at // 64}"
            need(zero == zero1 == zero2 == 0, what + ": reserved")
            need(role in ROLES and type_number in TYPES, what + ": role or type")
            name, _, matrix, _, _, _, _ = ROLES[role]
            need(matrix or type_number == 0, what + ": a vector is f32")
            need((role, layer) not in seen, what + ": twice")
            seen.add((role, layer))
            need((rows, cols) == shape_of(role, layer, self.traits, self.layers, self.ropes),
                 what + ": shape")
            need(length == length_of(matrix, type_number, rows, cols), what + ": length")
            need(offset == place and offset + length <= data_offset + data_length, what + ": place")
            place = up64(offset + length)
            self.tensors.append(Tensor(name, None if layer == NONE else layer,
                                       TYPES[type_number][0], rows, cols, offset, length, stored,
                                       matrix))
        need(place == data_offset + data_length, "data ends elsewhere")
        for role, (name, owner, _, needed, _, _, _) in ROLES.items():
            count = {"layer": len(self.layers), "rope": len(self.ropes)}.get(owner)
            for i in [NONE] if owner == "model" else range(count):
                exists = shape_of(role, i, self.traits, self.layers, self.ropes)
                need(not (needed and exists) or (role, i) in seen, f"{name} is missing")

    def _read_texts(self):
        self.template, self.metadata = None, {}
        if TEMPLATE in self.sections:
            self.template = self._section(TEMPLATE).decode("utf-8")
        if METADATA not in self.sections:
            return
        section = self._section(METADATA)
        count, zero = struct.unpack_from("<II", section)
        need(zero == 0, "metadata")
        at = 8
        for _ in range(count):
            k, v = struct.unpack_from("<II", section, at)
            key, value = section[at + 8:at + 9 + k], section[at + 9 + k:at + 10 + k + v]
            need(len(value) == v + 1 and key[-1] == value[-1] == 0, "a text of the metadata")
            self.metadata.setdefault(key[:-1].decode("utf-8"), value[:-1].decode("utf-8"))
            at += 10 + k + v
        need(at == len(section), "bytes behind the metadata")

    def check_everything(self):
        """Every byte is covered by a checksum, or is padding and 0."""
        at = 64 + 32 * len(self.directory)
        for kind, offset, length, stored in self.directory:
            need(not any(self.data[at:offset]), "padding before a section")
            at = offset + length
            if kind != DATA:
                need(xxh64(self.data[offset:at]) == stored, f"checksum of section {kind}")
                continue
            for t in self.tensors:
                end = t.offset + t.length
                need(xxh64(self.data[t.offset:end]) == t.hash, f"checksum of {t.name} {t.layer}")
                need(not any(self.data[end:up64(end)]), f"padding of {t.name} {t.layer}")
        need(not any(self.data[at:]), "padding at the end")

    # ------------------------------------------------------------------------- weights ---

    def row(self, t, row):
        """Row of a tensor: a list of cols floats, each exactly an f32."""
        if not t.matrix:
            return list(struct.unpack_from(f"<{t.cols}f", self.data, t.offset))
        weights = []
        for at in self.tiles(t, row):
            if t.type in FLOATS:
                weights += FLOATS[t.type](self.data, at, row % 16)
                continue
            q, scale, minimum = INTEGERS[t.type](self.data, at, row % 16)
            values = [f32(scale * v) for v in q]
            weights += values if minimum is None else [f32(v + minimum) for v in values]
        return weights[:t.cols]

    def tiles(self, t, row):
        """Where the tiles of a matrix begin that hold this row."""
        tile_bytes = {name: size for name, size in TYPES.values()}[t.type]
        n = (t.cols + 31) // 32
        panel = t.offset + row // 16 * n * tile_bytes
        return range(panel, panel + n * tile_bytes, tile_bytes)


# 32 weights of row r of the tile that begins at byte `at`.

def _f32_row(data, at, r):
    return [struct.unpack_from("<f", data, at + 4 * (16 * c + r))[0] for c in range(32)]


def _f16_row(data, at, r):
    return [struct.unpack_from("<e", data, at + 2 * (16 * c + r))[0] for c in range(32)]


def _bf16_row(data, at, r):
    return [bf16(struct.unpack_from("<H", data, at + 2 * (16 * c + r))[0]) for c in range(32)]


FLOATS = {"f32": _f32_row, "f16": _f16_row, "bf16": _bf16_row}


# Row r of the tile at byte `at` in an integer type: (q[32], scale, minimum or None).

def _f16_at(data, at, r):
    return struct.unpack_from("<e", data, at + 2 * r)[0]


def _q8(data, at, r):
    q = [struct.unpack_from("<b", data, at + 32 + 64 * (c // 4) + 4 * r + c % 4)[0]
         for c in range(32)]
    return q, _f16_at(data, at, r), None


def _nibbles(data, groups, r):
    u = []
    for c in range(32):
        byte = data[groups + 64 * (c // 8) + 4 * r + c % 4]
        u.append(byte & 15 if c % 8 < 4 else byte >> 4)
    return u


def _q4(data, at, r):
    return [u - 8 for u in _nibbles(data, at + 32, r)], _f16_at(data, at, r), None


def _q4a(data, at, r):
    return _nibbles(data, at + 64, r), _f16_at(data, at, r), _f16_at(data, at + 32, r)


INTEGERS = {"q8": _q8, "q4": _q4, "q4a": _q4a}
