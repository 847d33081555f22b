"""``python -m workbench.worker.gguf_file MODEL FILE``: a Llama-shaped model as one GGUF file for llama.cpp.

Only what is sure: plain Llama layers, and a byte-level BPE tokenizer that llama.cpp splits alike. Everything else is
for llama.cpp's own converter, which knows a hundred shapes. Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.errors import RefusedError, WorkbenchError

_TAG = re.compile(r"\{%(-?)\s*(?:end)?generation\s*(-?)%\}")
_NORMAL, _CONTROL, _ADDED, _UNUSED = 1, 3, 4, 5
_ROTATED = {"self_attn.q_proj.weight": "num_attention_heads", "self_attn.k_proj.weight": "num_key_value_heads"}


def write(folder: Path, to: Path, *, kind: str) -> dict[str, Any]:
    """Write the model in ``folder`` as ``to`` with matrices in ``kind`` (f32, f16, bf16), then read it again.

    Gives the number of tensors and the largest difference of a weight. Raises ``RefusedError`` for what is not sure.
    """
    import gguf

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    refuse_unsure(config, tokenizer)
    writer = gguf.GGUFWriter(to, "llama")
    _describe(writer, config, folder, kind)
    _add_vocabulary(writer, config, tokenizer, folder)
    written = {}
    for name, values in _tensors(folder, config):
        data = _stored(values, kind)
        writer.add_tensor(name, data, raw_dtype=_raw_type(kind) if data.dtype != "float32" else None)
        written[name] = values
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {"tensors": len(written), "largest_difference": _difference(to, written), "bytes": to.stat().st_size}


def refuse_unsure(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> str:
    """The name under which llama.cpp splits text as this tokenizer does; raises ``RefusedError`` for other shapes."""
    if config.get("architectures") != ["LlamaForCausalLM"]:
        raise RefusedError(f"{', '.join(config.get('architectures') or ['this model'])} is not a plain Llama")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise RefusedError("its positions are scaled, which needs more than the weights")
    if config.get("attention_bias") or config.get("mlp_bias") or config.get("quantization_config"):
        raise RefusedError("it has biases or quantised weights")
    model = tokenizer.get("model", {})
    if model.get("type") != "BPE" or tokenizer.get("normalizer"):
        raise RefusedError("its tokenizer is no plain byte-level BPE")
    pre = tokenizer.get("pre_tokenizer") or {}
    steps = pre.get("pretokenizers", [pre])
    names = [step.get("type") for step in steps]
    last = steps[-1]
    if names[-1:] != ["ByteLevel"] or not last.get("use_regex", True) or last.get("add_prefix_space"):
        raise RefusedError("its tokenizer splits text in a way of its own")
    first = steps[:-1]
    # A line break that stands alone is split off here, and cannot be merged there: the tokens are the same.
    if first and first[0].get("type") == "Split" and first[0].get("pattern") in ({"Regex": "\\n"}, {"String": "\n"}):
        if any("Ċ" in part and part != "Ċ" for merge in model.get("merges", ()) for part in _pair(merge)):
            raise RefusedError("its tokenizer splits text in a way of its own")
        first = first[1:]
    match [(step.get("type"), step.get("individual_digits")) for step in first]:
        case []:
            return "gpt-2"
        case [("Digits", True)]:
            return "smollm"
    raise RefusedError("its tokenizer splits text in a way of its own")


def _describe(writer: Any, config: Mapping[str, Any], folder: Path, kind: str) -> None:
    import gguf

    heads = config["num_attention_heads"]
    head = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {}
    types = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16}
    writer.add_name(folder.name)
    writer.add_file_type(types.get(kind, gguf.LlamaFileType.MOSTLY_BF16))
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads", heads))
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(rope.get("rope_theta", config.get("rope_theta", 10000.0))))
    writer.add_vocab_size(config["vocab_size"])


def _add_vocabulary(writer: Any, config: Mapping[str, Any], tokenizer: Mapping[str, Any], folder: Path) -> None:
    count = config["vocab_size"]
    texts, kinds = [f"[PAD{i}]" for i in range(count)], [_UNUSED] * count
    for text, token in tokenizer["model"]["vocab"].items():
        texts[token], kinds[token] = text, _NORMAL
    for added in tokenizer.get("added_tokens", ()):
        texts[added["id"]], kinds[added["id"]] = added["content"], _CONTROL if added["special"] else _ADDED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(refuse_unsure(config, tokenizer))
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(_pair(merge)) for merge in tokenizer["model"]["merges"]])
    eos = config.get("eos_token_id")
    writer.add_eos_token_id(eos[0] if isinstance(eos, list) else eos)
    if config.get("pad_token_id") is not None:
        writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(config.get("bos_token_id") is not None)
    if config.get("bos_token_id") is not None:
        writer.add_bos_token_id(config["bos_token_id"])
    template = folder / "chat_template.jinja"
    if template.is_file():
        # Marks for training, which other template engines do not know: as comments they keep their effect on spaces.
        writer.add_chat_template(_TAG.sub(r"{#\1 \2#}", template.read_text(encoding="utf-8")))


def _tensors(folder: Path, config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The weights in float32 under llama.cpp's names; queries and keys in its order of the rotated halves."""
    import gguf
    from safetensors import safe_open

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for key in weights.keys():  # noqa: SIM118 - no mapping
                if key == "lm_head.weight" and config.get("tie_word_embeddings"):
                    continue
                values = weights.get_tensor(key).float().numpy()
                found = names.get_name(key, try_suffixes=(".weight",))
                if found is None:
                    raise RefusedError(f"{key} has no place in a plain Llama")
                for end, heads in _ROTATED.items():
                    if key.endswith(end):
                        values = _rotated(values, config.get(heads) or config["num_attention_heads"])
                yield found, values


