"""docs/numerics.md against the library: what was computed from the page, and what the library
computed, are the same bits.

    test_numerics.py WRITE_LOGITS
"""

import glob
import os
import struct
import subprocess
import sys
import tempfile
import unittest

import numerics

WRITE_LOGITS = None


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Numerics(unittest.TestCase):
    def test_every_tiny_model(self):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([WRITE_LOGITS, folder], check=True)
            paths = sorted(glob.glob(os.path.join(folder, "*.slm")))
            self.assertGreaterEqual(len(paths), 7)
            for path in paths:
                stem = path[:-4]
                model = numerics.Model(read(path))
                ids = read(stem + ".ids")
                tokens = struct.unpack(f"<{len(ids) // 4}i", ids)
                if os.path.exists(stem + ".pooled"):
                    # An encoder keeps nothing, so it rounds no keys and values.
                    pooled = model.pooled(tokens, "f16" if model.file.traits["attention"] == 1 else "f32", 11)
                    mine = pooled + model.scores(pooled)
                    self.assertEqual(struct.pack(f"<{len(mine)}f", *mine), read(stem + ".pooled"), stem)
                    continue
                for ending in ("f16", "f32", "q8"):
                    theirs = read(f"{stem}.{ending}")
                    rows = model.logits(tokens, pages=ending)
                    width = 4 * len(rows[0])
                    self.assertEqual(len(theirs), width * len(tokens))
                    for i, row in enumerate(rows):
                        mine = struct.pack(f"<{len(row)}f", *row)
                        self.assertEqual(mine, theirs[i * width:(i + 1) * width],
                                         f"{os.path.basename(path)}, {ending} pages, position {i}")

    def test_fma_rounds_once(self):
        # a * a = 1 + 2^-11 + 2^-24 is the middle of two f32. A little more or less decides, even
        # where binary64 does not see it.
        a = 1 + 2.0 ** -12
        self.assertEqual(numerics.fma(a, a, 0.0), 1 + 2.0 ** -11)
        self.assertEqual(numerics.fma(a, a, 2.0 ** -80), 1 + 2.0 ** -11 + 2.0 ** -23)
        self.assertEqual(numerics.fma(a, a, -(2.0 ** -80)), 1 + 2.0 ** -11)


if __name__ == "__main__":
    WRITE_LOGITS = sys.argv.pop(1)
    unittest.main()
