#!/usr/bin/env python3
"""Write unicode_data.h: what Python's str methods know about characters.

    python3 src/template/unicode.py > src/template/unicode_data.h
"""
import unicodedata

ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def tables(name, mapping):
    """Runs of characters that move by the same distance, every one or every second of them; then
    those that become several."""
    runs, special = [], []
    for c in ALL:
        out = mapping(c)
        if out is None:
            continue
        if len(out) > 1:
            special.append((c, [ord(x) for x in out]))
            continue
        delta = ord(out) - c
        if runs:
            first, last, d, step = runs[-1]
            if d == delta and c - last in (1, 2) and step in (0, c - last):
                runs[-1] = (first, c, d, c - last)
                continue
        runs.append((c, c, delta, 0))
    print(f"static const struct case_run {name}_runs[] = {{")
    for first, last, delta, step in runs:
        print(f"    {{0x{first:X}, {last - first}, {int(step == 2)}, {delta}}},")
    print("};\n")
    print(f"static const struct case_special {name}_specials[] = {{")
    for c, out in special:
        out = ", ".join(f"0x{x:X}" for x in out)
        print(f"    {{0x{c:X}, {{{out}}}}},")
    print("};\n")


def different(method, base=None):
    def mapping(c):
        out = getattr(chr(c), method)()
        same = chr(c) if base is None else getattr(chr(c), base)()
        return None if out == same else out
    return mapping


print(f"""/*
 * unicode_data.h - written by unicode.py from Unicode {unicodedata.unidata_version}; do not edit.
 */
#ifndef SLM_TEXT_TEMPLATE_UNICODE_DATA_H
#define SLM_TEXT_TEMPLATE_UNICODE_DATA_H

/* clang-format off */
""")
tables("lower", different("lower"))
tables("upper", different("upper"))
tables("title", different("title", "upper"))
print("/* From each of these on, characters are printable if those before were not, and the reverse. */")
print("static const uint32_t printable_changes[] = {")
changes, printable = [], False
for c in range(0x110000):
    if chr(c).isprintable() != printable:
        printable = not printable
        changes.append(c)
for i in range(0, len(changes), 10):
    print("    " + " ".join(f"0x{c:X}," for c in changes[i:i + 10]))
print("};\n\n/* clang-format on */\n\n#endif")
