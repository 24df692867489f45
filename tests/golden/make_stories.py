#!/usr/bin/env python3
"""Make ids.txt, text.txt and logits*.f32 in tests/data/stories260K/ from the checkpoint there.

    pip install torch transformers && python3 tests/golden/make_stories.py

The checkpoint goes into a transformers LlamaForCausalLM, which computes in float32 with eager
attention: 200 tokens chosen greedily from BOS on, then the logits of all of them in one pass.
logits.f32 is little-endian float32 [200][512]; row i predicts the token after ids[i].

ids.quantized.txt is a short piece of the same text, chosen so that no rounding hangs on the order of a
sum, and logits.q8.f32 and its like are its rows with quantized weights and activations (quantized.py).
"""
import os
import struct

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from quantized import QUANTIZERS, certain_rows, quantize

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "stories260K")
N = 200
N_QUANTIZED = 6


def read_checkpoint(path):
    """The seven numbers of the header, and the tensors under the names of transformers."""
    with open(path, "rb") as file:
        raw = file.read()
    dim, ffn, layers, heads, kv, vocab, context = struct.unpack("<7i", raw[:28])
    assert vocab > 0  # embedding and head are one tensor
    head_dim = dim // heads
    numbers, at = np.frombuffer(raw, "<f4", offset=28), 0

    def take(*shape):
        nonlocal at
        n = int(np.prod(shape))
        at += n
        return torch.from_numpy(numbers[at - n:at].reshape(shape).copy())

    def halves(w, n):
        """llama2.c rotates dimensions (2i, 2i + 1), transformers (i, i + head_dim / 2)."""
        return w.view(n, head_dim // 2, 2, dim).transpose(1, 2).reshape(n * head_dim, dim).contiguous()

    embedding, attn_norm = take(vocab, dim), take(layers, dim)
    q, k, v = take(layers, heads * head_dim, dim), take(layers, kv * head_dim, dim), take(layers, kv * head_dim, dim)
    out, ffn_norm = take(layers, dim, heads * head_dim), take(layers, dim)
    gate, down, up = take(layers, ffn, dim), take(layers, dim, ffn), take(layers, ffn, dim)
    final_norm, _ = take(dim), take(2, context, head_dim // 2)  # the latter: cosines and sines
    assert at == len(numbers)

    tensors = {"model.embed_tokens.weight": embedding, "model.norm.weight": final_norm}
    for i in range(layers):
        tensors.update(("model.layers.%d.%s.weight" % (i, name), tensor) for name, tensor in (
            ("input_layernorm", attn_norm[i]), ("post_attention_layernorm", ffn_norm[i]),
            ("self_attn.q_proj", halves(q[i], heads)), ("self_attn.k_proj", halves(k[i], kv)),
            ("self_attn.v_proj", v[i]), ("self_attn.o_proj", out[i]),
            ("mlp.gate_proj", gate[i]), ("mlp.down_proj", down[i]), ("mlp.up_proj", up[i])))
    config = LlamaConfig(vocab_size=vocab, hidden_size=dim, intermediate_size=ffn, num_hidden_layers=layers,
                         num_attention_heads=heads, num_key_value_heads=kv, max_position_embeddings=context,
                         rms_norm_eps=1e-5, tie_word_embeddings=True,
                         rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    return config, tensors


def read_pieces(path, vocab):
    """llama2.c's tokenizer.bin: the longest length, then score, length and bytes of each token."""
    with open(path, "rb") as file:
        raw = file.read()
    pieces, at = [], 4
    for _ in range(vocab):
        n = struct.unpack("<i", raw[at + 4:at + 8])[0]
        pieces.append(raw[at + 8:at + 8 + n])
        at += 8 + n
    return pieces


def text_of(ids, pieces):
    """0 to 2 are <unk>, BOS and EOS, 3 to 258 the bytes; a text begins without its first space."""
    parts = (bytes([i - 3]) if 3 <= i < 259 else pieces[i] for i in ids if i > 2)
    return b"".join(parts).removeprefix(b" ")


def make_model():
    config, tensors = read_checkpoint(os.path.join(DATA, "stories260K.bin"))
    config._attn_implementation = "eager"
    model = LlamaForCausalLM(config).float().eval()
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert set(missing) <= {"lm_head.weight"} and not unexpected
    model.tie_weights()
    return model


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def quantized(ids, quantizer):
    """[logits], or nothing if they are not certain."""
    model = make_model()
    quantize(model, quantizer)
    logits = logits_of(model, ids)
    return [logits] if certain_rows(model, len(ids)) == len(ids) else []


def save_ids(name, ids):
    with open(os.path.join(DATA, name), "w", newline="\n") as out:
        out.writelines("%d\n" % i for i in ids)


def save(name, logits):
    logits.numpy().astype("<f4").tofile(os.path.join(DATA, name))
    top = logits.sort(-1).values
    print("%-15s %3d rows, smallest margin %.4f, std %.2f"
          % (name, len(logits), (top[:, -1] - top[:, -2]).min(), logits.std()))


def main():
    torch.set_num_threads(1)
    model = make_model()
    ids = [1]
    while len(ids) < N:
        ids.append(int(logits_of(model, ids)[-1].argmax()))
    logits = logits_of(model, ids)
    assert logits.argmax(-1)[:-1].tolist() == ids[1:]
    save_ids("ids.txt", ids)
    with open(os.path.join(DATA, "text.txt"), "wb") as out:
        out.write(text_of(ids, read_pieces(os.path.join(DATA, "tok512.bin"), model.config.vocab_size)))
    save("logits.f32", logits)

    for start in range(1, N - N_QUANTIZED):
        piece = ids[start:start + N_QUANTIZED]
        results = [quantized(piece, quantizer) for quantizer in QUANTIZERS.values()]
        if all(results):
            break
    save_ids("ids.quantized.txt", piece)
    for name, result in zip(QUANTIZERS, results):
        save("logits.%s.f32" % name, result[0])


main()
