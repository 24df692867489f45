#!/usr/bin/env python3
"""Writes unicode_data.h: general categories, canonical decompositions and combining classes.

    pip install unicodedata2==16.0.0
    python3 src/convert/make_unicode.py > src/convert/unicode_data.h

The categories are Unicode 16.0's, as those of the reference tokenizers today (Oniguruma 6.9.10).
Their normal forms are Unicode 9.0's (crate unicode-normalization-alignments), so tables for these
hold the characters of that version only; Unicode promises that those never change. Perl knows
which they are. The tables are used at conversion only; what a tokenizer needs of them goes into
the .slm file.
"""
import subprocess

import unicodedata2 as u

CATEGORIES = ["Cn", "Cc", "Cf", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd",
              "Nl", "No", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl",
              "Zp", "Zs"]
LAST = 0x110000


IN_9 = set(map(int, subprocess.run(
    ["perl", "-e", r'for (0 .. 0x10FFFF) { print "$_\n" if chr($_) =~ /\p{Present_In: 9.0}/ }'],
    check=True, capture_output=True, text=True).stdout.split()))


def table(kind, name, note, values, per_line):
    print(f"\n/* {note} */\nstatic const {kind} {name}[] = {{")
    for i in range(0, len(values), per_line):
        print("    " + " ".join(f"0x{v:X}," for v in values[i:i + per_line]))
    print("};")


def runs(of):
    """(first code point << 8 | value) of every run of equal values."""
    out, before = [], None
    for c in range(LAST):
        value = of(c)
        if value != before:
            out.append(c << 8 | value)
            before = value
    return out


def canonical(c):
    """The full canonical decomposition, or [] (Hangul syllables follow a rule instead)."""
    if 0xAC00 <= c < 0xD7A4 or 0xD800 <= c < 0xE000 or c not in IN_9:
        return []
    full = [ord(x) for x in u.normalize("NFD", chr(c))]
    return [] if full == [c] else full


def pairs():
    """first, second, composed: what NFC puts together."""
    out = []
    for c in range(LAST):
        d = u.decomposition(chr(c)) if c in IN_9 and not 0xD800 <= c < 0xE000 else ""
        if d and not d.startswith("<"):
            parts = [int(x, 16) for x in d.split()]
            if len(parts) == 2 and u.normalize("NFC", chr(parts[0]) + chr(parts[1])) == chr(c):
                out.append((parts[0], parts[1], c))
    return sorted(out)


assert u.unidata_version == "16.0.0"
print("/*\n * unicode_data.h - characters: categories of Unicode 16.0, normal forms of 9.0.\n"
      " *\n * Written by make_unicode.py; do not edit. From the Unicode Character Database, (c)\n"
      " * Unicode, Inc., Unicode License v3 (https://www.unicode.org/license.txt).\n */")
print("\nenum {")
for i, name in enumerate(CATEGORIES):
    print(f"    CATEGORY_{name.upper()} = {i},")
print(f"    N_CATEGORIES = {len(CATEGORIES)}\n}};")
print("\nstatic const char CATEGORY_NAMES[N_CATEGORIES][3] = {")
print("    " + ", ".join(f'"{c}"' for c in CATEGORIES[:15]) + ",")
print("    " + ", ".join(f'"{c}"' for c in CATEGORIES[15:]) + "};")
table("uint32_t", "CATEGORY_RUNS", "first code point << 8 | category, of every run",
      runs(lambda c: CATEGORIES.index(u.category(chr(c)))), 8)
table("uint32_t", "COMBINING_RUNS", "first code point << 8 | canonical combining class",
      runs(lambda c: 0 if 0xD800 <= c < 0xE000 or c not in IN_9 else u.combining(chr(c))), 8)
flat = []
for c in range(LAST):
    d = canonical(c)
    if d:
        flat += [c << 8 | len(d)] + d
table("uint32_t", "DECOMPOSITIONS",
      "code point << 8 | n, then the n code points of its full canonical decomposition", flat, 8)
table("uint32_t", "COMPOSITIONS", "first, second, composed; sorted",
      [x for p in pairs() for x in p], 9)
