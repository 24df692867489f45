"""Measure a peer that comes as a Python package; runs in that package's own environment.

    genai.py openvino|onnx|ctranslate2 MODEL_DIR [--prompt 512] [--generate 128] [--threads 2]

Prints one JSON object: tokens a second of a prompt (until the first new token is there) and of
decoding greedily after it. The token ids are random, and others each time: OpenVINO keeps prefixes.
"""

import argparse
import json
import random
import time


def random_ids(n, n_vocab=49152):
    return [random.randrange(100, n_vocab) for _ in range(n)]


def openvino(folder, threads):
    import numpy
    import openvino
    import openvino_genai

    pipeline = openvino_genai.LLMPipeline(
        folder, "CPU", INFERENCE_NUM_THREADS=threads, PERFORMANCE_HINT="LATENCY")

    def generate(ids, n):
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = n
        config.ignore_eos = True
        config.do_sample = False
        pipeline.generate(openvino.Tensor(numpy.array([ids], dtype=numpy.int64)), config)

    return generate


def onnx(folder, threads):
    import onnxruntime_genai

    config = onnxruntime_genai.Config(folder)
    options = {"session_options": {"intra_op_num_threads": threads}}
    config.overlay(json.dumps({"model": {"decoder": options}}))
    model = onnxruntime_genai.Model(config)

    def generate(ids, n):
        parameters = onnxruntime_genai.GeneratorParams(model)
        length = len(ids) + n
        parameters.set_search_options(max_length=length, min_length=length, do_sample=False)
        generator = onnxruntime_genai.Generator(model, parameters)
        generator.append_tokens(ids)
        for _ in range(n):
            generator.generate_next_token()

    return generate


def ctranslate2(folder, threads):
    import ctranslate2 as ct2

    model = ct2.Generator(folder, device="cpu", intra_threads=threads, inter_threads=1)
    with open(f"{folder}/vocabulary.json", encoding="utf-8") as file:
        vocabulary = json.load(file)

    def generate(ids, n):
        model.generate_batch([[vocabulary[i] for i in ids]], min_length=n, max_length=n,
                             sampling_topk=1, include_prompt_in_result=False)

    return generate


def seconds(generate, n_prompt, n):
    start = time.perf_counter()
    generate(random_ids(n_prompt), n)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=["openvino", "onnx", "ctranslate2"])
    parser.add_argument("model")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    generate = globals()[a.peer](a.model, a.threads)
    for n in (1, 8):  # what is compiled or allocated at the first use
        seconds(generate, a.prompt, n)
    # Medians, because decoding is the difference of two of them.
    first = sorted(seconds(generate, a.prompt, 1) for _ in range(3))[1]
    whole = sorted(seconds(generate, a.prompt, 1 + a.generate) for _ in range(3))[1]
    print(json.dumps({"prefill": a.prompt / first, "decode": a.generate / (whole - first)}))


if __name__ == "__main__":
    main()
