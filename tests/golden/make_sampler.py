"""An independent sampler, in double precision and with sorted lists, and what it draws: tests/data/sampler.txt.

    python3 tests/golden/make_sampler.py > tests/data/sampler.txt

Logits are multiples of 1/256 from a linear congruential generator, so that the test makes the same ones exactly. Every
line is one sampler: its options, then the tokens that it draws one after the other, each from new logits. Draws that
lie within 2e-6 of a border (where single and double precision may differ) end the line early.
"""
import math

N_VOCAB = 300
DRAWS = 60
MASK = 2**64 - 1


class Pcg32:
    """PCG32, XSH-RR (O'Neill 2014)."""

    def __init__(self, seed, stream):
        self.state, self.inc = 0, (stream << 1 | 1) & MASK
        self.next()
        self.state = (self.state + seed) & MASK
        self.next()

    def next(self):
        old = self.state
        self.state = (old * 6364136223846793005 + self.inc) & MASK
        x = ((old >> 18 ^ old) >> 27) & 0xFFFFFFFF
        r = old >> 59
        return (x >> r | x << (-r & 31)) & 0xFFFFFFFF

    def unit(self):
        high, low = self.next() >> 5, self.next() >> 6
        return (high << 26 | low) / 2**53


class Logits:
    def __init__(self, seed):
        self.state = seed

    def make(self):
        row = []
        for _ in range(N_VOCAB):
            total = 0
            for _ in range(3):
                self.state = (self.state * 1664525 + 1013904223) & 0xFFFFFFFF
                total += self.state >> 22
            row.append((total - 1536) * 2 / 256)
        return row


class TooClose(Exception):
    pass


def draw(x, o, history, random):
    """One token, exactly as include/slm/slm.h describes the steps."""
    x = list(x)
    if o["bias_token"] >= 0:
        x[o["bias_token"]] += o["bias_value"]
    window = o["window"] or 64
    recent = history if window < 0 else history[-window:]
    for t in set(recent):
        r = o["repeat"] or 1
        x[t] = x[t] / r if x[t] > 0 else x[t] * r
        x[t] -= o["presence"] + o["frequency"] * recent.count(t)
    best = sorted(range(N_VOCAB), key=lambda t: (-x[t], t))
    top = x[best[0]]
    if o["temp"] == 0:
        if 0 < x[best[0]] - x[best[1]] < 1e-4:
            raise TooClose
        return best[0]
    if o["top_k"]:
        if 0 < x[best[o["top_k"] - 1]] - x[best[o["top_k"]]] < 1e-4:
            raise TooClose
        best = best[:o["top_k"]]
    if 0 < o["top_p"] < 1:
        weights = [math.exp(x[t] - top) for t in best]
        total, reached, keep = sum(weights), 0, 0
        while keep < len(best) and reached < o["top_p"] * total:
            reached += weights[keep]
            keep += 1
            if abs(reached / total - o["top_p"]) < 2e-6:
                raise TooClose
        best = best[:keep]
    if o["min_p"]:
        for t in best:
            if abs(x[t] - top - math.log(o["min_p"])) < 2e-6:
                raise TooClose
        best = [t for t in best if math.exp(x[t] - top) >= o["min_p"]]
    best.sort()
    weights = [math.exp((x[t] - top) / o["temp"]) for t in best]
    total = sum(weights)
    mark = random.unit()
    reached = 0
    for t, w in zip(best, weights):
        reached += w
        if abs(reached / total - mark) < 2e-6:
            raise TooClose
        if reached / total > mark:
            return t
    raise TooClose


DEFAULTS = {"temp": 1.0, "top_k": 0, "top_p": 0.0, "min_p": 0.0, "repeat": 0.0, "presence": 0.0, "frequency": 0.0,
            "window": 0, "bias_token": -1, "bias_value": 0.0, "seed": 0}
CASES = [
    {"temp": 0.0},
    {"temp": 0.0, "repeat": 1.25, "presence": 0.5, "frequency": 0.25, "window": 8},
    {},
    {"seed": 1},
    {"seed": 2**64 - 1, "temp": 0.5},
    {"seed": 42, "temp": 2.0, "top_k": 40},
    {"seed": 42, "top_p": 0.75},
    {"seed": 7, "top_p": 0.9375, "temp": 1.5},
    {"seed": 8, "min_p": 0.125, "temp": 1.5},
    {"seed": 9, "top_k": 30, "top_p": 0.875, "min_p": 0.0625, "temp": 0.75},
    {"seed": 10, "temp": 1.5, "repeat": 1.5, "window": 16},
    {"seed": 11, "temp": 1.5, "frequency": 2.0, "window": -1, "top_k": 5},
    {"seed": 12, "temp": 0.25, "bias_token": 17, "bias_value": 12.5},
    {"seed": 13, "temp": 1.0, "presence": 3.0, "top_k": 10, "top_p": 0.5},
]


def main():
    print("# made by tests/golden/make_sampler.py")
    print("# " + " ".join(DEFAULTS) + " : tokens")
    for i, case in enumerate(CASES):
        o = {**DEFAULTS, **case}
        random, logits, history = Pcg32(o["seed"], 54), Logits(1000 + i), []
        try:
            while len(history) < DRAWS:
                history.append(draw(logits.make(), o, history, random))
        except TooClose:
            pass
        print(" ".join(str(v) for v in o.values()), ":", " ".join(map(str, history)))


if __name__ == "__main__":
    main()
