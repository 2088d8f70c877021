"""How Hugging Face describes a decoder: its fields in config.json, the names of its tensors."""

from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.weights import TRANSPOSED, Target
from eagle_jax.models.layers.decoder import DecoderConfig


def require(supported: bool, what: str, family: str) -> None:
    """Refuses a config.json by the name and value of the field that is not supported.

    Args:
      supported: whether the port does what the field asks for.
      what: the field and its value.
      family: the model_type.

    Raises:
      InputError: it does not.
    """
    if not supported:
        raise InputError(f"config.json asks for {what}: not supported for {family}")


def decoder_config(
    text: dict[str, Any],
    family: str,
    *,
    tied_head: bool,
    multimodal_rope: bool = False,
    interleaved_rope: bool = False,
    qkv_bias: bool = False,
    qk_norm: bool = False,
    deep_features: int = 0,
) -> DecoderConfig:
    """Reads the decoder's part of config.json.

    Args:
      text: its fields, the family's defaults filled in.
      family: the model_type, for messages.
      tied_head: whether the head is the embedding matrix.
      multimodal_rope: whether rotary frequencies follow time, row and column of a token.
      interleaved_rope: whether these frequencies take turns.
      qkv_bias: whether query, key and value projections have biases.
      qk_norm: whether each head's queries and keys are normed.
      deep_features: vectors that each visual token brings for the first layers.

    Returns:
      The decoder's shape.

    Raises:
      InputError: a field asks for something the decoder does not do.
      KeyError: a field is missing.
    """
    rope = {**(text.get("rope_scaling") or {}), **(text.get("rope_parameters") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    heads = text["num_attention_heads"]
    head_size = text.get("head_dim") or text["hidden_size"] // heads
    sections = (head_size // 2, 0, 0)
    kinds = ["default"]
    if multimodal_rope:
        default = (24, 20, 20) if interleaved_rope else (16, 24, 24)
        sections = tuple(rope.get("mrope_section", default))
        kinds.append("mrope")
    rotated = rope.get("partial_rotary_factor", text.get("partial_rotary_factor", 1.0))
    others = set(text.get("layer_types") or ()) - {"full_attention"}
    window = text.get("sliding_window")
    experts = text.get("num_experts") or text.get("num_local_experts")
    interleaved = rope.get("mrope_interleaved", interleaved_rope)
    for supported, what in (
        (kind in kinds, f"rope_type {kind!r}"),
        (rotated == 1.0, f"partial_rotary_factor {rotated}"),
        (text.get("hidden_act", "silu") == "silu", f"hidden_act {text.get('hidden_act')!r}"),
        # A window given without the switch would be in force.
        (not text.get("use_sliding_window", window), f"sliding_window {window}"),
        (not others, f"layer_types {sorted(others)}"),
        (not text.get("attention_bias"), "attention_bias true"),
        (not text.get("mlp_bias"), "mlp_bias true"),
        (not experts, f"num_experts {experts}"),
        (interleaved == interleaved_rope, f"mrope_interleaved {interleaved}"),
        (
            deep_features < text["num_hidden_layers"],
            f"{deep_features} deepstack_visual_indexes with {text['num_hidden_layers']} layers",
        ),
        (
            len(sections) == 3 and sum(sections) == head_size // 2,
            f"mrope_section {list(sections)} with a head of {head_size}",
        ),
    ):
        require(supported, what, family)
    return DecoderConfig(
        vocabulary=text["vocab_size"],
        context=text["max_position_embeddings"],
        embed=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=heads,
        key_value_heads=text.get("num_key_value_heads") or heads,
        head_size=head_size,
        mlp=text["intermediate_size"],
        norm_eps=text["rms_norm_eps"],
        rope_theta=rope.get("rope_theta") or text["rope_theta"],
        rope_sections=sections,
        tied_head=tied_head,
        qkv_bias=qkv_bias,
        qk_norm=qk_norm,
        rope_interleaved=interleaved_rope,
        deep_features=deep_features,
    )


def decoder_keys(config: DecoderConfig) -> dict[str, Target | None]:
    """Names every tensor of the decoder and where it goes under ``decoder``."""
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
    hf: str, own: str, index: int | None, modules: dict[str, str]
) -> dict[str, Target]:
    """Names the tensors of a group of linear layers and norms.

    Args:
      hf: prefix in the checkpoint.
      own: prefix in the module.
      index: place on the layer axis; None where there is none.
      modules: name in the checkpoint -> name in the module; a trailing plus marks the ones
        that have a bias, and a name with "norm" in it a norm.

    Returns:
      Checkpoint key -> target.
    """
    keys = {}
    for hf_module, own_module in modules.items():
        path = f"{own}.{own_module.rstrip('+')}"
        if "norm" in own_module:
            keys[f"{hf}.{hf_module}.weight"] = Target(f"{path}.scale", index)
        else:
            keys[f"{hf}.{hf_module}.weight"] = Target(f"{path}.kernel", index, TRANSPOSED)
        if own_module.endswith("+"):
            keys[f"{hf}.{hf_module}.bias"] = Target(f"{path}.bias", index)
    return keys
