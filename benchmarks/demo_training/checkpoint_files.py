"""The demo checkpoint as a Hugging Face folder of the Qwen2.5-VL family."""

import json
from pathlib import Path
from typing import Any

from demo_training.tokenizer import END_TOKEN, IMAGE_TOKEN, PAD_TOKEN, save_tokenizer
from eagle_jax.inputs.image_settings import ImageSettings

VOCABULARY = 454


def hugging_face_config(token_id) -> dict[str, Any]:
    """config.json of the demo model.

    Args:
      token_id: function from a special token's text to its id.
    """
    ids = {
        "image_token_id": token_id(IMAGE_TOKEN),
        "vision_start_token_id": token_id("<|vision_start|>"),
        "vision_end_token_id": token_id("<|vision_end|>"),
    }
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "dtype": "float32",
        "tie_word_embeddings": True,
        # Qwen2.5-VL has a video token, too; nothing in this vocabulary is one.
        "video_token_id": VOCABULARY,
        **ids,
        "text_config": {
            "model_type": "qwen2_5_vl_text",
            "vocab_size": VOCABULARY,
            "hidden_size": 160,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "hidden_act": "silu",
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [8, 16, 16],
            },
            "use_sliding_window": False,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": token_id(END_TOKEN),
            "pad_token_id": token_id(PAD_TOKEN),
            "dtype": "float32",
        },
        "vision_config": {
            "model_type": "qwen2_5_vl",
            "depth": 4,
            "hidden_size": 128,
            "intermediate_size": 320,
            "num_heads": 2,
            "hidden_act": "silu",
            "in_channels": 3,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 84,
            "fullatt_block_indexes": [1, 3],
            "out_hidden_size": 160,
            "tokens_per_second": 2,
        },
    }


PREPROCESSOR = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "do_convert_rgb": True,
    "resample": 3,
    "rescale_factor": 1 / 255,
    "image_mean": list(ImageSettings.mean),
    "image_std": list(ImageSettings.std),
    "patch_size": 14,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "size": {"shortest_edge": 56 * 56, "longest_edge": 168 * 168},
    "min_pixels": 56 * 56,
    "max_pixels": 168 * 168,
}


def write_text_side(folder: Path, token_id) -> None:
    """Writes everything of the checkpoint but its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folder)
    config = hugging_face_config(token_id)
    text = config["text_config"]
    generation = {
        "do_sample": False,
        "max_new_tokens": 48,
        "eos_token_id": text["eos_token_id"],
        "pad_token_id": text["pad_token_id"],
    }
    for name, content in (
        ("config.json", config),
        ("preprocessor_config.json", PREPROCESSOR),
        ("generation_config.json", generation),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