def _rotated(values: Any, heads: int) -> Any:
    """Rows of each head from two halves to pairs: ``(heads, 2, half, in)`` to ``(heads, half, 2, in)``."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def _stored(values: Any, kind: str) -> Any:
    import gguf

    if values.ndim == 1 or kind == "f32":
        return values
    return values.astype("float16") if kind == "f16" else gguf.quants.quantize(values, _raw_type(kind))


def _raw_type(kind: str) -> Any:
    import gguf

    return {"f16": gguf.GGMLQuantizationType.F16, "bf16": gguf.GGMLQuantizationType.BF16}.get(kind)


def _difference(file: Path, written: Mapping[str, Any]) -> float:
    """The largest difference between a weight in the file and the one it was made from."""
    import gguf
    from gguf import GGUFReader

    found = {t.name: t for t in GGUFReader(file).tensors}
    if set(found) != set(written):
        raise WorkbenchError(f"the file has other tensors than it should: {sorted(set(found) ^ set(written))[:3]}")
    differences = [
        float(
            abs(gguf.quants.dequantize(found[name].data, found[name].tensor_type).reshape(values.shape) - values).max()
        )
        for name, values in written.items()
    ]
    return max(differences, default=0.0)


def _pair(merge: Any) -> list[str]:
    return merge.split(" ") if isinstance(merge, str) else list(merge)


def main(argv: list[str]) -> int:
    """Exit code 0 with a report as JSON, 5 when the model is not of the shape; 4 without the ``gguf`` package."""
    parser = argparse.ArgumentParser(prog="python -m workbench.worker.gguf_file")
    parser.add_argument("model")
    parser.add_argument("file")
    parser.add_argument("--type", default="f16", choices=["f32", "f16", "bf16"])
    args = parser.parse_args(argv)
    try:
        print(json.dumps(write(Path(args.model), Path(args.file), kind=args.type)))
    except ModuleNotFoundError as error:
        if error.name != "gguf":
            raise
        print("the package gguf is not installed", file=sys.stderr)
        return 4
    except (WorkbenchError, KeyError, FileNotFoundError) as error:
        print(getattr(error, "message", f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
