"""Weights of a checkpoint folder for modules of transformers."""

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import torch
from tqdm import tqdm
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from eagle_jax.errors import InputError, reason
from eagle_jax.models.bridge.modules import weight_names
from eagle_jax.models.bridge.traced import to_numpy
from eagle_jax.models.checkpoints.finite import is_finite, not_finite
from eagle_jax.models.checkpoints.tensor_files import (
    StoredTensor,
    listed,
    same_values,
    stored_tensors,
)

Read = Callable[[], np.ndarray]


def load_arrays(
    folder: Path,
    model: torch.nn.Module,
    dtype: str | None = None,
    sharding: Any = None,
    progress: bool = False,
) -> tuple[dict[str, jax.Array], list[str]]:
    """Reads the weights of modules on the meta device, tied ones once.

    Weights are read one after the other; PyTorch holds at most one of them.

    Args:
      folder: the checkpoint folder.
      model: the modules, from `build_modules`.
      dtype: floating-point type of the weights; None keeps the checkpoint's.
      sharding: where the arrays go; None for the default device.
      progress: show a progress bar.

    Returns:
      Name -> array, for the names that `weight_names` gives, and the names of weights that
      the checkpoint does not tie although the model does.

    Raises:
      InputError: a tensor is missing, unexpected, misshapen, quantised or not finite.
    """
    _, alias = weight_names(model)
    sources, unexpected = _sources(model, alias, stored_tensors(folder))
    for name, other in alias.items():
        # As in transformers, tied weights that differ in the files are read as they are.
        if name != other and name in sources:
            if other not in sources:
                sources[other] = sources.pop(name)
            elif same_values(sources[name][0], sources[other][0]):
                del sources[name]
    untied = [name for name, other in alias.items() if name != other and name in sources]
    weights, _ = weight_names(model, untied)
    missing = [name for name in weights if name not in sources]
    if missing or unexpected:
        faults = [
            f"{len(names)} {what}: {listed(sorted(names))}"
            for what, names in (("missing", missing), ("unexpected", unexpected))
            if names
        ]
        raise InputError(
            f"the tensors in {folder} do not fit its config.json; {'; '.join(faults)}; fetch "
            "the checkpoint again"
        )
    arrays = {}
    for name in tqdm(weights, desc="reading", unit="parameter", disable=not progress):
        stored, read = sources[name]
        value = read()
        if value.shape != tuple(weights[name].shape):
            raise InputError(
                f"{stored.name} in {stored.path} makes {name} {value.shape}, but config.json "
                f"says {tuple(weights[name].shape)}; fetch the checkpoint again"
            )
        wanted = jnp.dtype(dtype) if dtype else value.dtype
        value = np.ascontiguousarray(value.astype(wanted, copy=False))
        if not is_finite(value):
            raise not_finite(stored, wanted)
        arrays[name] = jax.device_put(value, sharding)
    return arrays, untied


def _sources(
    model: Any, alias: Mapping[str, str], tensors: Mapping[str, StoredTensor]
) -> tuple[dict[str, tuple[StoredTensor, Read]], list[str]]:
    """Name of a weight -> how it is read; and the names of tensors that belong to none."""
    transforms = get_model_conversion_mapping(model)
    renamings = [t for t in transforms if isinstance(t, WeightRenaming)]
    converters = [t for t in transforms if isinstance(t, WeightConverter)]
    by_pattern = {p: c for c in converters for p in c.source_patterns}
    wanted = dict.fromkeys(alias, True)
    sources: dict[str, tuple[StoredTensor, Read]] = {}
    groups: dict[str, tuple[StoredTensor, WeightConverter]] = {}
    unexpected = []
    skipped = model._keys_to_ignore_on_load_unexpected or ()
    for stored in tensors.values():
        if stored.dtype is None:
            raise InputError(
                f"{stored.name} in {stored.path} is quantised ({stored.dtype_name}), not "
                "float64, float32, float16 or bfloat16; take the checkpoint in bfloat16"
            )
        name, pattern = rename_source_key(
            stored.name, renamings, converters, model.base_model_prefix, wanted
        )
        if pattern is not None:
            _, converter = groups.setdefault(name, (stored, copy.deepcopy(by_pattern[pattern])))
            late: Any = _Late(stored)
            converter.add_tensor(name, stored.name, pattern, late)
        elif name in alias:
            sources[name] = stored, _reader(stored)
        elif not any(re.search(skip, name) for skip in skipped):
            unexpected.append(stored.name)
    for name, (stored, converter) in groups.items():
        for target, read in _converted(name, stored, converter, model):
            if target not in alias:
                unexpected.append(stored.name)
            else:
                sources[target] = stored, read
    return sources, unexpected


class _Late:
    """A stored tensor that is read when a converter of transformers runs."""

    def __init__(self, stored: StoredTensor):
        self._stored = stored

    def __call__(self) -> torch.Tensor:
        return _to_torch(self._stored.read())


def _converted(name: str, stored: StoredTensor, converter: WeightConverter, model):
    """Names of the weights that a converter makes, each with a function that reads it."""
    done: dict[str, np.ndarray] = {}

    def read(target: str) -> np.ndarray:
        if not done:
            try:
                made = converter.convert(name, model=model, config=model.config)
            except Exception as error:  # converters raise any error at tensors of other shapes
                raise InputError(
                    f"{stored.name} in {stored.path} cannot be converted: {reason(error, 120)}"
                ) from error
            for key, value in made.items():
                value = value[0] if isinstance(value, list) else value
                done[key] = to_numpy(value)
        return done.pop(target)

    for pattern in converter.target_patterns:
        target = name
        if len(converter.target_patterns) > 1:
            target = name.replace(converter.target_patterns[0], pattern)
        yield target, lambda target=target: read(target)


def _reader(stored: StoredTensor) -> Read:
    def read() -> np.ndarray:
        value = stored.read()
        return value.astype(np.float32) if value.dtype == np.float64 else value

    return read


def _to_torch(value: np.ndarray) -> torch.Tensor:
    if value.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.array(value, copy=True))
