"""Tiny random Qwen2-VL, Qwen2.5-VL and Qwen3-VL checkpoints in Hugging Face layout."""

import copy
from pathlib import Path

import transformers
from small_tokenizer import SPECIAL_TOKENS
from tiny_folder import (
    CLIP_PIXELS,
    VOCABULARY,
    draw_weights,
    save_json,
    save_tokenizer,
    save_weights,
)

CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As in the published folders, by transformers 5's own naming, and by its save_pretrained.
LAYOUTS = ("hub", "nested", "saved")
_TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]},
    "use_sliding_window": False,
}


def make_qwen2_5_vl(
    folder: str | Path,
    seed: int = 0,
    *,
    tied: bool = False,
    shards: int = 1,
    layout: str = "hub",
    window_size: int = 56,
    min_pixels: int = 56 * 56,
) -> Path:
    """Writes a tiny random Qwen2.5-VL checkpoint.

    Args:
        folder: Where to write; created when missing.
        seed: Seed of the weights; equal seeds and `tied` give equal weights in every layout.
        tied: Whether the output head is the embedding matrix.
        shards: Number of safetensors files; an index file is written when above one.
        layout: One of `LAYOUTS`; the published folders have a flat config.json and tensors
            named `model.layers` and `visual`.
        window_size: Side of an attention window in pixels; one merged token has 28.
        min_pixels: Smallest area the processor resizes to.

    Returns:
        The folder.
    """
    vision = {
        "depth": 5,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_heads": 3,
        "hidden_act": "silu",
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": window_size,
        "fullatt_block_indexes": [2, 4],
        "out_hidden_size": 64,
        "in_chans": 3,
        "tokens_per_second": 2,
    }
    config = {"model_type": "qwen2_5_vl", **_TEXT, "vision_config": vision}
    pixels = {"min_pixels": min_pixels, "max_pixels": 12845056, "patch_size": 14, **CLIP_PIXELS}
    return _make(Path(folder), "Qwen2_5_VL", config, pixels, seed, tied, layout, shards)


def make_qwen2_vl(
    folder: str | Path,
    seed: int = 0,
    *,
    tied: bool = False,
    shards: int = 1,
    layout: str = "hub",
) -> Path:
    """Writes a tiny random Qwen2-VL checkpoint; as `make_qwen2_5_vl`."""
    vision = {
        "depth": 3,
        "embed_dim": 48,
        "mlp_ratio": 2,
        "num_heads": 3,
        "in_chans": 3,
        "hidden_size": 64,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "temporal_patch_size": 2,
    }
    config = {"model_type": "qwen2_vl", **_TEXT, "vision_config": vision}
    pixels = {"min_pixels": 56 * 56, "max_pixels": 12845056, "patch_size": 14, **CLIP_PIXELS}
    return _make(Path(folder), "Qwen2VL", config, pixels, seed, tied, layout, shards)


def make_qwen3_vl(
    folder: str | Path,
    seed: int = 0,
    *,
    tied: bool = False,
    shards: int = 1,
    layout: str = "hub",
    deep_layers: tuple[int, ...] = (1, 3),
) -> Path:
    """Writes a tiny random Qwen3-VL checkpoint; as `make_qwen2_5_vl`.

    Its published folders have a nested config.json and tensors named
    `model.language_model` and `model.visual`. `deep_layers` are the vision layers that the
    decoder's first layers read, of 5.
    """
    rope = {"mrope_interleaved": True, "mrope_section": [4, 2, 2], "rope_type": "default"}
    unused = ("use_sliding_window", "rope_scaling")
    text = {name: value for name, value in _TEXT.items() if name not in unused}
    text |= {"model_type": "qwen3_vl_text", "head_dim": 16, "rope_scaling": rope}
    text |= {"num_hidden_layers": 4, "attention_bias": False}
    vision = {
        "model_type": "qwen3_vl",
        "depth": 5,
        "hidden_size": 48,
        "hidden_act": "gelu_pytorch_tanh",
        "intermediate_size": 80,
        "num_heads": 3,
        "in_channels": 3,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": 64,
        "num_position_embeddings": 25,
        "deepstack_visual_indexes": list(deep_layers),
    }
    config = {"model_type": "qwen3_vl", "text_config": text, "vision_config": vision}
    pixels = {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "size": {"shortest_edge": 64 * 64, "longest_edge": 16777216},
        "patch_size": 16,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    return _make(Path(folder), "Qwen3VL", config, pixels, seed, tied, layout, shards)


def _make(
    folder: Path,
    family: str,
    config: dict,
    pixels: dict,
    seed: int,
    tied: bool,
    layout: str,
    shards: int,
) -> Path:
    if layout not in LAYOUTS:
        raise ValueError(f"layout is one of {LAYOUTS}, not {layout!r}")
    folder.mkdir(parents=True, exist_ok=True)
    ids = save_tokenizer(folder, (*SPECIAL_TOKENS, "<|video_pad|>"), CHAT_TEMPLATE)
    architecture = f"{family}ForConditionalGeneration"
    config = config | {
        "architectures": [architecture],
        "torch_dtype": "float32",
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "tie_word_embeddings": tied,
    }
    read = getattr(transformers, f"{family}Config")(**copy.deepcopy(config))
    model = getattr(transformers, architecture)(read)
    draw_weights(model, seed)
    if layout == "saved":
        model.save_pretrained(folder)
    elif layout == "nested":
        model.config.architectures = config["architectures"]
        model.config.save_pretrained(folder)
        save_weights(folder, model, lambda name: name, shards)
    else:
        save_json(folder / "config.json", config)
        nested = "text_config" in config
        save_weights(folder, model, (lambda name: name) if nested else _on_hub, shards)
    preprocessor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "temporal_patch_size": 2,
        "merge_size": 2,
        **pixels,
    }
    save_json(folder / "preprocessor_config.json", preprocessor)
    end = {"do_sample": False, "eos_token_id": ids["<|im_end|>"]}
    save_json(folder / "generation_config.json", end)
    return folder


def _on_hub(name: str) -> str:
    name = name.replace("model.language_model.", "model.")
    return name.replace("model.visual.", "visual.")
