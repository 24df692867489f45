#!/usr/bin/env python3
"""Put a model.gguf beside some models of tests/data/golden: llama.cpp's own conversion of them.

    pip install torch transformers gguf && python3 tests/golden/make_gguf.py LLAMA_CPP_FOLDER

It permutes, renames and describes what the folder holds, and adds nothing, so both must become the
same .slm. The models have no tokenizer, which llama.cpp's converter is told not to miss.
"""
import os
import sys
from pathlib import Path

MODELS = [
    "llama-biases",  # rows and biases of q and k change places
    "llama3-old",    # RoPE scaling as a tensor of divisors
    "yarn-old",      # RoPE scaling as keys
    "qwen2",         # rows stay where they are
]
DATA = Path(os.path.abspath(__file__)).parent.parent / "data" / "golden"


def main():
    llama_cpp = sys.argv[1]
    sys.path[:0] = [os.path.join(llama_cpp, "gguf-py"), llama_cpp]
    import gguf
    from conversion.base import ModelBase
    from conversion.llama import LlamaModel
    from conversion.qwen import Qwen2Model

    for name in MODELS:
        folder = DATA / name
        architecture = ModelBase.load_hparams(folder, False)["architectures"][0]
        base = Qwen2Model if architecture == "Qwen2ForCausalLM" else LlamaModel
        converter = type("Converter", (base,), {"model_arch": base.model_arch, "set_vocab": lambda self: None})
        converter(folder, gguf.LlamaFileType.MOSTLY_BF16, folder / "model.gguf", eager=True).write()
        size = os.path.getsize(folder / "model.gguf")
        print("%s: %d bytes" % (name, size))
        assert size < 100000


main()
