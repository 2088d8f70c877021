"""The arguments of an operation as arrays, as meta tensors and as hints."""

import functools
from typing import Any

import torch

from eagle_jax.models.bridge.traced import (
    Traced,
    array_of,
    is_plain,
    jax_dtype,
    storage,
    tracing,
)

# Arguments that say where and how a tensor is stored.
_STORAGE = ("device", "pin_memory", "layout", "memory_format", "non_blocking")


def mapped(value: Any, change) -> Any:
    """Arguments with a function applied to each leaf of their lists and dictionaries."""
    if type(value) in (tuple, list):
        return type(value)(mapped(entry, change) for entry in value)
    if type(value) is dict:
        return {key: mapped(entry, change) for key, entry in value.items()}
    return change(value)


def tensors_of(args, kwargs) -> list[torch.Tensor]:
    """All tensors among the arguments of an operation."""
    found: list[torch.Tensor] = []
    mapped(
        (args, tuple(kwargs.values())),
        lambda v: isinstance(v, torch.Tensor) and found.append(v),
    )
    return found


def is_held(args) -> bool:
    """Whether the memory of a plain tensor among the arguments holds traced values."""
    return any(is_plain(t) and storage(t) in tracing().memory for t in tensors_of(args, {}))


def as_argument(value: Any) -> Any:
    """A tensor as an array and a dtype as NumPy's; anything else as it is."""
    if isinstance(value, torch.Tensor):
        return array_of(value)
    return jax_dtype(value) if isinstance(value, torch.dtype) else value


def named_arguments(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a lowering, without those that say where a tensor is stored."""
    return {key: mapped(v, as_argument) for key, v in kwargs.items() if key not in _STORAGE}


def as_meta(value: Any) -> Any:
    """A tensor as a meta tensor with the same shape, strides and dtype."""
    if isinstance(value, Traced):
        return value.meta
    if is_plain(value):
        return torch.empty_strided(
            value.size(), value.stride(), dtype=value.dtype, device="meta"
        )
    return value


def as_hint(value: Any) -> Any:
    """A traced tensor as its hint."""
    return value.hint if isinstance(value, Traced) else value


def has_hint(tensor: torch.Tensor) -> bool:
    """Whether PyTorch knows the value of a tensor for the question at hand."""
    if isinstance(tensor, Traced):
        # After a write without a hint to any view, no view has a hint.
        root = tensor.root
        return tensor.hint is not None and (root is None or root.hint is not None)
    return tensor.is_meta or storage(tensor) not in tracing().memory


@functools.cache
def is_view(func) -> bool:
    """Whether an operation gives a view of its first argument."""
    infos = [argument.alias_info for argument in func._schema.arguments]
    return any(i is not None and not i.is_write for i in infos) and not any(
        i is not None and i.is_write for i in infos
    )


def is_write(argument) -> bool:
    """Whether an operation writes to an argument."""
    return argument.alias_info is not None and argument.alias_info.is_write
