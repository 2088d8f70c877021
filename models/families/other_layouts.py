"""Checkpoints in the layout of their authors: which one in the Hugging Face layout to take."""

from collections.abc import Mapping
from typing import Any

# By width and number of layers of the language model.
_LLAVA = {(4096, 32): "7b", (5120, 40): "13b"}
_INTERNVL3 = {
    (896, 24): "1B",
    (1536, 28): "2B",
    (3584, 28): "8B",
    (5120, 48): "14B",
    (5120, 64): "38B",
    (8192, 80): "78B",
}
_INTERNVL3_5 = {
    (1024, 28): "1B",
    (2048, 28): "2B",
    (2560, 36): "4B",
    (4096, 36): "8B",
    (5120, 40): "14B",
    (5120, 64): "38B",
}


def other_layout(config: Mapping[str, Any]) -> str | None:
    """What a config.json in its authors' layout is, and what to take; None for any other.

    Args:
      config: the parsed file.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        return None
    if model_type == "internvl_chat":
        text = config.get("llm_config")
        text = text if isinstance(text, dict) else {}
        third = "Qwen3" not in str(text.get("architectures"))
        sizes, name, end = (
            (_INTERNVL3, "InternVL3", "hf") if third else (_INTERNVL3_5, "InternVL3_5", "HF")
        )
        size = sizes.get(_shape(text), "8B")
        return (
            "is in InternVL's own layout (internvl_chat); take its sibling in the Hugging Face "
            f"layout, such as OpenGVLab/{name}-{size}-{end}"
        )
    original = model_type == "llava" and not config.get("vision_config")
    original = original and any(name.startswith("mm_") for name in config)
    if original or _is_llava_original(config, model_type):
        size = _LLAVA.get(_shape(config), "13b" if config.get("hidden_size") == 5120 else "7b")
        return (
            "is in LLaVA's own layout (LLaVA's repository, not transformers'); take a "
            f"LLaVA-1.5 in the Hugging Face layout, such as llava-hf/llava-1.5-{size}-hf"
        )
    return None


def _is_llava_original(config: Mapping[str, Any], model_type: str) -> bool:
    if model_type.startswith(("llava_llama", "llava_mistral", "llava_mpt", "llava_qwen")):
        return True
    names = config.get("architectures")
    return isinstance(names, list) and any(
        str(name).startswith("Llava") and str(name).endswith("ForCausalLM") for name in names
    )


def _shape(text: Mapping[str, Any]) -> tuple[Any, Any]:
    shape = text.get("hidden_size"), text.get("num_hidden_layers")
    return shape if all(type(size) is int for size in shape) else (None, None)
