"""Refuses values in a config.json that no model can have, before anything is built."""

import math
from typing import Any

from eagle_jax.errors import InputError, shown_value

_LARGEST = 10_000_000
_MAX_LAYERS = 10_000
_LAYERS = ("num_hidden_layers", "depth")
_COUNTS = (
    "embed_dim",
    "head_dim",
    "hidden_size",
    "in_channels",
    "in_chans",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_channels",
    "num_heads",
    "num_key_value_heads",
    "num_position_embeddings",
    "out_hidden_size",
    "spatial_merge_size",
    "temporal_patch_size",
    "vocab_size",
    "window_size",
)
_IDS = ("image_token_id", "image_token_index")
_NUMBERS = (
    "layer_norm_eps",
    "mlp_ratio",
    "partial_rotary_factor",
    "rms_norm_eps",
    "rope_theta",
)
_SWITCHES = (
    "attention_bias",
    "mlp_bias",
    "qkv_bias",
    "tie_word_embeddings",
    "use_qk_norm",
    "use_sliding_window",
)
_LISTS = ("deepstack_visual_indexes", "fullatt_block_indexes", "mrope_section")
_WORDS = ("hidden_act",)
_WORD_LISTS = ("layer_types",)
_SECTIONS = ("llm_config", "rope_parameters", "rope_scaling", "text_config", "vision_config")


def checked_config(config: dict[str, Any], where: str = "config.json") -> dict[str, Any]:
    """Checks the fields that mean the same in every family.

    Args:
      config: the parsed config.json.
      where: name of the file in messages.

    Returns:
      A copy with real numbers as floats and without the fields that are null, since null
      stands for the default.

    Raises:
      InputError: a field has a value of another type or range, or the number of heads does not
        divide the width or is not a multiple of the key/value heads.
    """
    config = {name: value for name, value in config.items() if value is not None}
    for names, is_valid, wanted in (
        (_COUNTS, lambda x: _whole(x, 1, _LARGEST), f"a whole number from 1 to {_LARGEST}"),
        (_LAYERS, lambda x: _whole(x, 1, _MAX_LAYERS), f"1 to {_MAX_LAYERS} layers"),
        (_IDS, lambda x: _whole(x, 0, _LARGEST), f"a whole number from 0 to {_LARGEST}"),
        (_NUMBERS, _positive, "a positive number"),
        (_SWITCHES, lambda x: isinstance(x, bool), "true or false"),
        (_LISTS, _whole_list, "a list of whole numbers"),
        (_WORDS, lambda x: isinstance(x, str), "a name"),
        (_WORD_LISTS, _word_list, "a list of names"),
        (_SECTIONS, lambda x: isinstance(x, dict), "an object"),
    ):
        for name in names:
            if name in config and not is_valid(config[name]):
                raise InputError(
                    f"{where}: {name} is {shown_value(config[name])}; it must be {wanted}"
                )
    heads = config.get("num_attention_heads", config.get("num_heads", 1))
    if heads % config.get("num_key_value_heads", heads):
        raise InputError(
            f"{where}: {heads} attention heads cannot share num_key_value_heads "
            f"{config['num_key_value_heads']} evenly"
        )
    # In Qwen2-VL's vision tower embed_dim is the width, and hidden_size the output's width.
    width = "embed_dim" if "embed_dim" in config else "hidden_size"
    if "head_dim" not in config and config.get(width, heads) % heads:
        raise InputError(
            f"{where}: {width} {config[width]} cannot be divided among {heads} attention heads"
        )
    for name in config.keys() & _NUMBERS:
        config[name] = float(config[name])
    for name in config.keys() & _SECTIONS:
        config[name] = checked_config(config[name], f"{where}: {name}")
    return config


def _whole(value: Any, smallest: int, largest: int) -> bool:
    return type(value) is int and smallest <= value <= largest


def _positive(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value > 0


def _word_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _whole_list(value: Any) -> bool:
    return isinstance(value, list) and all(_whole(number, 0, _LARGEST) for number in value)
