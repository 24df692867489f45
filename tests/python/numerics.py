"""The transformer of docs/numerics.md in plain Python, written from that page and from nothing else.

It is the proof that the page is complete: test_numerics.py compares every logit with the library's,
bit by bit. Clarity first; it computes some ten tokens of a tiny model a second.

    from numerics import Model
    Model(open("model.slm", "rb").read()).logits([1, 2, 3], "f16")  # a list for each token

All numbers are Python floats (binary64) that hold an f32 exactly; f32() rounds after each operation.
The sum, difference, product, quotient and square root of two f32 may be computed in binary64 and
rounded once more: binary64 has more than twice the digits, so the second rounding changes nothing.
"""

import ctypes
import math
import struct

from slm_reader import INTEGERS, NONE, PARALLEL, UNIT_LENGTH, UP_PLUS_ONE, WIDE_NORMS, File, up16

_float = ctypes.c_float


def f32(x):
    return _float(x).value


def fma(a, b, c):
    """a * b + c rounded once. The product is exact in binary64; the sum there is rounded to odd, so
    that rounding it again to f32 gives what rounding once would."""
    p = a * b
    s = p + c
    t = s - p
    error = (p - (s - t)) + (c - t)
    if error and not math.isinf(s):
        bits = struct.unpack("<q", struct.pack("<d", s))[0]
        if bits & 1 == 0:
            s = math.nextafter(s, math.inf if error > 0 else -math.inf)
    return _float(s).value


def f16(x):
    """Nearest f16, ties to even, as a float."""
    return struct.unpack("<e", struct.pack("<e", x))[0]


def tree(v):
    for half in (8, 4, 2, 1):
        v = [f32(v[i] + v[i + half]) for i in range(half)]
    return v[0]


# ------------------------------------------------------------------ the functions of the page ---

def E(x):
    if not x >= -87:
        return 0.0
    c = min(x, 88.0)
    n = float(round(f32(c * float.fromhex("0x1.715476p+0"))))
    r = fma(n, float.fromhex("-0x1.62e400p-1"), c)
    r = fma(n, float.fromhex("-0x1.7f7d1cp-20"), r)
    p = float.fromhex("0x1.a01a02p-13")
    for a in E_COEFFICIENTS:
        p = fma(p, r, a)
    return f32(math.ldexp(p, int(n)))


E_COEFFICIENTS = [float.fromhex(a) for a in
                  ("0x1.6c16c2p-10", "0x1.111112p-7", "0x1.555556p-5", "0x1.555556p-3", "0x1p-1",
                   "0x1p+0", "0x1p+0")]


def where_ge(x, t, y):
    return y if x >= t else 0.0


def tanh(x):
    size, near = abs(x), min(abs(x), f32(0.7))
    z = f32(near * near)
    p = float.fromhex("-0x1.6a5628p-8")
    for a in ("0x1.50be22p-6", "-0x1.b8450ep-5", "0x1.1109dep-3", "-0x1.55554cp-2"):
        p = fma(p, z, float.fromhex(a))
    small = fma(f32(p * z), near, near)
    large = f32(1 - f32(2 / f32(E(f32(size + size)) + 1)))
    both = f32(small + where_ge(size, f32(0.7), f32(large - small)))
    return f32(where_ge(x, 0.0, both) - where_ge(0.0 - x, 0.0, both))


def normal(x):
    t = f32(1 / fma(abs(x), 0.25, 1.0))
    p = float.fromhex("0x1.e33556p-6")
    for a in ("-0x1.5e7d52p-3", "0x1.560a96p-2", "-0x1.fe69cap-3", "0x1.dadfa6p-3", "0x1.482126p-6",
              "0x1.b6953ap-4", "0x1.9196dcp-4", "0x1.98e2dap-4"):
        p = fma(p, t, float.fromhex(a))
    below = f32(E(f32(f32(x * x) * -0.5)) * f32(t * p))
    return f32(where_ge(x, 0.0, f32(1 - f32(below + below))) + below)


