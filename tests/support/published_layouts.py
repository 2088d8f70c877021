"""Folders as versions of transformers, and programs that train or merge, write them.

Each function rewrites a tiny checkpoint of `families.FAMILIES` in place. What a layout consists
of: names of the tensors and their files, fields of config.json, places and names of the image
processor, of the tokenizer and of the chat template, and files that have no meaning here.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import families
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tiny_folder import save_json
from tiny_internvl import MARKS

QWEN = ("qwen2-vl", "qwen2.5-vl", "qwen3-vl")
PROCESSORS = {
    "llava": ("LlavaProcessor", "CLIPImageProcessor", "LlamaTokenizer"),
    "qwen2-vl": ("Qwen2VLProcessor", "Qwen2VLImageProcessor", "Qwen2Tokenizer"),
    "qwen2.5-vl": ("Qwen2_5_VLProcessor", "Qwen2VLImageProcessor", "Qwen2Tokenizer"),
    "qwen3-vl": ("Qwen3VLProcessor", "Qwen2VLImageProcessor", "Qwen2Tokenizer"),
    "internvl": ("InternVLProcessor", "GotOcr2ImageProcessor", "Qwen2Tokenizer"),
}
# Fields that some versions write with null into every file of an image processor.
_NULLS = ("crop_size", "data_format", "device", "do_pad", "pad_size", "return_tensors")
_NULLS += ("disable_grouping", "input_data_format", "do_center_crop")


def transformers_4_37(folder: Path, family: str) -> None:
    """All in few files: chat template in tokenizer_config.json, shards with an index."""
    _old_tokenizer(folder, family, template="tokenizer_config.json")
    _image_processor(folder, family)
    _config(folder, "4.37.0", torch_dtype="float32", ignore_index=-100, pad_token_id=301)
    _sections(folder, torch_dtype="float32", _name_or_path="lmsys/vicuna-7b-v1.5")
    _shards(folder, 3)


def transformers_4_45(folder: Path, family: str) -> None:
    """A chat_template.json, and a processor_config.json that says nothing about images."""
    _old_tokenizer(folder, family, template="chat_template.json", slow=True)
    keys = ["images", "do_resize", "size", "resample", "return_tensors", "data_format"]
    _image_processor(folder, family, _valid_processor_keys=keys)
    if family in QWEN:
        bounds = _bounds(folder)
        _edit(folder / "preprocessor_config.json", size=bounds, **bounds)
    _processor(folder, family, patch_size=14, vision_feature_select_strategy="default")
    _config(folder, "4.45.0.dev0", torch_dtype="float32", use_cache=True)
    _shards(folder, 2)


def transformers_4_52(folder: Path, family: str) -> None:
    """Flat fields and a text_config in one config.json, names with "Fast", a jinja file."""
    _old_tokenizer(folder, family, template="chat_template.jinja", slow=True)
    _image_processor(folder, family, fast=True, **dict.fromkeys(_NULLS[:6]))
    _processor(folder, family, image_seq_length=4)
    _video(folder, family)
    _flat_and_nested(folder, family)
    _config(folder, "4.52.4", torch_dtype="float32")
    _sections(folder, torch_dtype="float32")


def transformers_4_57(folder: Path, family: str) -> None:
    """`dtype` in place of `torch_dtype`, a template in two places, bounds in two spellings."""
    _old_tokenizer(folder, family, template="chat_template.jinja", slow=True)
    nulls = [name for name in _NULLS if family != "llava" or name not in ("crop_size",)]
    nulls = [name for name in nulls if family != "llava" or name != "do_center_crop"]
    _image_processor(folder, family, fast=True, **dict.fromkeys(nulls))
    if family in QWEN:
        bounds = {"min_pixels": None, "max_pixels": None} if family == "qwen3-vl" else {}
        _edit(folder / "preprocessor_config.json", **bounds)
    _video(folder, family)
    _flat_and_nested(folder, family)
    _drop(folder / "config.json", "torch_dtype")
    _config(folder, "4.57.0.dev0", dtype="float32")
    _sections(folder, dtype="float32")


def transformers_5(folder: Path, family: str) -> None:
    """One processor_config.json with all processors, written by its save_pretrained."""
    _nest_processor(folder, family)
    config = {"backend": "tokenizers", "is_local": False, "tokenizer_class": None}
    config["tokenizer_class"] = PROCESSORS[family][2]
    _edit(folder / "tokenizer_config.json", **config)
    _drop(folder / "config.json", "torch_dtype")
    _config(folder, "5.2.0", dtype="float32")


def ms_swift(folder: Path, family: str) -> None:
    """A merge by ms-swift: names in memory, args.json, vocab.json but no tokenizer.json."""
    transformers_4_52(folder, family)
    if family != "llava":
        (folder / "tokenizer.json").unlink()
    args = {"model": "Qwen/Qwen2.5-VL-3B-Instruct", "train_type": "lora", "max_pixels": 1003520}
    save_json(folder / "args.json", args | {"torch_dtype": "bfloat16", "quant_method": None})
    save_json(folder / "configuration.json", {"framework": "pytorch", "task": "image-to-text"})
    save_json(folder / "additional_config.json", {"lora_dtype": None})
    _config(folder, "4.52.4", torch_dtype="torch.float32")
    _shards(folder, 2, total_parameters=12345)


def llama_factory(folder: Path, family: str) -> None:
    """An export of LLaMA-Factory: a template for text alone, records of the training."""
    transformers_4_57(folder, family)
    text = "{% for m in messages %}{{ 'USER: ' + m['content'] + ' ASSISTANT:' }}{% endfor %}"
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    save_json(folder / "chat_template.json", {"chat_template": template})
    _edit(folder / "tokenizer_config.json", chat_template=text, padding_side="right")
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n# sft\n")
    for name in ("all_results.json", "train_results.json", "trainer_state.json"):
        save_json(folder / name, {"epoch": 3.0, "train_loss": float("nan")})
    (folder / "trainer_log.jsonl").write_text('{"current_steps": 10}\n')
    (folder / "training_args.bin").write_bytes(b"PK\3\4 pickled")
    (folder / "training_loss.png").write_bytes(b"\x89PNG")
    (folder / "Modelfile").write_text('FROM .\n\nTEMPLATE """{{ .System }}"""\n')
    (folder / "checkpoint-500").mkdir()
    _config(folder, "4.57.1", use_cache=False)


def unsloth(folder: Path, family: str) -> None:
    """A merge by Unsloth: shards without an index, one file for processors, an adapter."""
    transformers_4_57(folder, family)
    _nest_processor(folder, family)
    template = (folder / "chat_template.jinja").read_text()
    _edit(folder / "tokenizer_config.json", chat_template=template, padding_side="left")
    _config(folder, "4.57.1", unsloth_fixed=True, unsloth_version="2026.9.1")
    _config(folder, "4.57.1", quantization_config={"quant_method": "bitsandbytes"})
    _shards(folder, 2)
    (folder / "model.safetensors.index.json").unlink()
    _adapter(folder)


def peft_merge(folder: Path, family: str) -> None:
    """A merge by PEFT in bfloat16: a tied head written out, the adapter left in the folder."""
    transformers_4_52(folder, family)
    path = folder / "model.safetensors"
    save_file({k: v.bfloat16() for k, v in load_file(path).items()}, path, {"format": "pt"})
    _config(folder, "4.52.4", torch_dtype="bfloat16", _attn_implementation_autoset=True)
    _head(folder)
    _adapter(folder)
    (folder / "README.md").write_text("---\nbase_model: some/base\nlibrary_name: peft\n---\n")


# Names of tensors for the makers: published, or as the modules are named in memory.
_HUB: dict[str, str] = {}
_MEMORY = dict.fromkeys(("qwen2-vl", "qwen2.5-vl", "internvl"), "nested") | {
    "llava": "deep memory"
}
_SAVED = dict.fromkeys(families.FAMILIES, "saved")
_ALL = tuple(families.FAMILIES)
_TIED = ("transformers 4.57", "Unsloth", "PEFT")
LAYOUTS: dict[str, tuple[Callable[[Path, str], None], dict[str, str], tuple[str, ...]]] = {
    "transformers 4.37": (transformers_4_37, _HUB, ("llava",)),
    "transformers 4.45": (transformers_4_45, _HUB, ("llava", "qwen2-vl")),
    "transformers 4.52": (
        transformers_4_52,
        _HUB,
        ("llava", "qwen2-vl", "qwen2.5-vl", "internvl"),
    ),
    "transformers 4.57": (transformers_4_57, _HUB, _ALL),
    "transformers 5": (transformers_5, _SAVED, _ALL),
    "ms-swift": (ms_swift, _MEMORY, _ALL),
    "LLaMA-Factory": (llama_factory, _HUB, _ALL),
    "Unsloth": (unsloth, _MEMORY, _ALL),
    "PEFT": (peft_merge, _HUB, _ALL),
}
"""Name -> how to rewrite a checkpoint, the makers' layouts, and the families of that time."""
CASES = [(layout, family) for layout, (_, _, names) in LAYOUTS.items() for family in names]


