#!/usr/bin/env python3
"""Make tests/data/json from a checkout of https://github.com/nst/JSONTestSuite and Python's json.

    python3 tests/golden/make_json.py PATH/TO/JSONTestSuite

suite.bin     every file of test_parsing up to 4 KB: a line "NAME LENGTH", the bytes, a newline.
              (test_json.c makes the two larger ones itself.)
expected.txt  "NAME<tab>VALUE" for each file that must parse. VALUE is the document as Python's json reads it,
              in a canonical form: compact, strings as json.dumps(ensure_ascii=False) writes them (half a
              surrogate pair is U+FFFD), numbers as # and the 16 hexadecimal digits of their double.
numbers.txt   "TEXT BITS DIGITS": a number, its double, and how many significant digits Python's repr() of
              that double has (repr is the shortest text that reads back).
"""
import json
import os
import random
import struct
import sys
from decimal import Decimal, getcontext

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "data", "json")


def bits(value):
    return "%016x" % struct.unpack("<Q", struct.pack("<d", value))[0]


class Number(str):
    pass


def canonical(value):
    if isinstance(value, Number):
        return "#" + bits(float(value))
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, tuple):
        return "{" + ",".join(text(k) + ":" + canonical(v) for k, v in value) + "}"
    if isinstance(value, str):
        return text(value)
    return {None: "null", True: "true", False: "false"}[value]


def text(value):
    whole = "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in value)
    return json.dumps(whole, ensure_ascii=False)


def numbers():
    random.seed(1)
    getcontext().prec = 400
    yield from """0 -0 1 -1 0.1 0.2 0.3 1e22 1e23 1e-22 1e-23 123456789012345678 9007199254740993
        9007199254740992 9007199254740991.5 5e-324 2.47e-324 2.4703282292062328e-324 2.5e-324 4.9e-324
        2.2250738585072014e-308 2.2250738585072011e-308 2.2250738585072009e-308 1.7976931348623157e308
        1.7976931348623158e308 1.7976931348623159e308 1e308 0.0000001 1e21 1e16 123456.789e3
        562949953421312 562949953421311.25 0.1000000000000000055511151231257827 4.35 0.5 179769313486231570000
        8.988465674311582e307 6.103515625e-05 65504 3.4028234663852886e38 1.17549435e-38""".split()
    for _ in range(150):  # any double
        value = struct.unpack("<d", random.randbytes(8))[0]
        if value == value and abs(value) != float("inf"):
            yield repr(value)
    for _ in range(50):  # what files hold: floats of 32 bits, printed in full and short
        value = struct.unpack("<f", struct.pack("<f", random.gauss(0, 10)))[0]
        yield repr(value)
        yield "%.6f" % value
    for _ in range(30):  # exactly between two doubles, and one digit beside that
        low = random.getrandbits(53) | 1 << 52
        middle = Decimal(2 * low + 1) / 2 * Decimal(2) ** random.randint(-60, 60)
        yield str(middle)
        yield str(middle) + "0000000000000000000000001" if "." in str(middle) and "E" not in str(middle) else str(low)


def main():
    folder = os.path.join(sys.argv[1], "test_parsing")
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, "suite.bin"), "wb") as suite, \
            open(os.path.join(OUT, "expected.txt"), "w", encoding="utf-8", newline="\n") as expected:
        for name in sorted(os.listdir(folder)):
            data = open(os.path.join(folder, name), "rb").read()
            if len(data) > 4096:
                continue
            suite.write(b"%s %d\n%s\n" % (name.encode(), len(data), data))
            if name.startswith("y_"):
                value = json.loads(data.decode("utf-8"), parse_float=Number, parse_int=Number,
                                   object_pairs_hook=tuple)
                expected.write("%s\t%s\n" % (name, canonical(value)))
    with open(os.path.join(OUT, "numbers.txt"), "w", newline="\n") as out:
        for number in numbers():
            value = float(number)
            mantissa = repr(abs(value)).split("e")[0].replace(".", "").strip("0")
            out.write("%s %s %d\n" % (number, bits(value), len(mantissa) or 1))


main()
