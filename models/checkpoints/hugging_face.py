"""How Hugging Face describes a decoder: its fields in config.json, the names of its tensors."""

from collections.abc import Collection, Mapping
from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.weights import TRANSPOSED, Axes, Target
from eagle_jax.models.layers.decoder import DecoderConfig

Allowed = Mapping[str, Collection[Any]]

# Values that every decoder supports of the fields that `_requests` reads.
_ALLOWED: Allowed = {
    "rope_type": ("default",),
    "partial_rotary_factor": (1.0,),
    "mrope_interleaved": (False,),
    "hidden_act": ("silu",),
    "sliding_window": (),
    "layer_types": (),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "num_experts": (),
}


def require(supported: bool, request: str, family: str) -> None:
    """Refuses a config.json that asks for something that is not supported.

    Args:
      supported: whether the request is supported.
      request: name and value of the field, for the message.
      family: the model_type, for the message.

    Raises:
      InputError: the request is not supported.
    """
    if not supported:
        raise InputError(f"config.json asks for {request:.100}: not supported for {family}")


def decoder_config(
    text: dict[str, Any],
    family: str,
    *,
    tied_head: bool,
    mrope_section: tuple[int, int, int] | None = None,
    allowed: Allowed | None = None,
    **shape: Any,
) -> DecoderConfig:
    """Reads the decoder's part of config.json.

    Args:
      text: fields of the decoder's part, with the family's defaults filled in.
      family: the model_type, for messages.
      tied_head: whether the head is the embedding matrix.
      mrope_section: default of the field of this name, for families with multimodal positions;
        None for families with one-dimensional positions.
      allowed: field -> values that the family supports, for fields where these are not the
        values of `_ALLOWED`, which every decoder supports.
      shape: other fields of `DecoderConfig` that hold for all decoders of the family.

    Raises:
      InputError: a field asks for something that the family does not support.
      KeyError: a field is missing.
    """
    rope = rope_fields(text)
    allowed = {**_ALLOWED, **(allowed or {})}
    for field, value in _requests(text).items():
        require(value is None or value in allowed[field], f"{field} {value!r}", family)
    heads, layers = text["num_attention_heads"], text["num_hidden_layers"]
    head_size = text.get("head_dim") or text["hidden_size"] // heads
    sections = (head_size // 2, 0, 0)
    if mrope_section is not None:
        sections = tuple(rope.get("mrope_section", mrope_section))
    require(
        len(sections) == 3 and sum(sections) == head_size // 2,
        f"mrope_section {list(sections)} with a head of {head_size}",
        family,
    )
    deep = shape.get("deep_features", 0)
    require(deep < layers, f"{deep} deepstack_visual_indexes with {layers} layers", family)
    return DecoderConfig(
        vocabulary=text["vocab_size"],
        context=text["max_position_embeddings"],
        embed=text["hidden_size"],
        layers=layers,
        heads=heads,
        key_value_heads=text.get("num_key_value_heads") or heads,
        head_size=head_size,
        mlp=text["intermediate_size"],
        norm_eps=text["rms_norm_eps"],
        rope_theta=rope.get("rope_theta") or text["rope_theta"],
        rope_sections=sections,
        tied_head=tied_head,
        **shape,
    )


def rope_fields(part: dict[str, Any]) -> dict[str, Any]:
    """The fields about rotary positions, as transformers 4 or 5 writes them.

    As in transformers, the field of version 4 replaces that of version 5 where both are given.

    Args:
      part: the decoder's or the vision tower's part of config.json.
    """
    return part.get("rope_scaling") or part.get("rope_parameters") or {}


def _requests(text: dict[str, Any]) -> dict[str, Any]:
    """Values of the fields that can ask for more than the plain decoder; None for absent."""
    rope = rope_fields(text)
    window = text.get("sliding_window")
    partial = text.get("partial_rotary_factor")
    return {
        "rope_type": rope.get("rope_type", rope.get("type")),
        "partial_rotary_factor": rope.get("partial_rotary_factor", partial),
        "mrope_interleaved": rope.get("mrope_interleaved"),
        "hidden_act": text.get("hidden_act"),
        # A window that is given without the switch is in force.
        "sliding_window": (window or True) if text.get("use_sliding_window", window) else None,
        "layer_types": sorted(set(text.get("layer_types") or ()) - {"full_attention"}) or None,
        "attention_bias": text.get("attention_bias"),
        "mlp_bias": text.get("mlp_bias"),
        "num_experts": text.get("num_experts") or text.get("num_local_experts") or None,
    }


def decoder_keys(config: DecoderConfig) -> dict[str, Target | None]:
    """The key map of the decoder's tensors, which go under ``decoder``."""
    bias = "+" if config.qkv_bias else ""
    modules = {
        "input_layernorm": "attention_norm",
        "self_attn.q_proj": f"attention.query{bias}",
        "self_attn.k_proj": f"attention.key{bias}",
        "self_attn.v_proj": f"attention.value{bias}",
        "self_attn.o_proj": "attention.output",
        "post_attention_layernorm": "mlp_norm",
        "mlp.gate_proj": "mlp.gate",
        "mlp.up_proj": "mlp.up",
        "mlp.down_proj": "mlp.down",
    }
    if config.qk_norm:
        modules["self_attn.q_norm"] = "attention.query_norm"
        modules["self_attn.k_norm"] = "attention.key_norm"
    keys: dict[str, Target | None] = {}
    last = config.layers - 1
    for layer in range(last):
        keys |= module_keys(f"model.layers.{layer}", "decoder.layers", layer, modules)
    keys |= module_keys(f"model.layers.{last}", "decoder.last", None, modules)
    keys["model.embed_tokens.weight"] = Target("decoder.embedding.embedding")
    keys["model.norm.weight"] = Target("decoder.norm.scale")
    keys["lm_head.weight"] = None
    if not config.tied_head:
        keys["lm_head.weight"] = Target("decoder.head.kernel", None, TRANSPOSED)
    return keys


def module_keys(
    hf: str, prefix: str, index: int | None, modules: dict[str, str]
) -> dict[str, Target]:
    """The key map of a group of linear layers and norms.

    Args:
      hf: prefix in the checkpoint.
      prefix: prefix in the module.
      index: index on the layer axis; None for parameters without a layer axis.
      modules: name in the checkpoint -> name in the module. A name with "norm" in it is that of
        a norm; a plus behind the name marks a layer or norm that has a bias.
    """
    keys = {}
    for hf_module, module in modules.items():
        path = f"{prefix}.{module.rstrip('+')}"
        if "norm" in module:
            keys[f"{hf}.{hf_module}.weight"] = Target(f"{path}.scale", index)
        else:
            keys[f"{hf}.{hf_module}.weight"] = Target(f"{path}.kernel", index, TRANSPOSED)
        if module.endswith("+"):
            keys[f"{hf}.{hf_module}.bias"] = Target(f"{path}.bias", index)
    return keys


def patch_kernel(vision: Any) -> Axes:
    """Axes of a patch embedding, a convolution in the checkpoint and linear in the module.

    (embed, channel, row, column) <-> (channel * row * column, embed)

    Args:
      vision: configuration of the tower, with ``embed``, ``channels`` and ``patch``.
    """
    shape = (vision.embed, vision.channels, vision.patch, vision.patch)
    return Axes(lambda x: x.reshape(vision.embed, -1).T, lambda x: x.T.reshape(shape))