def logistic(v, u):
    return f32(v / f32(1 + E(0.0 - u)))


def gelu_tanh(v):
    u = fma(f32(f32(v * v) * v), f32(0.044715), v)
    return logistic(v, f32(u * float.fromhex("0x1.988454p+0")))


ACTIVATIONS = {1: lambda v: logistic(v, v), 2: lambda v: f32(v * normal(v)), 3: gelu_tanh,
               4: lambda v: logistic(v, f32(v * f32(1.702))), 5: lambda v: max(v, 0.0)}


def capped(x, cap):
    return f32(cap * tanh(f32(x / cap))) if cap > 0 else x


def poly(c, x):
    total = c[-1]
    for a in reversed(c[:-1]):
        total = total * x + a
    return total


SINE = [(-1) ** i / math.factorial(2 * i + 1) for i in range(8)]
COSINE = [(-1) ** i / math.factorial(2 * i) for i in range(9)]
EXP = [1 / math.factorial(i) for i in range(14)]
LOG = [2 / (2 * i + 1) for i in range(11)]
LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")


def sincos(x):
    k = float(round(x * float.fromhex("0x1.45f306dc9c883p-1")))
    r = ((x - k * float.fromhex("0x1.921fb50000000p+0")) - k * float.fromhex("0x1.110b460000000p-26")) \
        - k * float.fromhex("0x1.1a62633145c07p-54")
    s, c = r * poly(SINE, r * r), poly(COSINE, r * r)
    s, c = ((s, c), (c, -s), (-s, -c), (-c, s))[int(k) % 4]
    return f32(s), f32(c)


def log(x):
    m, k = math.frexp(x)
    m, k = 2 * m, k - 1
    if m > float.fromhex("0x1.6a09e667f3bcdp+0"):
        m, k = m * 0.5, k + 1
    s = (m - 1) / (m + 1)
    p = s * poly(LOG, s * s)
    return k * LN2_HIGH + (p + k * LN2_LOW)


def exp(x):
    if x < -708:
        return 0.0
    if x > 709.7:
        return math.inf
    k = float(round(x * float.fromhex("0x1.71547652b82fep+0")))
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    return poly(EXP, r) * 2.0 ** (k - 1) * 2.0


# ------------------------------------------------------------------------------------- stages ---

def pad(x):
    return x + [0.0] * (-len(x) % 32)


def quantize(x):
    """[(q's, scale, offset)] of each block."""
    blocks = []
    for at in range(0, len(x), 32):
        block = x[at:at + 32]
        m = max(abs(v) for v in block)
        if m < 2.0 ** -100:
            blocks.append(([0] * 32, 0.0, 0.0))
            continue
        scale = f32(m / 127)
        inverse = f32(1 / scale)
        q = [round(max(min(f32(v * inverse), 127.0), -127.0)) for v in block]
        blocks.append((q, scale, f32(scale * sum(q))))
    return blocks


class Matrix:
    """Rows of blocks: floats, or (q's, scale, minimum)."""

    def __init__(self, file, tensor, bias):
        self.type = tensor.type
        self.integer = tensor.type in INTEGERS
        self.bias = bias
        self.rows = [self._row(file, tensor, r) for r in range(tensor.rows)]

    def _row(self, file, t, r):
        if not self.integer:
            return file.row(t, r)
        return [INTEGERS[t.type](file.data, at, r % 16) for at in file.tiles(t, r)]

    def times(self, x, factor, first=0, n=None):
        """Rows first to first + n."""
        x = pad(x)
        blocks = quantize(x) if self.integer else None
        out = []
        for r in range(first, first + n if n else len(self.rows)):
            row = self.rows[r]
            acc = 0.0
            if self.integer:
                for (q, scale, minimum), (xq, xscale, offset) in zip(row, blocks):
                    dot = float(sum(a * b for a, b in zip(q, xq)))
                    acc = fma(dot, f32(scale * xscale), acc)
                    if minimum is not None:
                        acc = fma(minimum, offset, acc)
            else:
                for w, v in zip(row, x):
                    acc = fma(w, v, acc)
            out.append(f32(f32(acc + (self.bias[r] if self.bias else 0.0)) * factor))
        return out


