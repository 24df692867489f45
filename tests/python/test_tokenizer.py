"""The tokenizer section, read by slm_tokenizer.py, must give what the reference libraries give.

usage: test_tokenizer.py DUMP_TOKENIZER FOLDER      (tests/data/tokenizers)
"""
import pathlib
import struct
import subprocess
import sys

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