def make(layout: str, family: str, folder: Path) -> Path:
    """Writes a tiny checkpoint of a family in a layout."""
    rewrite, names, _ = LAYOUTS[layout]
    given: dict = {"layout": names[family]} if family in names else {}
    if layout in _TIED:
        given |= {"kind": "6B"} if family == "internvl" else {"tied": True}
    folder = families.FAMILIES[family].make(folder, 1, **given)
    rewrite(folder, family)
    return folder


def _edit(path: Path, **changes) -> None:
    save_json(path, (json.loads(path.read_text()) if path.exists() else {}) | changes)


def _drop(path: Path, *names: str) -> None:
    content = json.loads(path.read_text())
    save_json(path, {name: value for name, value in content.items() if name not in names})


def _config(folder: Path, version: str, **changes) -> None:
    _edit(folder / "config.json", transformers_version=version, **changes)


def _sections(folder: Path, **changes) -> None:
    config = json.loads((folder / "config.json").read_text())
    for name in ("text_config", "vision_config"):
        if name in config:
            _edit(folder / "config.json", **{name: config[name] | changes})


def _bounds(folder: Path) -> dict[str, int]:
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    return {name: settings[name] for name in ("min_pixels", "max_pixels")}


def _image_processor(folder: Path, family: str, fast: bool = False, **more) -> None:
    processor, images, _ = PROCESSORS[family]
    more |= {"do_convert_rgb": True, "do_resize": True, "do_rescale": True, "resample": 3}
    more |= {"rescale_factor": 0.00392156862745098, "do_normalize": True}
    if family == "llava":
        more.pop("crop_size", None)
        more |= {"do_center_crop": True}
    if family == "internvl":
        more |= {"crop_to_patches": False}  # as published; its processor asks for tiles
    name = f"{images}Fast" if fast else images
    path = folder / "preprocessor_config.json"
    _edit(path, processor_class=processor, image_processor_type=name, **more)


