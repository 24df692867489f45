"""OpenELM in PyTorch, for make_families.py: transformers has no class for it.

Written from the paper (Mehta et al., 2024, https://arxiv.org/abs/2404.14619) and from what its authors' own
code does (modeling_openelm.py, beside the weights of https://huggingface.co/apple/OpenELM-270M): names
of tensors, the order in fused matrices (queries, keys, values; gate, up), norms of queries and keys before they
rotate, the epsilon of 1e-6, and how the width of a feed-forward block is rounded.
"""
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

EPSILON = 1e-6


class OpenELMConfig(PretrainedConfig):
    model_type = "openelm"

    def __init__(self, share_input_output_layers=True, **more):
        super().__init__(tie_word_embeddings=share_input_output_layers, **more)
        self.share_input_output_layers = share_input_output_layers


def width_of(factor, dim, divisor):
    width = max(divisor, int(factor * dim + divisor / 2) // divisor * divisor)
    return width + divisor if width < 0.9 * factor * dim else width


class Norm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON) * self.weight


def rotated(x, base):
    """x: [heads][positions][dim]; dimension i is paired with i + dim / 2."""
    dim = x.shape[-1]
    frequencies = 1 / base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    angles = torch.arange(x.shape[-2], dtype=torch.float32)[:, None] * frequencies
    first, second = x.chunk(2, -1)
    return torch.cat((first * angles.cos() - second * angles.sin(),
                      second * angles.cos() + first * angles.sin()), -1)


class Attention(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.heads, self.kv_heads = config.num_query_heads[layer], config.num_kv_heads[layer]
        self.head_dim, self.base = config.head_dim, config.rope_freq_constant
        self.qkv_proj = nn.Linear(config.model_dim, (self.heads + 2 * self.kv_heads) * self.head_dim, bias=False)
        self.out_proj = nn.Linear(self.heads * self.head_dim, config.model_dim, bias=False)
        self.q_norm = Norm(self.head_dim) if config.normalize_qk_projections else nn.Identity()
        self.k_norm = Norm(self.head_dim) if config.normalize_qk_projections else nn.Identity()

    def forward(self, x):
        n = x.shape[0]
        qkv = self.qkv_proj(x).view(n, -1, self.head_dim).transpose(0, 1)
        q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads])
        q, k = rotated(self.q_norm(q), self.base), rotated(self.k_norm(k), self.base)
        k, v = (t.repeat_interleave(self.heads // self.kv_heads, 0) for t in (k, v))
        scores = (q @ k.transpose(1, 2) * self.head_dim ** -0.5).masked_fill(
            torch.ones(n, n, dtype=torch.bool).triu(1), -torch.inf)
        return self.out_proj((scores.softmax(-1) @ v).transpose(0, 1).reshape(n, -1))


class FeedForward(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        width = width_of(config.ffn_multipliers[layer], config.model_dim, config.ffn_dim_divisor)
        self.proj_1 = nn.Linear(config.model_dim, 2 * width, bias=False)
        self.proj_2 = nn.Linear(width, config.model_dim, bias=False)

    def forward(self, x):
        gate, up = self.proj_1(x).chunk(2, -1)
        return self.proj_2(nn.functional.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, config, layer):
        super().__init__()
        self.attn, self.ffn = Attention(config, layer), FeedForward(config, layer)
        self.attn_norm, self.ffn_norm = Norm(config.model_dim), Norm(config.model_dim)

    def forward(self, x):
        x = x + self.attn(self.attn_norm(x))
        return x + self.ffn(self.ffn_norm(x))


class OpenELMModel(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.token_embeddings = nn.Embedding(config.vocab_size, config.model_dim)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_transformer_layers))
        self.norm = Norm(config.model_dim)


class OpenELMForCausalLM(PreTrainedModel):
    config_class = OpenELMConfig
    base_model_prefix = "transformer"
    _tied_weights_keys = {"lm_head.weight": "transformer.token_embeddings.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.transformer = OpenELMModel(config)
        self.lm_head = nn.Linear(config.model_dim, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.transformer.token_embeddings

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, input_ids, **_):
        """One text."""
        x = self.transformer.token_embeddings(input_ids[0])
        for layer in self.transformer.layers:
            x = layer(x)
        return CausalLMOutput(logits=self.lm_head(self.transformer.norm(x))[None])


AutoConfig.register("openelm", OpenELMConfig)
AutoModelForCausalLM.register(OpenELMConfig, OpenELMForCausalLM)
