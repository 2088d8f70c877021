"""Checkpoint folders with damage, and what transformers computes on the same folder."""

import functools
import json
import random
from pathlib import Path
from typing import Any, NamedTuple

import damage
import families
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save

import eagle_jax
from eagle_jax.errors import InputError
from eagle_jax.inputs.answer import encode_answer
from eagle_jax.inputs.patches import plan_image
from eagle_jax.inputs.prompt import build_prompt
from eagle_jax.models.layers.rope import image_start

PROMPT = "Is there a red cat? "
# Names of the same field in files of other versions, or of other families.
_RENAMES = (
    *(("torch_dtype", "dtype"), ("rope_scaling", "rope_parameters"), ("type", "rope_type")),
    *(("image_token_id", "image_token_index"), ("text_config", "llm_config")),
    *(("in_chans", "in_channels"), ("num_heads", "num_attention_heads")),
    *(("hidden_act", "hidden_activation"), ("patch_size", "spatial_patch_size")),
    *(("image_processor_type", "feature_extractor_type"), ("min_pixels", "shortest_edge")),
    *(("max_pixels", "longest_edge"), ("size", "crop_size"), ("min_patches", "min_tiles")),
    *(("extra_special_tokens", "additional_special_tokens"), ("resample", "interpolation")),
    *(("added_tokens_decoder", "added_tokens"), ("eos_token", "eos_token_id")),
    *(("image_mean", "mean"), ("image_std", "std"), ("merge_size", "spatial_merge_size")),
    *(("eos_token_id", "eos_token_ids"), ("depth", "num_hidden_layers")),
    *(("embed_dim", "hidden_size"), ("weight_map", "weights"), ("chat_template", "template")),
)
_CONFIGS = {
    "tie_word_embeddings": (True, False),
    "torch_dtype": ("bfloat16", "float16", "auto", "torch.float32"),
    "dtype": ("bfloat16", "float32"),
    "transformers_version": ("4.37.0", "5.2.0"),
    "rope_scaling": (
        {"type": "linear", "factor": 2.0},
        {"rope_type": "yarn", "factor": 4.0},
        {"type": "default", "mrope_section": [2, 3, 3]},
        {"mrope_section": [8, 0, 0], "rope_type": "default", "type": "mrope"},
    ),
    "rope_parameters": ({"rope_type": "default", "rope_theta": 1e6}, {"rope_theta": 5e5}),
    "rope_theta": (1e6, 10000, "10000"),
    "sliding_window": (None, 4096, 32768),
    "use_sliding_window": (True, False),
    "layer_types": (["full_attention"] * 3, ["sliding_attention"] * 3),
    "head_dim": (16, 24, 32, None),
    "num_key_value_heads": (1, 2, 4, 3, None),
    "rms_norm_eps": (1e-5, 1e-6),
    "hidden_act": ("silu", "gelu", "quick_gelu", "gelu_pytorch_tanh"),
    "vision_feature_layer": (-1, -2, [-1], 2),
    "vision_feature_select_strategy": ("default", "full"),
    "image_token_id": (0, 5, 300, 10**6),
    "attention_bias": (True, False),
    "num_experts": (0, 8),
    "quantization_config": ({"quant_method": "awq"}, None),
    "auto_map": ({"AutoConfig": "configuration.Config"},),
    "eos_token_id": ([1, 2], 3, None),
    "vocab_size": (320, 330, 300),
}
_PROCESSOR = {
    "image_processor_type": (
        *("Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2_5_VLImageProcessor"),
        *("Qwen3VLImageProcessor", "CLIPImageProcessor", "CLIPImageProcessorFast", None),
        *("GotOcr2ImageProcessor", "LlavaImageProcessor", "SiglipImageProcessor"),
        *("Qwen2VLImageProcessorPil", "CLIPFeatureExtractor", "LlavaNextImageProcessor"),
    ),
    "size": (
        *({"shortest_edge": 3136, "longest_edge": 50000}, {"height": 56, "width": 56}, 56),
        *({"shortest_edge": 56}, {"min_pixels": 3136, "max_pixels": 50000}, [56, 56]),
        *({"height": 28, "width": 56}, {"shortest_edge": 84, "longest_edge": 100}, None),
    ),
    "crop_size": (56, {"height": 56, "width": 56}, {"shortest_edge": 56}, [56, 56], 42),
    "min_pixels": (784, 3136, 100000),
    "max_pixels": (784, 3136, 12845056),
    "resample": (0, 1, 2, 3, "bicubic", "3", 3.0),
    "do_resize": (True, False),
    "do_rescale": (True, False),
    "do_normalize": (True, False),
    "do_center_crop": (True, False),
    "do_pad": (True, False),
    "do_convert_rgb": (True, False),
    "crop_to_patches": (True, False),
    "image_mean": ([0.5, 0.5, 0.5], 0.5, [0.5], [0, 0, 0], "0.5"),
    "image_std": ([0.5, 0.5, 0.5], 0.5, [1, 1, 1], [0, 1, 1]),
    "rescale_factor": (1 / 255, 1, 0.00392156862745098, 1 / 127.5),
    "min_patches": (1, 2, 3),
    "max_patches": (1, 4, 6),
    "patch_size": (14, 16, 7),
    "merge_size": (1, 2),
    "temporal_patch_size": (1, 2),
}
_TOKENIZER = {
    "tokenizer_class": (
        *("Qwen2Tokenizer", "Qwen2TokenizerFast", "PreTrainedTokenizerFast", "LlamaTokenizer"),
        *("LlamaTokenizerFast", "TokenizersBackend", "NoSuchTokenizer", "GPT2Tokenizer", None),
    ),
    "processor_class": ("Qwen2_5_VLProcessor", "LlavaProcessor", "NoSuchProcessor", None),
    "model_max_length": (128, 131072, 1e30, "131072", None),
    "add_bos_token": (True, False),
    "add_eos_token": (True, False),
    "add_prefix_space": (True, False),
    "bos_token": ("<s>", None, "<|endoftext|>", {"content": "<s>", "__type": "AddedToken"}),
    "eos_token": ("<|im_end|>", "</s>", {"content": "<|im_end|>"}, None, "<new>"),
    "pad_token": (None, "<|endoftext|>", "<unk>"),
    "unk_token": (None, "<unk>"),
    "clean_up_tokenization_spaces": (True, False),
    "split_special_tokens": (True, False),
    "padding_side": ("left", "right", "middle"),
    "extra_special_tokens": ([], {}, ["<a>"], {"image_token": "<image>"}, ["<|im_end|>"]),
    "additional_special_tokens": ([], ["<b>"], ["<|im_start|>"]),
    "chat_template": (
        *("{{ messages[0]['content'] }}", "{{", [], None),
        [{"name": "default", "template": "{{ messages }}"}],
        [{"name": "tool_use", "template": "x"}],
    ),
    "errors": ("replace", "strict"),
    "legacy": (True, False),
    "use_fast": (True, False),
}
_GENERATION = {
    "eos_token_id": (1, [1, 2], None, "2", [], [None]),
    "repetition_penalty": (1.0, 1.05, 1.5, 0, -1),
    "no_repeat_ngram_size": (0, 1, 2),
    "suppress_tokens": ([], [5, 6], [-1], 7, None),
    "begin_suppress_tokens": ([], [220, 3], 3),
    "bad_words_ids": ([[5]], [[1, 2]], [], [5], [[]]),
    "sequence_bias": ([[[5], 2.0]], {}, [[[5], "x"]], [[5, 2.0]]),
    "forced_eos_token_id": (None, 2, [2]),
    "forced_bos_token_id": (5,),
    "min_length": (0, 5, 100),
    "min_new_tokens": (0, 3),
    "max_new_tokens": (1, 2048),
    "max_length": (20, 4096),
    "num_beams": (1, 4),
    "do_sample": (True, False),
    "temperature": (0.000001, 0.7, None),
    "top_k": (1, 50),
    "exponential_decay_length_penalty": ([2, 1.5], (1, 1.1)),
    "renormalize_logits": (True,),
    "guidance_scale": (1, 1.5),
    "cache_implementation": ("static", "no such cache", "hybrid"),
    "use_cache": (True, False),
    "stop_strings": (["cat"], []),
    "assistant_early_exit": (1,),
    "prompt_lookup_num_tokens": (3,),
    "low_memory": (True,),
    "output_scores": (True,),
    "return_dict_in_generate": (True,),
    "watermarking_config": ({"bias": 2.0}, None),
    "transformers_version": ("4.37.0",),
}
_SECTIONS = ("text_config", "vision_config", "image_processor")
_FIELDS = {
    "config.json": _CONFIGS,
    "preprocessor_config.json": _PROCESSOR,
    "processor_config.json": _PROCESSOR,
    "tokenizer_config.json": _TOKENIZER,
    "generation_config.json": _GENERATION,
    "special_tokens_map.json": {
        name: _TOKENIZER[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token")
    },
}


class Case(NamedTuple):
    """A damaged folder.

    Attributes:
        folder: The folder.
        family: Name of its family, a key of `families.FAMILIES`.
        file: Name of the damaged file; `LAYOUT` for a whole folder in another layout.
        said: What was damaged.
    """

    folder: Path
    family: str
    file: str
    said: str


@functools.cache
def bases(root: Path) -> list[tuple[str, Path]]:
    """Whole folders of every family, as published and with the files of other versions."""
    made = []
    for name, family in families.FAMILIES.items():
        for kind, layout in (("plain", family.layouts[0]), ("full", "saved")):
            folder = root / f"{name}-{kind}"
            family.make(folder, 1, layout=layout)
            if kind == "full":
                _add_files(folder)
            made.append((name, folder))
    sharded = root / "qwen2.5-vl-shards"
    families.FAMILIES["qwen2.5-vl"].make(sharded, 1, tied=True, shards=3)
    return [*made, ("qwen2.5-vl", sharded)]


def _add_files(folder: Path) -> None:
    """Files that older versions of transformers write beside the others."""
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    processor = {"processor_class": "AnyProcessor", "image_processor": settings}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokens = {name: tokenizer[name] for name in tokenizer if name.endswith("_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens))
    whole = json.loads((folder / "tokenizer.json").read_text())
    added = {token["content"]: token["id"] for token in whole["added_tokens"]}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    tokenizer["added_tokens_decoder"] = {
        str(token.pop("id")): token for token in whole["added_tokens"]
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))


def make_case(seed: int, root: Path) -> Case:
    """The damaged folder of a seed.

    Args:
        seed: The seed.
        root: Folder for the whole folders and the damaged one.
    """
    rng = random.Random(f"folder {seed}")
    family, base = rng.choice(bases(root / "bases"))
    folder = damage.link_folder(base, root / f"case-{seed}")
    if rng.random() < 0.15:
        return Case(folder, family, LAYOUT, f"{base.name}: {_other_layout(rng, folder)}")
    names = sorted(path.name for path in folder.iterdir())
    often = [name for name in names if name in _FIELDS] * 4
    name = rng.choice(names + often)
    return Case(folder, family, name, f"{base.name}: {_damage(rng, folder / name)}")


def _other_layout(rng: random.Random, folder: Path) -> str:
    """Writes a folder's content as another version or program does; what was done."""
    said = []
    for change in rng.sample(_LAYOUTS, rng.choice((1, 1, 2, 3))):
        change(folder)
        said.append(change.__name__)
    return ", ".join(said)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _edit(path: Path, content: dict[str, Any]) -> None:
    damage.set_file(path, json.dumps(content, indent=2).encode())


def nested_or_flat(folder: Path) -> None:
    """The decoder's fields of Qwen2-VL and Qwen2.5-VL in a section of their own, or not."""
    config = _read(folder / "config.json")
    if config["model_type"] not in ("qwen2_vl", "qwen2_5_vl"):
        return
    text = config.pop("text_config", None)
    if text is not None:
        text.pop("model_type", None)
        _edit(folder / "config.json", text | config)
        return
    outer = ("model_type", "architectures", "vision_config", "torch_dtype")
    outer = {name: config.pop(name) for name in outer if name in config}
    tokens = {name: config.pop(name) for name in [*config] if "token_id" in name}
    tied = {"tie_word_embeddings": config["tie_word_embeddings"]}
    _edit(folder / "config.json", outer | tokens | tied | {"text_config": config})


def processor_nested_or_not(folder: Path) -> None:
    """The image processor's settings inside processor_config.json, or in their own file."""
    nested, own = folder / "processor_config.json", folder / "preprocessor_config.json"
    inner = _read(nested).get("image_processor")
    if inner is None:
        _edit(nested, {"image_processor": _read(own)})
        own.unlink()
    else:
        nested.unlink()
        _edit(own, inner)


def template_elsewhere(folder: Path) -> None:
    """The chat template inside tokenizer_config.json."""
    path, legacy = folder / "chat_template.jinja", folder / "chat_template.json"
    template = path.read_text() if path.exists() else _read(legacy).get("chat_template")
    if template is None:
        return  # It is there already.
    path.unlink(missing_ok=True)
    legacy.unlink(missing_ok=True)
    tokenizer = _read(folder / "tokenizer_config.json")
    _edit(folder / "tokenizer_config.json", tokenizer | {"chat_template": template})


def template_among_others(folder: Path) -> None:
    """The chat template as the default of several."""
    template_elsewhere(folder)
    tokenizer = _read(folder / "tokenizer_config.json")
    named = [{"name": "tool_use", "template": "x"}]
    named.append({"name": "default", "template": tokenizer["chat_template"]})
    _edit(folder / "tokenizer_config.json", tokenizer | {"chat_template": named})


def legacy_template(folder: Path) -> None:
    """The chat template in chat_template.json, and one for text alone with the tokenizer."""
    template_elsewhere(folder)
    tokenizer = _read(folder / "tokenizer_config.json")
    if not isinstance(tokenizer["chat_template"], str):
        return
    _edit(folder / "chat_template.json", {"chat_template": tokenizer["chat_template"]})
    plain = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    _edit(folder / "tokenizer_config.json", tokenizer | {"chat_template": plain})


def without_optional_files(folder: Path) -> None:
    """Without the files that transformers can do without."""
    for name in ("generation_config.json", "special_tokens_map.json", "added_tokens.json"):
        (folder / name).unlink(missing_ok=True)


def shards_without_index(folder: Path) -> None:
    """The weights in two files; transformers wants an index."""
    path, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if not path.exists():
        return
    tensors = load_file(path)
    path.unlink()
    places = {}
    for number in (1, 2):
        name = f"model-0000{number}-of-00002.safetensors"
        part = {key: tensors[key] for key in sorted(tensors)[number - 1 :: 2]}
        (folder / name).write_bytes(save(part, metadata={"format": "pt"}))
        places |= dict.fromkeys(part, name)
    _edit(index, {"metadata": {}, "weight_map": places})


def old_field_names(folder: Path) -> None:
    """Fields as transformers 4 or 5 names them."""
    config = _read(folder / "config.json")
    for part in (config, config.get("text_config", {}), config.get("vision_config", {})):
        for old, new in (("torch_dtype", "dtype"), ("rope_scaling", "rope_parameters")):
            source, target = (old, new) if old in part else (new, old)
            if source in part and target not in part:
                part[target] = part.pop(source)
        rope = part.get("rope_scaling") or {}
        if "rope_theta" in rope:
            part["rope_theta"] = rope.pop("rope_theta")
    _edit(folder / "config.json", config | {"transformers_version": "4.45.0"})


def other_processor_name(folder: Path) -> None:
    """The image processor under the name of another version or backend, or without one."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        settings = _read(folder / name)
        part = settings.get("image_processor", settings)
        if "image_processor_type" in part:
            kind = part["image_processor_type"]
            fast = kind.endswith("Fast")
            part["image_processor_type"] = kind.removesuffix("Fast") if fast else f"{kind}Fast"
            _edit(folder / name, settings)


LAYOUT = "layout"
_LAYOUTS = (
    nested_or_flat,
    processor_nested_or_not,
    template_elsewhere,
    template_among_others,
    legacy_template,
    without_optional_files,
    shards_without_index,
    old_field_names,
    other_processor_name,
)


def _damage(rng: random.Random, path: Path) -> str:
    if rng.random() < 0.1 and (said := damage.replace_file(rng, path)):
        return said
    data = path.read_bytes()
    if path.suffix == ".safetensors" and rng.random() < 0.8:
        data, said = _damaged_tensors(rng, path)
    elif path.suffix != ".json" or rng.random() < 0.15:
        data, said = damage.damaged_bytes(rng, data)
    else:
        value, said = json.loads(data), ""
        fields = _FIELDS.get(path.name)
        if fields and rng.random() < 0.6:
            name = rng.choice([*fields])
            sections = [value[name] for name in _SECTIONS if name in value]
            holder = rng.choice([value, value, *sections])
            holder[name] = rng.choice(fields[name])
            said = f"{name}={holder[name]!r:.60}"
        if not said or rng.random() < 0.2:
            value, more = damage.damaged_value(rng, value, _RENAMES)
            said += f" {more}"
        data = damage.written(rng, value)
    damage.set_file(path, data)
    return said


def _damaged_tensors(rng: random.Random, path: Path) -> tuple[bytes, str]:
    tensors = load_file(path)
    name = rng.choice(sorted(tensors))
    tensor = tensors.pop(name)
    kinds = {
        "missing": {},
        "rows missing": {name: tensor[:-1].clone()},
        "transposed": {name: tensor.mT.contiguous() if tensor.ndim > 1 else tensor},
        "flat": {name: tensor.reshape(-1)},
        "one more axis": {name: tensor[None]},
        "empty": {name: tensor[:0].clone()},
        "number": {name: torch.tensor(1.0)},
        "float16": {name: tensor.half()},
        "bfloat16": {name: tensor.bfloat16()},
        "float64": {name: tensor.double()},
        "int8": {name: tensor.to(torch.int8)},
        "int64": {name: tensor.long()},
        "bool": {name: tensor.bool()},
        "float8": {name: tensor.to(torch.float8_e4m3fn)},
        "complex": {name: tensor.to(torch.complex64)},
        "NaN": {name: torch.full_like(tensor, torch.nan)},
        "zeros": {name: torch.zeros_like(tensor)},
        "renamed": {f"{name}_": tensor},
        "wrapped": {f"module.{name}": tensor},
        "extra": {name: tensor, "extra.weight": tensor.clone()},
        "extra bias": {name: tensor, f"{name.removesuffix('weight')}bias_": tensor.clone()},
        "twice": {name: tensor, f"model.{name}": tensor.clone()},
        "odd name": {name: tensor, "\n\x1b[31m" * 30: torch.ones(1)},
        "no name": {name: tensor, "": torch.ones(1)},
    }
    kind = rng.choice([*kinds])
    data = save(tensors | kinds[kind], metadata=rng.choice([{"format": "pt"}, {}, None]))
    said = f"{kind} {name}"
    if rng.random() < 0.15:
        size = int.from_bytes(data[:8], "little")
        header, odd = damage.damaged_value(rng, json.loads(data[8 : 8 + size]))
        text = json.dumps(header).encode()
        data, said = len(text).to_bytes(8, "little") + text + data[8 + size :], odd
    return data, said


class Ours(NamedTuple):
    """What this package makes of a folder."""

    model: eagle_jax.Model
    plan: Any
    ids: np.ndarray


@functools.cache
def image() -> np.ndarray:
    """An image that every processor resizes."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (5, 6, 3))
    return np.kron(coarse, np.ones((16, 16, 1))).astype(np.uint8)


def ours(case: Case) -> Ours | str:
    """What we make of a folder: the model and a prompt, or the line that refuses it."""
    try:
        model = eagle_jax.load(case.folder)
        labels = np.zeros(image().shape[:2], np.int32)
        plan = plan_image(image(), labels, model.image_settings)
        model.network.layout(plan.grid)
        token = model.network.config.image_token_id
        ids = build_prompt(model.tokenizer, PROMPT, plan.tokens, token)
    except InputError as error:
        return damage.require_line(error, case.folder)
    return Ours(model, plan, ids)


def token_difference(case: Case, found: Ours) -> str:
    """How our prompt differs from that of transformers' classes; empty for not at all."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(case.folder)
    template = _their_template(case.folder, tokenizer)
    content = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=template,
        add_generation_prompt=True,
        tokenize=False,
    )
    token = found.model.network.config.image_token_id
    mark = tokenizer.convert_ids_to_tokens(token)
    if text.count(mark) != 1:
        return f"their template writes the image {text.count(mark)} times"
    run = mark * found.plan.tokens
    if case.family == "internvl":
        run = tokenizer.start_image_token + run + tokenizer.end_image_token
    begins = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
    ids = tokenizer(text.replace(mark, run), add_special_tokens=not begins).input_ids
    if list(found.ids) != ids:
        return f"prompt {list(found.ids)} {ids}"
    answer = " A red cat\nis there, in the image. "
    ids = tokenizer(answer, add_special_tokens=False).input_ids
    if (mine := encode_answer(found.model.tokenizer, answer)).tolist() not in (
        ids,
        [*ids, tokenizer.eos_token_id],
    ):
        return f"answer {mine} {ids}"
    # Of two tokens with the same id, the library decodes one at random.
    ids, every = tokenizer.get_vocab().values(), [*range(0, 320, 7)]
    if len(set(ids)) == len(ids) and tokenizer.decode(every) != _decoded(found, every):
        return "decoded"
    return ""


def _decoded(found: Ours, ids: list[int]) -> str:
    return found.model.tokenizer.decode(ids)


def _their_template(folder: Path, tokenizer: Any) -> str | None:
    from transformers.processing_utils import ProcessorMixin

    template = ProcessorMixin.get_processor_dict(folder)[0].get("chat_template")
    template = tokenizer.chat_template if template is None else template
    return template["default"] if isinstance(template, dict) else template


def _their_pixels(case: Case) -> dict[str, torch.Tensor]:
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(case.folder, backend="pil")
    options = {"crop_to_patches": True} if case.family == "internvl" else {}
    return processor(images=Image.fromarray(image()), return_tensors="pt", **options)


def pixel_difference(case: Case, found: Ours) -> str:
    """How the patches that the model sees differ; empty for not at all."""
    pixels = _their_pixels(case)["pixel_values"].numpy()
    patches = np.asarray(families._patches(found.plan))[0]
    patch = found.model.image_settings.patch_size
    if case.family.startswith("qwen"):
        frames = pixels.reshape(len(pixels), 3, -1, patch, patch)
        pixels = frames[:, :, 0].reshape(len(pixels), -1)
    else:
        tiles, _, height, width = pixels.shape
        cut = pixels.reshape(tiles, 3, height // patch, patch, width // patch, patch)
        pixels = cut.transpose(0, 2, 4, 1, 3, 5).reshape(-1, 3 * patch**2)
    if pixels.shape != patches.shape:
        return f"pixels {patches.shape} {pixels.shape}"
    worst = abs(pixels - patches).max()
    return "" if worst < 1e-4 else f"pixels differ by {worst}"


def score_difference(case: Case, found: Ours) -> str:
    """How log-probabilities of the next token and a greedy answer differ."""
    from transformers import AutoModelForImageTextToText

    model, info = AutoModelForImageTextToText.from_pretrained(
        case.folder, dtype=torch.float32, output_loading_info=True
    )
    if info["missing_keys"]:
        return ""  # They are drawn at random; we read tensors that transformers leaves out.
    sequence = torch.as_tensor(found.ids, dtype=torch.long)[None]
    inputs = {"input_ids": sequence, "attention_mask": torch.ones_like(sequence)}
    pixels = _their_pixels(case)
    inputs["pixel_values"] = pixels["pixel_values"]
    if "image_grid_thw" in pixels:
        inputs["image_grid_thw"] = pixels["image_grid_thw"]
        inputs["mm_token_type_ids"] = (sequence == model.config.image_token_id).int()
    with torch.inference_mode():
        theirs = torch.log_softmax(model.eval()(**inputs).logits[0].float(), -1).numpy()
    loaded = eagle_jax.load(case.folder, dtype="float32")
    network, plan = loaded.network, found.plan
    start = image_start(found.ids, network.config.image_token_id)
    positions = network.positions(found.ids, plan.grid)
    layout = network.layout(plan.grid)
    patches = families._patches(plan)
    mine = np.asarray(
        families.log_probabilities(network, found.ids, patches, layout, positions, start)
    )[0]
    if mine.shape != theirs.shape:
        return f"scores {mine.shape} {theirs.shape}"
    worst = abs(mine - theirs).max()
    if not worst < 5e-3:
        return f"scores differ by {worst}"
    if case.file not in ("generation_config.json", "config.json", LAYOUT):
        return ""
    with torch.inference_mode():
        output = model.generate(
            **inputs, max_new_tokens=5, do_sample=False, return_dict_in_generate=False
        )
    theirs = output[0, sequence.shape[1] :].tolist()
    try:
        mine = eagle_jax.generate(loaded, image(), PROMPT, max_new_tokens=5).tolist()
    except InputError as error:
        damage.require_line(error, case.folder)
        return ""
    return "" if mine == theirs else f"answers {mine} {theirs}"
