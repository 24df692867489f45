#!/usr/bin/env python3
"""Writes unicode_data.h: general categories, decompositions, combining classes, lower case.

    pip install unicodedata2==16.0.0
    python3 src/vocab/make_unicode.py > src/vocab/unicode_data.h

The categories are Unicode 16.0's, as those of the reference tokenizers today (Oniguruma 6.9.10).
Their normal forms are Unicode 9.0's (crate unicode-normalization-alignments), so tables for these
hold the characters of that version only; Unicode promises that those never change. Perl knows
which they are. What they call punctuation, accents and control characters outside of regular
expressions is Unicode 8.0's (crate unicode_categories), what StripAccents removes 9.0's, and lower
case, which Rust itself has, 17.0's. The tables are used at conversion only; what a tokenizer needs
of them goes into the .slm file.
"""
import subprocess

import unicodedata2 as u

CATEGORIES = ["Cn", "Cc", "Cf", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd",
              "Nl", "No", "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zl",
              "Zp", "Zs"]
LAST = 0x110000


def present_in(version):
    return set(map(int, subprocess.run(
        ["perl", "-e", r'for (0 .. 0x10FFFF) { print "$_\n" if chr($_) =~ /\p{Present_In: %s}/ }' % version],
        check=True, capture_output=True, text=True).stdout.split()))


IN_8, IN_9 = present_in("8.0"), present_in("9.0")
# Those that were of another category then.
CATEGORY_IN_8 = {0x166D: "Po", 0x111C9: "Po", 0x1734: "Mn", 0x1885: "Lo", 0x1886: "Lo", 0xA9BD: "Mc", 0x1171E: "Mn"}
CATEGORY_IN_9 = {0x111C9: "Po", 0x1CF2: "Mc", 0x1CF3: "Mc"}
# Extend and SpacingMark since 15.0, for Perls that don't know them.
NEW_EXTEND = [
    (0x897, 0x897), (0xCF3, 0xCF3), (0xECE, 0xECE), (0x1ACF, 0x1ADD), (0x1AE0, 0x1AEB), (0x10D69,
    0x10D6D), (0x10EFA, 0x10EFF), (0x11241, 0x11241), (0x113B8, 0x113C0), (0x113C2, 0x113C2), (0x113C5,
    0x113C5), (0x113C7, 0x113CA), (0x113CC, 0x113D0), (0x113D2, 0x113D2), (0x113E1, 0x113E2), (0x11B60,
    0x11B67), (0x11F00, 0x11F01), (0x11F03, 0x11F03), (0x11F34, 0x11F3A), (0x11F3E, 0x11F42), (0x11F5A,
    0x11F5A), (0x13440, 0x13440), (0x13447, 0x13455), (0x1611E, 0x1612F), (0x1E08F, 0x1E08F), (0x1E4EC,
    0x1E4EF), (0x1E5EE, 0x1E5EF), (0x1E6E3, 0x1E6E3), (0x1E6E6, 0x1E6E6), (0x1E6EE, 0x1E6EF), (0x1E6F5,
    0x1E6F5)]
# Lower case of letters that Unicode has since 15.0, as first, last, distance.
NEW_LETTERS = [(0x1C89, 0x1C89, 1), (0xA7CB, 0xA7CB, 0x264 - 0xA7CB), (0xA7CC, 0xA7CC, 1), (0xA7CE, 0xA7CE, 1),
               (0xA7D2, 0xA7D2, 1), (0xA7D4, 0xA7D4, 1), (0xA7DA, 0xA7DA, 1), (0xA7DC, 0xA7DC, 0x19B - 0xA7DC),
               (0x10D50, 0x10D65, 0x20), (0x16EA0, 0x16EB8, 0x1B)]


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


def decomposed(c, form):
    """The full decomposition, or [] (Hangul syllables follow a rule instead)."""
    if 0xAC00 <= c < 0xD7A4 or 0xD800 <= c < 0xE000 or c not in IN_9:
        return []
    full = [ord(x) for x in u.normalize(form, chr(c))]
    return [] if full == [c] else full


def canonical(c):
    return decomposed(c, "NFD")


def compatible(c):
    """What the compatibility forms have instead of, or besides, the canonical decomposition."""
    full = decomposed(c, "NFKD")
    return [] if full == canonical(c) else full


def lower(c):
    for first, last, distance in NEW_LETTERS:
        if first <= c <= last:
            return [c + distance]
    small = [] if 0xD800 <= c < 0xE000 else [ord(x) for x in chr(c).lower()]
    return [] if small == [c] else small


def rows(of):
    flat = []
    for c in range(LAST):
        d = of(c)
        if d:
            flat += [c << 8 | len(d)] + d
    return flat


def ranges(inside):
    """first, last of every range."""
    out = []
    for c in filter(inside, range(LAST)):
        if out and out[-1] == c - 1:
            out[-1] = c
        else:
            out += [c, c]
    return out


def break_class(name):
    out = subprocess.run(["perl", "-e", r'for (0 .. 0x10FFFF) { print "$_\n" if chr($_) =~ /\p{GCB=%s}/ }' % name],
                         check=True, capture_output=True, text=True).stdout.split()
    return set(map(int, out)) - set(range(0xD800, 0xE000))


def of_8(c, kinds):
    return c in IN_8 and CATEGORY_IN_8.get(c, u.category(chr(c))).startswith(kinds)


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
print("/*\n * unicode_data.h - what Unicode says about characters.\n"
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
table("uint32_t", "DECOMPOSITIONS",
      "code point << 8 | n, then the n code points of its full canonical decomposition", rows(canonical), 8)
table("uint32_t", "COMPATIBILITY", "the same, where the compatibility decomposition is another", rows(compatible), 8)
table("uint32_t", "LOWERCASE", "the same: lower case", rows(lower), 8)
table("uint32_t", "COMPOSITIONS", "first, second, composed; sorted",
      [x for p in pairs() for x in p], 9)
table("uint32_t", "PUNCTUATION_8", "first, last: category P of Unicode 8.0", ranges(lambda c: of_8(c, "P")), 8)
table("uint32_t", "OTHER_8", "Cc, Cf, Co", ranges(lambda c: of_8(c, ("Cc", "Cf", "Co"))), 8)
table("uint32_t", "NONSPACING_8", "Mn", ranges(lambda c: of_8(c, "Mn")), 8)
table("uint32_t", "MARKS_9", "M of 9.0", ranges(lambda c: c in IN_9 and CATEGORY_IN_9.get(c, u.category(chr(c)))[0] == "M"), 8)
extend = break_class("EX") | break_class("SM") | break_class("ZWJ")
extend.update(c for first, last in NEW_EXTEND for c in range(first, last + 1))
table("uint32_t", "CLUSTER_EXTEND", "Grapheme_Cluster_Break Extend, SpacingMark and ZWJ", ranges(lambda c: c in extend), 8)
prepend = break_class("PP") | {0x11F02, 0x113D1}
control = (break_class("CN") | {10, 13} | set(range(0x13430, 0x13440))) - extend
table("uint32_t", "CLUSTER_PREPEND", "Prepend", ranges(lambda c: c in prepend), 8)
table("uint32_t", "CLUSTER_CONTROL", "Control, CR and LF", ranges(lambda c: c in control), 8)