def _processor(folder: Path, family: str, **more) -> None:
    """A processor_config.json of before transformers 5, which says nothing about images."""
    if family not in QWEN:
        save_json(folder / "processor_config.json", {"processor_class": PROCESSORS[family][0]})
        _edit(folder / "processor_config.json", **more)
        if family == "llava":
            _edit(folder / "processor_config.json", image_token="<image>")


def _nest_processor(folder: Path, family: str) -> None:
    images = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    images.pop("processor_class", None)
    content = {"image_processor": images, "processor_class": PROCESSORS[family][0]}
    if family == "llava":
        content |= {"image_token": "<image>", "patch_size": 14}
    else:
        (folder / "video_preprocessor_config.json").unlink(missing_ok=True)
        content["video_processor"] = images | {"video_processor_type": "Qwen2VLVideoProcessor"}
    save_json(folder / "processor_config.json", content)


def _video(folder: Path, family: str) -> None:
    if family != "llava":
        images = json.loads((folder / "preprocessor_config.json").read_text())
        images |= {"size": {"shortest_edge": 1, "longest_edge": 2}, "do_sample_frames": False}
        save_json(folder / "video_preprocessor_config.json", images)


def _flat_and_nested(folder: Path, family: str) -> None:
    """What transformers 4.52 to 4.57 wrote for Qwen2-VL: text fields outside and inside."""
    if family not in QWEN[:2]:
        return
    config = json.loads((folder / "config.json").read_text())
    outer = ("vision_config", "architectures", "image_token_id", "video_token_id")
    text = config.get("text_config") or {k: v for k, v in config.items() if k not in outer}
    rope = {"rope_type": "default", "type": "default", "mrope_section": [2, 3, 3]}
    text = text | {"model_type": f"{config['model_type']}_text", "image_token_id": None}
    text |= {"rope_scaling": rope, "sliding_window": None, "max_window_layers": 70}
    text |= {"layer_types": ["full_attention"] * 3, "rope_theta": 10000.0}
    text.pop("rope_parameters", None)
    text.pop("dtype", None)
    vision = config["vision_config"] | {"in_channels": 3, "model_type": config["model_type"]}
    flat = {k: v for k, v in text.items() if k in ("hidden_size", "vocab_size", "hidden_act")}
    flat |= {"sliding_window": 32768, "rope_theta": 10000.0, "rope_scaling": rope}
    _edit(folder / "config.json", **flat, text_config=text, vision_config=vision)


