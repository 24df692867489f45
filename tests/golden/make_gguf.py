#!/usr/bin/env python3
"""Put a model.gguf beside the models of tests/data/golden: llama.cpp's own conversion of them.

    pip install torch transformers gguf && python3 tests/golden/make_gguf.py LLAMA_CPP_FOLDER [NAME...]

It permutes, splits, renames and describes what the folder holds, and adds nothing, so both must become
the same .slm. The models have no tokenizer, which llama.cpp's converter is told not to miss.
"""
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

DATA = Path(os.path.abspath(__file__)).parent.parent / "data" / "golden"

# Of LLaMA and its kin some are enough.
CHOSEN = ["llama-biases",  # rows and biases of q and k change places
          "llama3-old",    # RoPE scaling as a tensor of divisors
          "yarn-old",      # RoPE scaling as keys
          "qwen2"]         # rows stay where they are
LLAMAS = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM")

# Once more with q, k and v in one matrix: model-fused.gguf.
FUSED = ["granite", "starcoder2-full"]

# Why a model of another family has no model.gguf.
EXCEPTIONS = {
    "gpt-j": "llama.cpp has no converter for it",
    "opt": "llama.cpp has no converter for it",
    "opt-350m": "llama.cpp has no converter for it",
    "gpt-neox-sequential": "llama.cpp's converter leaves out the base of RoPE",
    "falcon-7b": "llama.cpp's converter leaves out the base of RoPE",
    "falcon-rw": "llama.cpp's converter has no name for its second norm, nor a key for its slopes",
    "gemma2-scalar": "GGUF has no key for this scale of attention, and caps are implied in it",
    "gemma3-new": "GGUF has no key for this scale of attention",
    "starcoder2": "llama.cpp's converter leaves out its window",
    "qwen2-moe-dense": "llama.cpp's router is that of published models, which have experts in every layer",
    "qwen3-moe-step": "llama.cpp's router is that of published models, which have experts in every layer",
    "phi-qk-norm": "llama.cpp's converter has no names for these norms",
}


def convert(folder, out, converters, **options):
    """In a copy, beside a tokenizer that has as many tokens as the model."""
    model_class, gguf = converters
    with tempfile.TemporaryDirectory() as copy:
        for file in ("config.json", "model.safetensors"):
            shutil.copy(folder / file, copy)
        config = json.loads((folder / "config.json").read_text())
        vocab = {"<%d>" % i: i for i in range(config["vocab_size"])}
        (Path(copy) / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": []}))
        base = model_class(config["architectures"][0])

        def modify_tensors(self, data, name, bid):
            """StableLM's is a generator that returns another one (ggml 0.25): yield what that has."""
            yield from (yield from base.modify_tensors(self, data, name, bid)) or ()

        converter = type("Converter", (base,), {"model_arch": base.model_arch, "set_vocab": lambda self: None,
                                                "modify_tensors": modify_tensors})
        hparams = {**config, **base.load_hparams(Path(copy), False)} # newer transformers drop old names
        converter(Path(copy), gguf.LlamaFileType.MOSTLY_BF16, out, eager=True, hparams=hparams, **options).write()


def main():
    llama_cpp, wanted = sys.argv[1], sys.argv[2:]
    sys.path[:0] = [os.path.join(llama_cpp, "gguf-py"), llama_cpp]
    import gguf
    from conversion import get_model_class

    converters = get_model_class, gguf
    total = 0
    for folder in sorted(DATA.iterdir()):
        name = folder.name
        cls = json.loads((folder / "config.json").read_text())["architectures"][0]
        if name in EXCEPTIONS or (cls in LLAMAS and name not in CHOSEN) or (wanted and name not in wanted):
            continue
        convert(folder, folder / "model.gguf", converters)
        if name in FUSED:
            convert(folder, folder / "model-fused.gguf", converters, fuse_qkv=True)
        size = os.path.getsize(folder / "model.gguf")
        print("%-22s %6d bytes" % (name, size), flush=True)
        assert size < 120000
        total += size
    print("%d bytes" % total)


if __name__ == "__main__":
    main()
