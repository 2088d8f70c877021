"""Where a checkpoint's files and its config.json disagree, or leave a choice: what holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from eagle_jax.errors import InputError
from eagle_jax.models.checkpoints.tensor_files import StoredTensor, same_values, stored_tensors
from eagle_jax.models.checkpoints.unusable import (
    quantized_error,
    quantized_tensors,
    quantized_with,
)
from eagle_jax.models.checkpoints.weights import KeyMap

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_FLOATS = ("float64", "float32", "float16", "bfloat16")


def plain_tensors(
    folder: Path, config: Mapping[str, Any], keys: KeyMap
) -> dict[str, StoredTensor]:
    """The tensors of a folder, as from `stored_tensors`, unless they are quantised.

    A merged checkpoint often keeps the quantization_config of the model that it was trained
    from; where the tensors are whole and plain, they are taken as they are.

    Args:
      folder: the checkpoint folder.
      config: its parsed config.json.
      keys: key map of the family.

    Raises:
      InputError: the weights are quantised or absent.
    """
    method = quantized_with(folder, config)
    try:
        tensors = stored_tensors(folder)
    except InputError as error:
        if method is None or " LFS " in str(error):
            raise
        raise quantized_error(folder, method) from error
    traces = quantized_tensors({key: tensor.dtype_name for key, tensor in tensors.items()})
    whole = all(
        key in tensors and tensors[key].dtype is not None
        for key, target in keys.items()
        if target is not None and key not in (HEAD, EMBEDDING)
    )
    if traces is not None or (method is not None and not whole):
        raise quantized_error(folder, method or traces or "")
    return tensors


def head_is_own(tensors: Mapping[str, StoredTensor], tied: bool, ties: bool) -> bool:
    """Whether the head has weights of its own, by what the files hold.

    As in transformers, a head that differs from the embedding is read although config.json
    ties the two.

    Args:
      tensors: the checkpoint's tensors.
      tied: whether the family's configuration ties the head.
      ties: whether transformers ties a head that is not in the files.
    """
    if HEAD not in tensors:
        return not (tied or ties)
    if EMBEDDING not in tensors:
        return not tied
    return not tied or not same_values(tensors[HEAD], tensors[EMBEDDING])


def single_dtype(
    config: Mapping[str, Any], tensors: Mapping[str, StoredTensor], keys: KeyMap
) -> str | None:
    """The type to which floats of several types are cast; None if there is only one type.

    Args:
      config: the parsed config.json, whose type transformers takes.
      tensors: the checkpoint's tensors.
      keys: key map of the family.
    """
    used = [tensors[key].dtype for key, target in keys.items() if target and key in tensors]
    dtypes = {dtype for dtype in used if dtype is not None}
    if len(dtypes) < 2:
        return None
    declared = str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")
    if declared not in _FLOATS:
        return str(jnp.result_type(*dtypes))
    return "float32" if declared == "float64" else declared
