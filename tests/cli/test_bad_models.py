"""slm convert on models that are not what they should be: the message names what is wrong, where it stands in the source."""
import json
import math
import shutil
import struct
import unittest

from support import DATA, CliTest

GOLDEN = DATA / "golden"


class Tensors:
    """A safetensors file, to be changed and written back."""

    def __init__(self, path):
        self.path = path
        data = path.read_bytes()
        length, = struct.unpack_from("<Q", data)
        self.header = json.loads(data[8:8 + length])
        self.data = bytearray(data[8 + length:])

    def write(self):
        header = json.dumps(self.header).encode()
        self.path.write_bytes(struct.pack("<Q", len(header)) + header + self.data)


class BadModels(CliTest):
    def copy(self, name):
        folder = self.folder / "bad"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(GOLDEN / name, folder)
        return folder

    def refused(self, words, *source):
        done = self.bad(1, words, "convert", *(source or [self.folder / "bad"]), "-o", "bad.slm")
        self.assertFalse((self.folder / "bad.slm").exists())
        return done.err

    def with_config(self, words, name="llama-untied", **changes):
        folder = self.copy(name)
        config = {**json.loads((folder / "config.json").read_text()), **changes}
        (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))
        return self.refused(words)

    def with_tensors(self, words, change, name="llama-untied"):
        tensors = Tensors(self.copy(name) / "model.safetensors")
        change(tensors)
        tensors.write()
        return self.refused(words)

    def test_what_is_copied_is_good(self):
        """Otherwise what follows shows nothing."""
        self.copy("llama-untied")
        Tensors(self.folder / "bad" / "model.safetensors").write()
        self.good("convert", self.folder / "bad", "-o", "good.slm")

    def test_unknown_architecture(self):
        text = self.with_config("architecture 'NoSuchForCausalLM' is not supported; supported: LlamaForCausalLM",
                                architectures=["NoSuchForCausalLM"])
        for known in ("Qwen3ForCausalLM", "OpenELMForCausalLM", "GPT2LMHeadModel", "BertModel"):
            self.assertIn(known, text)
        self.with_config("architectures is missing", architectures=...)
        path = self.folder / "other.gguf"
        path.write_bytes((GOLDEN / "qwen2" / "model.gguf").read_bytes().replace(b"qwen2", b"qwenX"))
        text = self.refused("architecture 'qwenX' is not supported; supported: llama", path)
        self.assertIn("openelm", text)

    def test_missing_tensor(self):
        name = "model.layers.1.mlp.up_proj.weight"
        self.with_tensors("tensor '%s' is missing (ffn_up, 52 x 40)" % name, lambda t: t.header.update(other=t.header.pop(name)))

    def test_surplus_tensor(self):
        def add(tensors):
            name = "model.layers.2.self_attn.gate.weight"
            tensors.header[name] = {"dtype": "BF16", "shape": [3, 4], "data_offsets": [len(tensors.data), len(tensors.data) + 24]}
            tensors.data += bytes(24)
        self.with_tensors("tensor 'model.layers.2.self_attn.gate.weight' (3 x 4) is not part of a 'llama' model", add)

    def test_shape(self):
        name = "model.layers.0.mlp.down_proj.weight"
        self.with_tensors("tensor '%s' is 52 x 40, but the configuration makes it 40 x 52" % name,
                          lambda t: t.header[name].update(shape=[52, 40]))
        norm = "model.layers.2.input_layernorm.weight"
        self.with_tensors("tensor '%s' is 4 x 10, but the configuration makes it 40" % norm,
                          lambda t: t.header[norm].update(shape=[4, 10]))

    def test_contradictory_configuration(self):
        self.with_config("5 attention heads can't share 3 key-value heads evenly", num_key_value_heads=3)
        self.with_config("a width of 40 is no multiple of 3 heads, and head_dim is not given", num_attention_heads=3, num_key_value_heads=1)
        self.with_config("layer_types has 2 entries for 3 layers", "qwen2-layer-types", layer_types=["full_attention"] * 2)
        self.with_config("num_kv_heads has 2 entries for 3 layers", "openelm", num_kv_heads=[1, 2])
        self.with_config("hidden_size is 0; it must be a positive integer", hidden_size=0)
        self.with_config("num_hidden_layers is 2.5", num_hidden_layers=2.5)
        self.with_config("hidden_size is not a number", hidden_size="40")
        self.with_config("the epsilon of the norms is 2", rms_norm_eps=2)
        self.with_config("model.layers.2.", num_hidden_layers=2)
        self.with_config("tensor 'model.layers.3.", num_hidden_layers=4)

    def test_not_finite(self):
        for value, bits in ((math.nan, 0x7FC1), (math.inf, 0x7F80), (-math.inf, 0xFF80)):
            def put(tensors):
                at = tensors.header["model.layers.2.self_attn.o_proj.weight"]["data_offsets"][0] + 2 * (7 * 40 + 3)
                struct.pack_into("<H", tensors.data, at, bits)
            self.with_tensors("tensor 'model.layers.2.self_attn.o_proj.weight': row 7, column 3 is not a finite number", put)

    def test_rope(self):
        known = "supported: default, linear, dynamic, yarn, llama3, longrope"
        self.with_config("RoPE scaling 'mrope' is not supported; " + known, rope_scaling={"rope_type": "mrope", "factor": 2.0})
        self.with_config("RoPE scaling 'ntk' is not supported; " + known, rope_scaling={"type": "ntk", "factor": 2.0})
        self.with_config("rope_scaling is not an object", rope_scaling=4)

    def test_shards(self):
        folder = self.copy("llama-sharded")
        (folder / "model-00002-of-00003.safetensors").unlink()
        text = self.refused("model-00002-of-00003.safetensors")
        self.assertIn("model.safetensors.index.json lists a file that can't be read", text)
        folder = self.copy("llama-sharded")
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        index["weight_map"] = {k: v.replace("-00003-", "-00001-") for k, v in index["weight_map"].items() if "00003-of" not in v}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        self.refused("is missing")
        (folder / "model.safetensors.index.json").unlink()
        self.refused("has neither model.safetensors nor model.safetensors.index.json")

    def test_quantized_or_of_another_kind(self):
        self.with_config("weights quantized with 'gptq' are not supported", quantization_config={"quant_method": "gptq"})
        self.with_config("is_causal is 0; only 1 is supported", is_causal=False)
        self.with_config("hidden_act 'relu2x' is not supported; supported: silu", hidden_act="relu2x")


if __name__ == "__main__":
    unittest.main()
