"""The tokenizer section, read by slm_tokenizer.py, must give what the reference libraries give.

usage: test_tokenizer.py DUMP_TOKENIZER FOLDER      (tests/data/tokenizers)
"""
import pathlib
import struct
import subprocess
import sys
import unicodedata

from slm_tokenizer import Tokenizer


def fnv(text):
    h = 0x811C9DC5
    for byte in text.encode():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def texts(data):
    n, at = struct.unpack_from("<I", data)[0], 4
    for _ in range(n):
        length = struct.unpack_from("<I", data, at)[0]
        yield data[at + 4:at + 4 + length]
        at += 4 + length


def check_stress(cases):
    """The texts must have what makes tokenizers differ."""
    whole = [c.decode() for c in cases if c.decode("utf-8", "replace").encode() == c]
    letters = {c for text in whole for c in text if unicodedata.category(c)[0] == "L"}
    scripts = {unicodedata.name(c, "?").split(" ")[0] for c in letters}
    assert len(scripts) >= 40, scripts
    everything = b"".join(cases)
    for what in ("e\u0301", "\u202e", "\u200d\U0001f467", "\U0001f44d\U0001f3fd", "\U0001f1e9\U0001f1ea", "\ufe0f", "\u3000", "\u0663",
                 "\u05e9\u05dc", "\u0645\u0631", "\t\t\t", "\n\n\n", "\r\n\r\n", "def f(", "https://", "12345", "<|end|>", "\0", "\x1f", "\x7f"):
        assert what.encode() in everything, what
    for what in (b"\xed\xa0\x80", b"\xff", b"\xc0\xaf", b"\xe2\x82"):
        assert any(what in c and c.decode("utf-8", "replace").encode() != c for c in cases), what


def check(tokenizer, name, cases, expected):
    at = 0
    for number, text in enumerate(cases):
        n = struct.unpack_from("<H", expected, at)[0]
        ids = list(struct.unpack_from(f"<{n}H", expected, at + 2))
        dropped, kept = struct.unpack_from("<II", expected, at + 2 + 2 * n)
        at += 10 + 2 * n
        ours = tokenizer.encode(text)
        if ours != ids:
            return f"{name}: text {number} {text!r}: {ours}, should be {ids}"
        shows_special = name not in ("tok512", "t5") and not name.startswith("sp-")  # sentencepiece never does
        if fnv(tokenizer.decode(ids, False)) != dropped or shows_special and fnv(tokenizer.decode(ids, True)) != kept:
            return f"{name}: text {number} {text!r} does not come back"
    return None


def main():
    dump, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    cases = list(texts((folder / "cases.bin").read_bytes()))
    check_stress(cases)
    failed = 0
    for file in sorted(folder.glob("*.expected")):
        source = next(file.with_suffix(e) for e in (".json", ".model", ".gguf") if file.with_suffix(e).exists())
        own = file.with_suffix(".bin")
        these = list(texts(own.read_bytes()))[:100] if own.exists() else cases
        section = subprocess.run([dump, source], check=True, capture_output=True).stdout
        wrong = check(Tokenizer(section), file.stem, these, file.read_bytes())
        print(wrong or f"{file.stem}: {len(these)} texts")
        failed += wrong is not None
    return failed


if __name__ == "__main__":
    sys.exit(main() != 0)
