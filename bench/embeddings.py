#!/usr/bin/env python3
"""How far vectors of an embedding model are from those of transformers in float32, for each weight type.

    pip install torch transformers numpy && python3 bench/embeddings.py build/examples/slm/slm MODEL_FOLDER TEXT_FILE

MODEL_FOLDER is a Hugging Face directory of an encoder whose vectors are means of length 1 (all-MiniLM-L6-v2); of
TEXT_FILE the first 200 lines of 40 to 400 characters are taken (WikiText-2's wiki.test.raw).
"""
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

N, NEIGHBOURS = 200, 10


def reference(folder, lines):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        means = [model(**tokenizer(line, return_tensors="pt")).last_hidden_state[0].mean(0) for line in lines]
    return torch.nn.functional.normalize(torch.stack(means)).numpy()


def neighbours(vectors):
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -2)
    return [set(row) for row in np.argsort(-similar, 1)[:, :NEIGHBOURS]]


def main():
    slm, folder, text = sys.argv[1:4]
    lines = [line.strip() for line in open(text, encoding="utf-8")]
    lines = [line for line in lines if 40 <= len(line) <= 400 and not line.startswith("=")][:N]
    assert len(lines) == N
    wanted = reference(folder, lines)
    near = neighbours(wanted)
    print("type      size  least cosine  the same %d neighbours" % NEIGHBOURS)
    with tempfile.TemporaryDirectory() as temporary:
        for kind in ("f32", "q8", "q4a", "q4"):
            model = os.path.join(temporary, kind + ".slm")
            subprocess.run([slm, "convert", folder, "-o", model, "--type", kind], check=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
            out = subprocess.run([slm, "embed", model, "-f", "-"], input="\n".join(lines) + "\n", check=True,
                                 capture_output=True, text=True).stdout
            ours = np.array([[float(x) for x in line.split()] for line in out.splitlines()])
            same = np.mean([len(a & b) / NEIGHBOURS for a, b in zip(near, neighbours(ours))])
            print("%-4s  %5.1f MB     %.7f  %5.1f %%" % (kind, os.path.getsize(model) / 1e6,
                                                        (ours * wanted).sum(1).min(), 100 * same), flush=True)


if __name__ == "__main__":
    main()
