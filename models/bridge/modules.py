"""Modules of transformers on the meta device, and the names of their weights."""

import contextlib
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils import logging

from eagle_jax.errors import InputError, reason
from eagle_jax.models.bridge.lowerings.attention import attend
from eagle_jax.models.bridge.traced import array_of, torch_dtype, wrapped

ATTENTION = "eagle_jax"


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention in the interface of transformers, computed by JAX."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    mask = None
    if attention_mask is not None:
        mask = array_of(attention_mask)[..., : key.shape[2]]
    out = attend(
        array_of(query),
        array_of(key),
        array_of(value),
        mask=mask,
        causal=bool(causal) and mask is None and query.shape[2] > 1,
        scale=scaling,
        softcap=softcap,
        sinks=None if s_aux is None else array_of(s_aux),
    )
    return wrapped(out.swapaxes(1, 2), torch_dtype(out.dtype)), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, sdpa_mask)


def build_modules(folder: Path, model_type: Any) -> torch.nn.Module:
    """The modules that a folder's config.json describes, without memory for their weights.

    Buffers that no checkpoint holds, such as the frequencies of rotary embeddings, are real.

    Args:
      folder: the checkpoint folder.
      model_type: the model_type of its config.json, for messages.

    Raises:
      InputError: transformers has no such model, or the model needs code of the checkpoint.
    """
    where = folder / "config.json"
    with _quiet():
        try:
            parsed = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            if type(parsed) not in AutoModelForImageTextToText._model_mapping:
                raise ValueError("transformers knows no image-text-to-text model of this type")
            with torch.device("meta"):
                model = AutoModelForImageTextToText.from_config(parsed)
        except Exception as error:  # configurations raise any error at wrong values
            raise InputError(
                f"{where} says model_type {model_type!r}; transformers cannot build it "
                f"without code of the checkpoint: {reason(error, 160)}"
            ) from error
        model.set_attn_implementation(ATTENTION)
        _compute_buffers(model)
    return model.eval().requires_grad_(False)


def _compute_buffers(model: torch.nn.Module) -> None:
    stored = model.state_dict().keys()
    for name, buffer in list(model.named_buffers()):
        if buffer.is_meta and name not in stored:
            path, _, last = name.rpartition(".")
            owner = model.get_submodule(path)
            owner._buffers[last] = torch.zeros_like(buffer, device="cpu")
    # As from_pretrained does: each module fills the buffers that no checkpoint holds.
    model.initialize_weights()


def weight_names(
    model: torch.nn.Module, untied: Collection[str] = ()
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The weights of a model, tied ones once.

    Args:
      model: the modules.
      untied: names of weights that the model ties to others and the checkpoint does not.

    Returns:
      Name -> tensor, for each weight once; and for every name the one in the first table.
    """
    first: dict[int, str] = {}
    alias: dict[str, str] = {}
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        alias[name] = name if name in untied else first.setdefault(id(tensor), name)
        if alias[name] == name:
            weights[name] = tensor
    return weights, alias


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences what transformers says about configurations."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