def _old_tokenizer(folder: Path, family: str, template: str, slow: bool = False) -> None:
    """The files of a tokenizer before transformers 5, with everything in several places."""
    processor, _, tokenizer_class = PROCESSORS[family]
    now = json.loads((folder / "tokenizer_config.json").read_text())
    whole = json.loads((folder / "tokenizer.json").read_text())
    text = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    added = {str(token.pop("id")): dict(token) for token in whole["added_tokens"]}
    names = [token["content"] for token in added.values() if token["special"]]
    ends = {k: now[k] for k in ("bos_token", "eos_token", "pad_token", "unk_token") if k in now}
    marks = {name: now[name] for name in MARKS if family == "internvl"}
    old = {
        "added_tokens_decoder": added,
        "additional_special_tokens": names,
        "extra_special_tokens": marks,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 131072,
        "processor_class": processor,
        "tokenizer_class": tokenizer_class,
        "split_special_tokens": False,
        **dict.fromkeys(("bos_token", "unk_token")),
        **ends,
    }
    if family == "llava":
        old |= {"legacy": False, "sp_model_kwargs": {}, "use_default_system_prompt": False}
        old |= {"add_bos_token": True, "add_eos_token": False}
    save_json(folder / "tokenizer_config.json", old | marks)
    named = {key: {"content": value, "lstrip": False} for key, value in ends.items()}
    save_json(folder / "special_tokens_map.json", {"additional_special_tokens": names, **named})
    save_json(folder / "added_tokens.json", {t["content"]: int(i) for i, t in added.items()})
    if slow and family != "llava":
        save_json(folder / "vocab.json", whole["model"]["vocab"])
        merges = [m if isinstance(m, str) else " ".join(m) for m in whole["model"]["merges"]]
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    if template == "chat_template.jinja":
        (folder / template).write_text(text)
    else:
        _edit(folder / template, chat_template=text)


def _shards(folder: Path, count: int, **metadata) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    places, names = {}, sorted(tensors)
    for i, part in enumerate(np.array_split(names, count)):
        file = f"model-{i + 1:05d}-of-{count:05d}.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file, {"format": "pt"})
        places |= dict.fromkeys(map(str, part), file)
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size} | metadata, "weight_map": places}
    save_json(folder / "model.safetensors.index.json", index)


def _head(folder: Path) -> None:
    """Writes the embedding of a tied checkpoint a second time, as its head."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    inner = "language_model." if name.startswith("language_model.model.") else ""
    tensors[f"{inner}lm_head.weight"] = tensors[name].clone()
    save_file(tensors, path, {"format": "pt"})


def _adapter(folder: Path) -> None:
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    save_file({name: torch.zeros(8, 64)}, folder / "adapter_model.safetensors")
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "some/base"}
    save_json(folder / "adapter_config.json", adapter)


def as_transformers_5_reads(folder: Path, to: Path) -> Path:
    """A copy without what transformers 5 cannot read: "torch.float32", shards and no index."""
    shutil.copytree(folder, to)
    config = (to / "config.json").read_text()
    (to / "config.json").write_text(config.replace('"torch.float32"', '"float32"'))
    shards = sorted(to.glob("model-*.safetensors"))
    if shards and not (to / "model.safetensors.index.json").exists():
        places = {name: shard.name for shard in shards for name in load_file(shard)}
        index = {"metadata": {}, "weight_map": places}
        save_json(to / "model.safetensors.index.json", index)
    return to
