"""docs/format.md against the library: two readers, one file, the same bits.

    test_format.py DUMP_TENSORS WRITE_TINY CORPUS [MODEL.slm...]

Each file is read by slm_reader.py, which was written from the page, and by the library (through
dump_tensors, which uses the public API); every weight must agree to the last bit, -0 included.
"""

import os
import struct
import subprocess
import sys
import tempfile
import unittest

from slm_minimal import seeds
from slm_reader import Damaged, File, xxh64

DUMP = WRITE_TINY = CORPUS = None
MODELS = []


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Checksums(unittest.TestCase):
    def test_published_values(self):
        self.assertEqual(xxh64(b""), 0xEF46DB3751D8E999)
        self.assertEqual(xxh64(b"abc"), 0x44BC2CF5AD770999)
        self.assertEqual(xxh64(b"Nobody inspects the spammish repetition"), 0xFBCEA83C8A378BF1)


class Readers(unittest.TestCase):
    def compare(self, path):
        """Every tensor of the file, in order, as two readers see it. Returns the reader's file."""
        mine = File(read(path))
        mine.check_everything()
        theirs = subprocess.run([DUMP, path], stdout=subprocess.PIPE, check=True).stdout
        at = 0
        for t in mine.tensors:
            end = theirs.index(b"\n", at)
            line = theirs[at:end].decode()
            at = end + 1
            layer = -1 if t.layer is None else t.layer
            self.assertEqual(line, f"{t.name} {layer} {t.type} {t.rows} {t.cols}")
            for r in range(t.rows):
                row = struct.pack(f"<{t.cols}f", *mine.row(t, r))
                self.assertEqual(row, theirs[at:at + len(row)], f"{line}, row {r} of {path}")
                at += len(row)
        self.assertEqual(at, len(theirs))
        return mine

    def test_tiny(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tiny.slm")
            subprocess.run([WRITE_TINY, path], check=True)
            f = self.compare(path)
        self.assertEqual({t.type for t in f.tensors}, {"f32", "f16", "bf16", "q8", "q4", "q4a"})
        self.assertEqual(f.metadata, {"name": "tiny", "license": "MIT", "empty": ""})
        self.assertEqual(f.template, "{{ messages[0].content }} é")
        self.assertEqual((f.traits["dim"], f.traits["n_vocab"]), (40, 37))
        self.assertEqual([layer["head_dim"] for layer in f.layers], [10, 12])
        self.assertEqual(f.ropes[1]["base"], 10000.0)
        # The weights are what tiny_file.h says, to half a step of 8 bits.
        embedding = f.tensors[0]
        self.assertEqual((embedding.name, embedding.type), ("embedding", "q8"))
        for r in (0, 16, 36):
            for c, w in enumerate(f.row(embedding, r)):
                self.assertLess(abs(w - tiny_weight(1, 0xFFFFFFFF, r, c)), 0.5 / 127 + 0.001)

    def test_models(self):
        for path in MODELS:
            with self.subTest(path):
                self.compare(path)

    def test_library_reads_what_python_writes(self):
        for name, contents in seeds().items():
            with self.subTest(name), tempfile.NamedTemporaryFile(suffix=".slm") as f:
                f.write(contents)
                f.flush()
                self.compare(f.name)

    def test_corpus_is_what_the_script_makes(self):
        for name, contents in seeds().items():
            with self.subTest(name):
                self.assertEqual(read(os.path.join(CORPUS, name)), contents)

    def test_python_reader_refuses_damage(self):
        good = seeds()["sections.slm"]
        File(good).check_everything()
        for byte in range(0, len(good), 11):
            bad = good[:byte] + bytes([good[byte] ^ 4]) + good[byte + 1:]
            with self.subTest(byte), self.assertRaises(Damaged):
                File(bad).check_everything()
        for n in range(0, len(good), 101):
            with self.subTest(n), self.assertRaises(Damaged):
                File(good[:n])


def tiny_weight(role, layer, row, col):
    """Weight of tests/unit/tiny_file.h."""
    m = 0xFFFFFFFF
    x = (role * 0x9E3779B1 ^ (layer + 1) * 0x85EBCA77 ^ row * 0xC2B2AE3D ^ col) & m
    for _ in range(2):
        x ^= x >> 16
        x = x * 0x7FEB352D & m
        x ^= x >> 15
        x = x * 0x846CA68B & m
    return (x - (1 << 32) if x >> 31 else x) / 2147483648


if __name__ == "__main__":
    DUMP, WRITE_TINY, CORPUS, *MODELS = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])