def mix(head):
    """The change of basis of q8 keys and queries."""
    x = pad(head)
    for distance in (16, 8, 4, 2, 1):
        x = [f32(x[i ^ distance] - v) if i & distance else f32(v + x[i ^ distance])
             for i, v in enumerate(x)]
    return x


def page_blocks(x):
    """[(32 integers, scale)] of a key or a value in q8 pages."""
    blocks = []
    for at in range(0, len(x), 32):
        block = x[at:at + 32]
        scale = f16(min(f32(max(abs(v) for v in block) / 127), 65504.0))
        inverse = f32(1 / scale) if scale else 0.0
        blocks.append(([round(max(min(f32(v * inverse), 127.0), -127.0)) for v in block], scale))
    return blocks


def softmax(scores, visible):
    largest = max(scores)
    weights = [E(f32(s - largest)) for s in scores]
    lanes = [0.0] * 16
    for p, w in zip(visible, weights):
        lanes[p % 16] = f32(lanes[p % 16] + w)
    return largest, weights, tree(lanes)


class Model:
    def __init__(self, data):
        file = self.file = File(data)
        tensors = {(t.name, t.layer): t for t in file.tensors}

        def vector(name, layer=None):
            t = tensors.get((name, layer))
            return file.row(t, 0) if t else None

        def matrix(name, layer=None):
            t = tensors.get((name, layer))
            return Matrix(file, t, vector(name + "_bias", layer)) if t else None

        self.embedding = tensors["embedding", None]
        self.head = matrix("head") or Matrix(file, self.embedding, vector("head_bias"))
        def norm(name, layer=None):
            weight = vector(name, layer)
            return weight and (weight, vector(name + "_bias", layer))

        self.positions = tensors.get(("position_embedding", None))
        self.types = tensors.get(("token_type_embedding", None))
        self.score_dense, self.score = matrix("score_dense"), matrix("score")
        self.score_norm = norm("score_norm")
        self.embedding_norm = norm("embedding_norm")
        self.final_norm = norm("final_norm")
        self.frequencies = [vector("rope_frequencies", i) for i in range(len(file.ropes))]
        self.long = [vector("rope_long_frequencies", i) for i in range(len(file.ropes))]
        self.layers = []
        for i, traits in enumerate(file.layers):
            layer = {name: matrix(name, i) for name in
                     ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_gate", "ffn_up", "ffn_down", "router",
                      "shared_gate", "experts_gate", "experts_up", "experts_down")}
            layer.update((name, norm(name, i)) for name in
                         ("attn_norm", "attn_post_norm", "attn_q_norm", "attn_k_norm", "ffn_norm",
                          "ffn_post_norm", "attn_sum_norm", "ffn_sum_norm"))
            layer["attn_slopes"] = vector("attn_slopes", i)
            layer["attn_sinks"] = vector("attn_sinks", i)
            self.layers.append((traits, layer))

    def norm(self, x, norm):
        if not norm:
            return x
        weight, bias = norm
        mean = 0.0
        if self.file.traits["norm"] == 2:
            lanes = [0.0] * 16
            for i, v in enumerate(x):
                lanes[i % 16] = f32(lanes[i % 16] + v)
            mean = f32(tree(lanes) / len(x))
            x = [f32(v - mean) for v in x]
        lanes = [0.0] * 16
        for i, v in enumerate(x):
            lanes[i % 16] = fma(v, v, lanes[i % 16])
        square = f32(f32(tree(lanes) / len(x)) + self.file.traits["norm_eps"])
        r = f32(1 / f32(math.sqrt(square)))
        y = [f32(f32(v * r) * w) for v, w in zip(x, weight)]
        return [f32(v + b) for v, b in zip(y, bias)] if bias else y

    def norm_heads(self, traits, heads, norm):
        if not norm:
            return heads
        size = len(heads) if traits["parts"] & WIDE_NORMS else traits["head_dim"]
        out = []
        for at in range(0, len(heads), size):
            out += self.norm(heads[at:at + size],
                             tuple(v and v[at:at + size] for v in norm))
        return out

    def angles(self, number, position):
        """[(sine, cosine)] of each pair."""
        rope = self.file.ropes[number]
        result = []
        long = rope["scaling"] == 2 and self.max_tokens > rope["original_context"]
        for i, frequency in enumerate((self.long if long else self.frequencies)[number]):
            if rope["scaling"] == 1 and position >= rope["original_context"]:
                dims, factor = rope["dims"], rope["factor"]
                stretch = factor * (position + 1) / rope["original_context"] - f32(factor - 1)
                base = rope["base"] * exp(dims / (dims - 2) * log(stretch))
                frequency = f32(exp(-2.0 * i / dims * log(base)))
            s, c = sincos(f32(f32(position) * frequency))
            result.append((f32(s * rope["magnitude"]), f32(c * rope["magnitude"])))
        return result

    def rotate(self, traits, heads, position):
        if traits["rope"] == NONE:
            return
        angles = self.angles(traits["rope"], position)
        for head in range(0, len(heads), traits["head_dim"]):
            for i, (s, c) in enumerate(angles):
                a, b = heads[head + i], heads[head + i + len(angles)]
                heads[head + i] = f32(f32(a * c) - f32(b * s))
                heads[head + i + len(angles)] = fma(a, s, f32(b * c))

    @staticmethod
    def span(query, keys, values, dims, traits, slope, position, visible):
        scores = []
        for p in visible:
            acc, key = 0.0, keys[p]
            for d in dims:
                acc = fma(key[d], query[d - dims[0]], acc)
            score = capped(f32(acc * traits["attention_scale"]), traits["attention_cap"])
            scores.append(fma(slope, float(p - position), score) if slope else score)
        largest, weights, total = softmax(scores, visible)
        out = []
        for d in dims:
            acc = 0.0
            for p, w in zip(visible, weights):
                acc = fma(w, values[p][d], acc)
            out.append(acc)
        return largest, total, out

    @staticmethod
    def span_q8(query, keys, values, dims, traits, slope, position, visible):
        """keys[p][head], values[p][head]: blocks of (32 integers, scale)."""
        head, scores = dims[0] // len(dims), []
        blocks = quantize(mix(query))
        for p in visible:
            acc = 0.0
            for (q, qs, _), (k, ks) in zip(blocks, keys[p][head]):
                acc = fma(float(sum(a * b for a, b in zip(q, k))), f32(ks * qs), acc)
            score = capped(f32(acc * f32(traits["attention_scale"] / 32)), traits["attention_cap"])
            scores.append(fma(slope, float(p - position), score) if slope else score)
        largest, weights, total = softmax(scores, visible)
        out = []
        for b in range(len(blocks)):
            acc = [0.0] * 32
            for page in range(visible[0] // 32, visible[-1] // 32 + 1):
                w = [(f32(w * values[p][head][b][1]), values[p][head][b][0])
                     for p, w in zip(visible, weights) if p // 32 == page]
                m = max(x for x, _ in w)
                if m < 2.0 ** -100:
                    continue
                step, inverse = f32(m / 127), f32(127 / m)
                w = [(round(f32(x * inverse)), v) for x, v in w]
                for d in range(32):
                    acc[d] = fma(float(sum(u * v[d] for u, v in w)), step, acc[d])
            out += acc
        return largest, total, out[:len(dims)]

    def attention(self, traits, slopes, sinks, q, keys, values, position, pages):
        window, end = traits["window"], position + 1
        first = max(0, position + 1 - window) if window else 0
        if self.file.traits["attention"] == 2:
            end = min(len(keys), position + window) if window else len(keys)
        dim, result = traits["head_dim"], []
        for head in range(traits["n_heads"]):
            kv = head // (traits["n_heads"] // traits["n_kv_heads"]) * dim
            M, T, O = -math.inf, 0.0, [0.0] * dim
            if sinks:
                M, T = sinks[head], 1.0
            for s in range(first // 256, (end - 1) // 256 + 1):
                visible = range(max(first, 256 * s), min(end, 256 * s + 256))
                span = self.span_q8 if pages == "q8" else self.span
                m, t, o = span(q[head * dim:(head + 1) * dim], keys, values, range(kv, kv + dim),
                               traits, slopes[head] if slopes else 0.0, position, visible)
                top = max(M, m)
                before, added = E(f32(M - top)), E(f32(m - top))
                O = [fma(b, added, f32(a * before)) for a, b in zip(O, o)]
                T = f32(f32(T * before) + f32(t * added))
                M = top
            inverse = f32(1 / T)
            result += [f32(v * inverse) for v in O]
        return result

    def inner(self, t, gate, up, h, first=0, n=None):
        """What `down` reads; of an expert, whose rows begin at `first`."""
        act, limit = ACTIVATIONS[self.file.traits["activation"]], t["gate_limit"]
        up = up.times(h, 1.0, first, n)
        if not gate:
            return [act(u) for u in up]
        gate = gate.times(h, 1.0, first, n)
        if limit > 0:
            gate, up = [min(g, limit) for g in gate], [max(min(u, limit), -limit) for u in up]
        if t["parts"] & UP_PLUS_ONE:
            up = [f32(u + 1) for u in up]
        return [f32(act(g) * u) for g, u in zip(gate, up)]

    def ffn(self, t, layer, x):
        """What the feed-forward block adds to x."""
        h = self.norm(x, layer["ffn_norm"])
        m = self.inner(t, layer["ffn_gate"], layer["ffn_up"], h) if t["ffn_dim"] else None
        if not t["n_experts"]:
            return self.added(layer["ffn_down"], m, layer["ffn_post_norm"])
        total = [0.0] * len(x)
        if m:
            share = 1.0
            if layer["shared_gate"]:
                share = f32(1 / f32(1 + E(0.0 - layer["shared_gate"].times(h, 1.0)[0])))
            total = [f32(0.0 + f32(v * share)) for v in layer["ffn_down"].times(m, 1.0)]
        for expert, weight in self.route(t, layer["router"].times(h, 1.0)):
            m = self.inner(t, layer["experts_gate"], layer["experts_up"], h,
                           expert * up16(t["expert_dim"]), t["expert_dim"])
            y = layer["experts_down"].times(m, 1.0, expert * up16(len(x)), len(x))
            total = [f32(a + f32(weight * b)) for a, b in zip(total, y)]
        scale = self.file.traits["residual_scale"]
        total = self.norm(total, layer["ffn_post_norm"])
        return [f32(v * scale) for v in total]

    @staticmethod
    def route(t, logits):
        """[(expert, weight)] in order of weight; sorted() keeps the order of equal ones."""
        chosen = sorted(range(len(logits)), key=lambda e: -logits[e])[:t["n_chosen"]]
        powers = [E(f32(v - logits[chosen[0]])) for v in logits]
        total = 0.0
        for p in powers if t["router"] == 1 else [powers[e] for e in chosen]:
            total = f32(total + p)
        return [(e, f32(powers[e] / total)) for e in chosen]

    def added(self, matrix, input_, norm):
        scale = self.file.traits["residual_scale"]
        if not norm:
            return matrix.times(input_, scale)
        y = self.norm(matrix.times(input_, 1.0), norm)
        return [f32(v * scale) for v in y] if scale != 1 else y

    def embed(self, token, position, type_=0):
        x = self.file.row(self.embedding, token)
        scale = self.file.traits["embedding_scale"]
        if scale != 1:
            x = [f32(v * scale) for v in x]
        if self.positions:
            x = [f32(a + b) for a, b in zip(x, self.file.row(self.positions, position))]
        if self.types:
            x = [f32(a + b) for a, b in zip(x, self.file.row(self.types, type_))]
        return self.norm(x, self.embedding_norm)

    def hidden(self, tokens, pages="f16", max_tokens=0, n_first=None):
        """What head or pooling read, of each position. max_tokens: of the context; 0: as many as the
        text has. Tokens from n_first on are of type 1."""
        self.max_tokens = max_tokens or len(tokens)
        pair = n_first is not None and self.file.traits["n_token_types"] > 1

        def store(row, head_dim, is_key):
            if pages == "f32":
                return row
            if pages == "f16":
                return [f16(max(min(v, 65504.0), -65504.0)) for v in row]
            heads = [row[at:at + head_dim] for at in range(0, len(row), head_dim)]
            return [page_blocks(mix(head) if is_key else pad(head)) for head in heads]

        rows = [self.embed(token, i, int(pair and i >= n_first)) for i, token in enumerate(tokens)]
        for t, layer in self.layers:
            queries, keys, values = [], [], []
            for position, x in enumerate(rows):
                h = self.norm(x, layer["attn_norm"])
                q, k, v = (layer["attn_" + n].times(h, 1.0) for n in "qkv")
                q = self.norm_heads(t, q, layer["attn_q_norm"])
                k = self.norm_heads(t, k, layer["attn_k_norm"])
                self.rotate(t, q, position)
                self.rotate(t, k, position)
                queries.append(q)
                keys.append(store(k, t["head_dim"], True))
                values.append(store(v, t["head_dim"], False))
            for position, x in enumerate(rows):
                a = self.attention(t, layer["attn_slopes"], layer["attn_sinks"], queries[position], keys,
                                   values, position, pages)
                early = self.ffn(t, layer, x) if t["parts"] & PARALLEL else None
                a = self.added(layer["attn_out"], a, layer["attn_post_norm"])
                x = self.norm([f32(a + b) for a, b in zip(x, a)], layer["attn_sum_norm"])
                m = early or self.ffn(t, layer, x)
                rows[position] = self.norm([f32(a + b) for a, b in zip(x, m)], layer["ffn_sum_norm"])
        return [self.norm(x, self.final_norm) for x in rows]

    def logits(self, tokens, pages="f16", max_tokens=0):
        traits = self.file.traits
        rows = [self.head.times(h, traits["logit_scale"])
                for h in self.hidden(tokens, pages, max_tokens)]
        return [[capped(v, traits["logit_cap"]) for v in row] for row in rows]

    def pooled(self, tokens, pages, n_first):
        """A text's embedding."""
        rows = self.hidden(tokens, pages, 0, n_first)
        pooling = self.file.traits["pooling"]
        v = rows[0] if pooling == 2 else rows[-1]
        if pooling == 1:
            v = [0.0] * len(v)
            for row in rows:
                v = [f32(a + b) for a, b in zip(v, row)]
            share = f32(1 / len(rows))
            v = [f32(a * share) for a in v]
        if self.file.traits["parts"] & UNIT_LENGTH:
            squares = 0.0
            for a in v:
                squares += a * a
            factor = f32(1 / math.sqrt(squares)) if squares else 1.0
            v = [f32(a * factor) for a in v]
        return v

    def scores(self, v):
        act = self.file.traits["score_activation"]
        if self.score_dense:
            v = self.score_dense.times(v, 1.0)
            if act:
                v = [capped(a, 1.0) if act == 6 else ACTIVATIONS[act](a) for a in v]
        return self.score.times(self.norm(v, self.score_norm), 1.0)
