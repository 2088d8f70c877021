"""Modules of transformers on the meta device, and the names of their weights."""

import contextlib
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.utils import logging

from eagle_jax.errors import InputError, reason
from eagle_jax.models.bridge.attention import ATTENTION


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


def _compute_buffers(model: Any) -> None:
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
      Name -> tensor, with tied weights once; and for every name its name in that table.
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
    """Silences the warnings of transformers about configurations."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
