"""Tiny random InternVL checkpoints in Hugging Face layout."""

import copy
from pathlib import Path

import torch
from tiny_folder import VOCABULARY, draw_weights, save_json, save_tokenizer, save_weights
from transformers import InternVLConfig, InternVLForConditionalGeneration

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
)
# The published template: the processor, not the template, writes <img> and </img>.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<IMG_CONTEXT>\n"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
}
TILE = 56
LAYOUTS = ("hub", "nested", "saved")


def make_internvl(
    folder: str | Path, seed: int = 0, *, kind: str = "3.5", layout: str = "hub"
) -> Path:
    """Writes a tiny random InternVL checkpoint.

    Args:
        folder: Where to write; created when missing.
        seed: Seed of the weights; equal seeds and kinds give equal weights in every layout.
        kind: "3.5" has a Qwen3 decoder with its own head and the small tower's layer norms
            and biases; "6B" has a tied Qwen2 decoder and the large tower's root-mean-square
            norms, normed queries and keys and no biases, and merges more and smaller patches
            than the processor's file would let one think.
        layout: "hub" is what the published folders look like (`language_model.model`,
            `vision_tower`, no outer `tie_word_embeddings`); "nested" is transformers 5's own
            naming (`model.language_model`, `model.vision_tower`); "saved" is its own
            save_pretrained.

    Returns:
        The folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ids = save_tokenizer(folder, SPECIAL_TOKENS, CHAT_TEMPLATE, extra_special_tokens=MARKS)
    small = kind == "3.5"
    patch = 14 if small else 7
    text = {
        "model_type": "qwen3" if small else "qwen2",
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_theta": 50000.0,
        "rope_scaling": None,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "tie_word_embeddings": not small,
        "use_sliding_window": False,
        "sliding_window": None,
    }
    if small:
        text |= {"head_dim": 24, "attention_bias": False}
    vision = {
        "model_type": "internvl_vision",
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "intermediate_size": 80,
        "hidden_act": "gelu",
        "image_size": [TILE, TILE],
        "patch_size": [patch, patch],
        "layer_norm_eps": 1e-6,
        "norm_type": "layer_norm" if small else "rms_norm",
        "attention_bias": small,
        "use_qk_norm": not small,
        "use_absolute_position_embeddings": True,
        "use_mask_token": False,
        "use_mean_pooling": True,
    }
    config = {
        "architectures": ["InternVLForConditionalGeneration"],
        "model_type": "internvl",
        "torch_dtype": "float32",
        "downsample_ratio": 0.5 if small else 0.25,
        "image_seq_length": 4,
        "image_token_id": ids["<IMG_CONTEXT>"],
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        "text_config": text,
        "vision_config": vision,
    }
    read = InternVLConfig(**copy.deepcopy(config), tie_word_embeddings=not small)
    model = InternVLForConditionalGeneration(read)
    _draw_weights(model, seed)
    if layout == "saved":
        model.save_pretrained(folder)
    elif layout == "nested":
        model.config.architectures = config["architectures"]
        model.config.save_pretrained(folder)
        save_weights(folder, model, lambda name: name)
    else:
        save_json(folder / "config.json", config)
        save_weights(folder, model, _on_hub)
    preprocessor = {
        "image_processor_type": "GotOcr2ImageProcessorFast",
        "crop_to_patches": True,
        "min_patches": 1,
        "max_patches": 12,
        "size": {"height": TILE, "width": TILE},
        "resample": 3,
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    save_json(folder / "preprocessor_config.json", preprocessor)
    end = {"do_sample": False, "eos_token_id": ids["<|im_end|>"]}
    save_json(folder / "generation_config.json", end)
    return folder


def _draw_weights(model, seed: int) -> None:
    draw_weights(model, seed)
    embeddings = model.model.vision_tower.embeddings
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in (embeddings.cls_token, embeddings.position_embeddings):
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))


def _on_hub(name: str) -> str:
    if name == "lm_head.weight":
        return "language_model.lm_head.weight"
    for module in ("vision_tower.", "multi_modal_projector."):
        name = name.replace(f"model.{module}", module)
    return name.replace("model.language_model.", "language_model.model.")
