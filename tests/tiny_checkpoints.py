"""Tiny random checkpoints of the supported families, made on the spot.

The weights are far larger than an initialiser would draw, so that attention is peaked and
the pixels move the answer: with small weights a wrong window, rotation or mask hides below
every tolerance.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
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
CORPUS = (
    "You are a helpful assistant.",
    "system user assistant",
    "Describe the image in one factual English sentence.",
    "Is there a cat in the image? Answer Yes or No.",
    "What colour is the car? A red car stands beside a large blue house.",
    "There is a small green tree near the yellow boat on the water.",
)
VOCABULARY = 320


def make_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Writes a byte-level BPE tokenizer with Qwen's special tokens and chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - len(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=list(SPECIAL_TOKENS),
        chat_template=CHAT_TEMPLATE,
    )
    fast.save_pretrained(folder)
    return fast


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
    """Writes a tiny random Qwen2.5-VL checkpoint in Hugging Face layout.

    Args:
        folder: Where to write; created when missing.
        seed: Seed of the weights; equal seeds and `tied` give equal weights in every layout.
        tied: Whether the output head is the embedding matrix.
        shards: Number of safetensors files; an index file is written when above one.
        layout: "hub" is what the published folders look like (flat config, `model.layers`,
            `visual`); "nested" is transformers 5's own naming (`text_config`,
            `model.language_model`, `model.visual`).
        window_size: Side of an attention window in pixels; one merged token has 28.
        min_pixels: Smallest area the processor resizes to.

    Returns:
        The folder.
    """
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ids = make_tokenizer(folder).get_vocab()
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "use_sliding_window": False,
    }
    rope = {"type": "mrope", "mrope_section": [2, 3, 3]}
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
    top = {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": tied,
    }
    flat = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "torch_dtype": "float32",
        "rope_theta": 10000.0,
        "rope_scaling": rope,
        **top,
        **text,
        "vision_config": vision,
    }
    config = Qwen2_5_VLConfig(**json.loads(json.dumps(flat)))
    model = Qwen2_5_VLForConditionalGeneration(config)
    _draw_weights(model, seed)

    if layout == "hub":
        (folder / "config.json").write_text(json.dumps(flat, indent=2))
    elif layout == "nested":
        model.config.architectures = flat["architectures"]
        model.config.save_pretrained(folder)
    else:
        raise ValueError(f"layout is 'hub' or 'nested', not {layout!r}")
    tensors = {
        _on_disk(name, layout): tensor.detach().to(torch.float32).contiguous().numpy().copy()
        for name, tensor in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    _save_shards(folder, tensors, shards)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "Qwen2VLImageProcessor",
                "min_pixels": min_pixels,
                "max_pixels": 12845056,
                "patch_size": 14,
                "temporal_patch_size": 2,
                "merge_size": 2,
                "image_mean": [0.48145466, 0.4578275, 0.40821073],
                "image_std": [0.26862954, 0.26130258, 0.27577711],
            },
            indent=2,
        )
    )
    (folder / "generation_config.json").write_text(
        json.dumps({"do_sample": False, "eos_token_id": ids["<|im_end|>"]})
    )
    return folder


def _draw_weights(model, seed: int) -> None:
    import torch

    generator = torch.Generator().manual_seed(seed)

    def normal(shape):
        return torch.randn(shape, generator=generator)

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("bias"):
                parameter.copy_(0.3 * normal(parameter.shape))
            elif parameter.ndim == 1:
                parameter.copy_(1.0 + 0.2 * normal(parameter.shape))
            elif "embed_tokens" in name or "lm_head" in name:
                parameter.copy_(0.28 * normal(parameter.shape))
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(1.05 / fan_in**0.5 * normal(parameter.shape))
        model.tie_weights()


def _on_disk(name: str, layout: str) -> str:
    if layout == "hub":
        name = name.replace("model.language_model.", "model.").replace(
            "model.visual.", "visual."
        )
    return name


def _save_shards(folder: Path, tensors: dict[str, np.ndarray], shards: int) -> None:
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(tensors)
    where = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: tensors[name] for name in names[shard::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        where |= dict.fromkeys(part, file)
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
        "weight_map": where,
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
