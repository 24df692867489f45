#!/usr/bin/env python3
"""Compare the speed of tokenizing: libslm, Hugging Face's tokenizers, llama.cpp; one thread each.

    pip install tokenizers && python3 bench/peers/vocabularies.py BUILD TEXT NAME=FILE[,GGUF][,TOKENIZER_JSON]...
        [--llama-tokenize PROGRAM]

BUILD is a build folder with examples/slm/slm and bench/bench_tokenizer. FILE is what libslm reads the vocabulary from.
GGUF is for llama.cpp's llama-tokenize, whose time with an empty text is taken off; TOKENIZER_JSON for tokenizers,
which gets the text line by line, its fastest way. The three take turns, and medians are printed: only figures of one
run may be compared.
"""
import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"


def run(*command):
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          stdin=subprocess.DEVNULL, text=True).stdout


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ours(build, model, text):
    out = run(build / "bench" / "bench_tokenizer", model, text)
    return float(re.search(r"opening: ([\d.]+)", out)[1]), float(re.search(r"by line \| ([\d.]+)", out)[1])


def llama(program, gguf, text, empty):
    """MB/s; loading the vocabulary takes most of the time, so take it off."""
    spent = [seconds(lambda f=f: run(program, "-m", gguf, "-f", f, "--no-bos", "--no-parse-special", "--ids",
                                     "--log-disable")) for f in (text, empty)]
    return os.path.getsize(text) * 1e-6 / (spent[0] - spent[1])


def compare(options, name, files, folder):
    source, gguf, tokenizer = files[0], None, None
    for file in files:
        gguf = file if file.endswith(".gguf") else gguf
        tokenizer = file if file.endswith(".json") else tokenizer
    model, empty = folder / "vocabulary.slm", folder / "empty.txt"
    run(options.build / "examples" / "slm" / "slm", "convert", source, "-o", model, "--vocabulary")
    empty.write_text("a", encoding="utf-8")
    megabytes, lines, theirs = os.path.getsize(options.text) * 1e-6, None, {"tokenizers": [], "llama.cpp": []}
    if tokenizer:
        from tokenizers import Tokenizer
        reference = Tokenizer.from_file(tokenizer)
        lines = options.text.read_text(encoding="utf-8").splitlines(True)
    rows = []
    for _ in range(options.repeat):
        rows.append(ours(options.build, model, options.text))
        if lines:
            theirs["tokenizers"].append(megabytes / seconds(
                lambda: [reference.encode(line, add_special_tokens=False) for line in lines]))
        if gguf and options.llama_tokenize:
            theirs["llama.cpp"].append(llama(options.llama_tokenize, gguf, options.text, empty))
    opening, speed = (statistics.median(column) for column in zip(*rows))
    print(f"| {name} | {speed:.1f} |", end="")
    for peer in theirs.values():
        print(f" {statistics.median(peer):.2f} ({speed / statistics.median(peer):.0f} x) |" if peer else " |", end="")
    print(f" {opening:.3f} ms | {os.path.getsize(model) * 1e-6:.2f} MB |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("vocabularies", nargs="+", metavar="NAME=FILE[,GGUF][,TOKENIZER_JSON]")
    parser.add_argument("--llama-tokenize", metavar="PROGRAM")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print("| vocabulary | libslm, MB/s | tokenizers | llama.cpp | opening | file |\n|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for one in options.vocabularies:
            name, _, files = one.partition("=")
            compare(options, name, files.split(","), pathlib.Path(folder))


if __name__ == "__main__":
    sys.exit(main())
