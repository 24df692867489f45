"""Quantized weights and 8-bit activations in PyTorch, as docs/numerics.md and docs/format.md have them.

Every block of 32 weights of a row has a 16-bit scale (q4a: and a minimum); every block of 32
activations is rounded to 8 bits before it meets them. Here both are multiplied out to float32 again:
the sums are the same but for the order in which they round.
"""
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D


def blocks(x):
    """[..., n] to [..., n / 32 rounded up][32], filled up with zeros."""
    x = nn.functional.pad(x, (0, -x.shape[-1] % 32))
    return x.view(*x.shape[:-1], -1, 32)


def divide(a, b):
    return torch.where(b == 0, torch.zeros_like(a), a / b)


def q8(w):
    scale = (w.abs().amax(-1, keepdim=True) / 127).half().float()
    return divide(w, scale).round().clamp(-127, 127) * scale


def q4(w):
    extreme = w.gather(-1, w.abs().argmax(-1, keepdim=True))
    scale = (extreme / -8).half().float()
    return divide(w, scale).round().clamp(-8, 7) * scale


def q4a(w):
    low, high = w.amin(-1, keepdim=True), w.amax(-1, keepdim=True)
    scale, low = ((high - low) / 15).half().float(), low.half().float()
    return divide(w - low, scale).round().clamp(0, 15) * scale + low


QUANTIZERS = {"q8": q8, "q4": q4, "q4a": q4a}


class Quantized(nn.Module):
    """A linear layer with quantized weights that reads quantized activations."""

    def __init__(self, weight, bias, quantizer):
        super().__init__()
        self.weight, self.bias = quantizer(blocks(weight)).flatten(-2), bias
        self.doubts = []  # for each row, how close an activation came to the middle between integers

    def forward(self, x):
        x = blocks(x)
        scale = x.abs().amax(-1, keepdim=True) / 127
        steps = divide(x, scale)
        self.doubts += (steps - steps.floor() - 0.5).abs().flatten(-2).amin(-1).flatten().tolist()
        return nn.functional.linear((steps.round() * scale).flatten(-2), self.weight, self.bias)


def multiply_out(model):
    """A narrow embedding with matrices on both sides (OPT) as two wide ones."""
    decoder = getattr(getattr(model, "model", None), "decoder", None)
    if getattr(decoder, "project_in", None) is None:
        return
    embedding = decoder.embed_tokens.weight.data.double()
    wide = [(embedding @ m).float() for m in (decoder.project_in.weight.data.double().T, decoder.project_out.weight.data.double())]
    decoder.project_in = decoder.project_out = None
    decoder.embed_tokens.weight = nn.Parameter(wide[0])
    model.lm_head = nn.Linear(*reversed(wide[1].shape), bias=False)
    model.lm_head.weight = nn.Parameter(wide[1])


class QuantizedExperts(nn.Module):
    """Experts likewise. A router is no nn.Linear, and stays as it is."""

    def __init__(self, experts, quantizer):
        super().__init__()
        up, down = experts.gate_up_proj.data, experts.down_proj.data
        self.oss = experts if hasattr(experts, "gate_up_proj_bias") else None
        self.act = getattr(experts, "act_fn", None)
        n, up_bias, down_bias = len(up), [None] * len(up), [None] * len(up)
        if self.oss is not None:
            up, down, up_bias, down_bias = up.mT, down.mT, experts.gate_up_proj_bias, experts.down_proj_bias
        # in a plain list, so that certain_rows() does not find them: their rows are not the text's
        self.experts = [(Quantized(up[i], up_bias[i], quantizer), Quantized(down[i], down_bias[i], quantizer))
                        for i in range(n)]
        self.doubts = []

    def forward(self, x, chosen, weights):
        out, doubts = torch.zeros_like(x), []
        for row in range(len(x)):
            least = 1.0
            for e, weight in zip(chosen[row].tolist(), weights[row]):
                up, down = self.experts[e]
                h = up(x[row:row + 1])
                h = self.oss._apply_gate(h) if self.oss is not None else self.act(h.chunk(2, -1)[0]) * h.chunk(2, -1)[1]
                out[row] += weight * down(h)[0]
                least = min(least, up.doubts.pop(), down.doubts.pop())
            doubts.append(least)
        self.doubts += doubts
        return out


def quantize(model, quantizer, experts=None):
    """All matrices of a model, in place. The embedding is looked up, not multiplied: what comes out of
    it keeps its digits. experts: another quantizer for theirs."""
    with torch.no_grad():
        multiply_out(model)
        embedding = model.get_input_embeddings()
        columns = embedding.weight.shape[1]
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if hasattr(child, "gate_up_proj") and hasattr(child, "down_proj") and isinstance(child.down_proj, nn.Parameter):
                    setattr(module, name, QuantizedExperts(child, experts or quantizer))
                elif name == "shared_expert_gate":
                    continue # like routers
                elif isinstance(child, nn.Linear):
                    setattr(module, name, Quantized(child.weight.data, child.bias, quantizer))
                elif isinstance(child, Conv1D): # GPT-2's, a column for each output
                    setattr(module, name, Quantized(child.weight.data.T, child.bias, quantizer))
        embedding.weight = nn.Parameter(quantizer(blocks(embedding.weight.data)).flatten(-2)[:, :columns].clone())


def certain_rows(model, most, doubt=5e-5):
    """After a text: how many of its first rows, at most `most`, have no activation that a different
    order of summation could round to another integer. (Later rows read the ones before them.)"""
    layers = [m.doubts for m in model.modules() if isinstance(m, (Quantized, QuantizedExperts))]
    rows = [min(doubts) for doubts in zip(*layers)]
    return next((i for i, least in enumerate(rows[:most]) if least < doubt), most)
