"""What an operation of PyTorch does where one of its tensors is traced."""

import functools
import sys
import traceback
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from eagle_jax.errors import InputError
from eagle_jax.models.bridge.lowerings import LOWERINGS
from eagle_jax.models.bridge.lowerings.elementwise import cast
from eagle_jax.models.bridge.lowerings.table import Lowering
from eagle_jax.models.bridge.operands import (
    as_argument,
    as_hint,
    as_meta,
    has_hint,
    is_held,
    is_view,
    is_write,
    mapped,
    named_arguments,
    tensors_of,
)
from eagle_jax.models.bridge.traced import (
    Traced,
    array_of,
    is_array,
    is_plain,
    jax_dtype,
    storage,
    to_numpy,
    tracing,
    wrapped,
    write_plain,
)

aten = torch.ops.aten

# The result, or its shape, follows from values: Python goes on with the values of the hint.
_DECIDED = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "is_nonzero",
    "nonzero",
    "nonzero_numpy",
    "repeat_interleave",
    "unique_consecutive",
    "unique_dim",
}
# PyTorch refuses meta tensors of any type but bfloat16.
_WITHOUT_META = {"_grouped_mm"}
_IGNORED = {"_assert_async", "_assert_scalar", "_assert_tensor_metadata", "record_stream"}
_MATH_ATTENTION = 0  # scaled_dot_product_attention as products and a softmax


class Watch(TorchDispatchMode):
    """Sends operations to `run` that read a traced tensor, or memory with traced values."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = tensors_of(args, kwargs)
        if any(isinstance(tensor, Traced) for tensor in tensors):
            return run(func, args, kwargs)
        memory = tracing().memory
        if memory and not is_view(func):
            if any(storage(tensor) in memory for tensor in tensors if not tensor.is_meta):
                return run(func, args, kwargs)
        return func(*args, **kwargs)


def run(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Runs one operation on tensors of which some are traced."""
    name = func._schema.name.partition("::")[2]
    if name in _IGNORED:
        return None
    if name == "_fused_sdp_choice":
        return _MATH_ATTENTION
    if name in _DECIDED:
        return func(*mapped(args, _hint_if_traced), **mapped(kwargs, _hint_if_traced))
    if name in ("index", "index_put", "index_put_", "_unsafe_index_put"):
        args = (args[0], _as_numbers(args[1]), *args[2:])
        if all(is_plain(tensor) for tensor in tensors_of(args, kwargs)) and not is_held(args):
            return func(*args, **kwargs)
    if name == "masked_select":
        return run(aten.index.Tensor, (args[0], [args[1]]), {})
    if name in ("masked_scatter", "masked_scatter_"):
        return _masked_scatter(func, name, args)
    written = [i for i, a in enumerate(func._schema.arguments) if is_write(a)]
    if written:
        return _write(func, name, written, args, kwargs)
    return _compute(func, name, args, kwargs)


def decided(tensor: Any) -> torch.Tensor:
    """The hint of a traced tensor, for Python to decide upon.

    The program then checks that the traced value is the same, see `Tracing.guards`.

    Raises:
      InputError: the value follows from weights.
    """
    if not has_hint(tensor):
        raise InputError(
            f"the model cannot run by the bridge: {place()} branches on a value that follows "
            "from the weights"
        )
    held = jnp.all(tensor.read() == jnp.asarray(to_numpy(tensor.hint)))
    tracing().guards.append((held, place()))
    return tensor.hint


def place() -> str:
    """The module and the line of code that runs, for messages."""
    frame = sys._getframe(1)
    while frame is not None:
        module, path = frame.f_locals.get("self"), frame.f_code.co_filename
        if isinstance(module, torch.nn.Module) and "/torch/" not in path:
            return f"{type(module).__name__} ({path.rpartition('/')[2]}:{frame.f_lineno})"
        frame = frame.f_back
    return "the model"


def raised_at(error: Exception) -> str:
    """The line of a model's code that raised an error, for messages."""
    steps = traceback.extract_tb(error.__traceback__)
    models = [step for step in steps if "/transformers/models/" in step.filename] or steps
    return f"{models[-1].filename.rpartition('/')[2]}:{models[-1].lineno}"


def _compute(func, name: str, args, kwargs) -> Any:
    """A new tensor, or a view of a traced one."""
    hint: Any = None
    meta: Any = None
    if name not in _WITHOUT_META:
        hint, meta = _hint_and_meta(func, args, kwargs)
    lowering = _lowering(func, name)
    if lowering is None:
        return _decomposed(func, name, args, kwargs)
    values, named = mapped(args, as_argument), named_arguments(kwargs)
    with jax.named_scope(name):
        results = lowering(*values, **named)
    parent = args[0] if is_view(func) and isinstance(args[0], Traced) else None

    def replay(number: int | None, memory: Any) -> Any:
        """The same view of what is in the parent's memory by then."""
        result = lowering(memory, *values[1:], **named)
        return result if number is None else result[number]

    if not isinstance(results, list | tuple):
        return _wrap(results, meta, hint, parent, functools.partial(replay, None))
    hints: Any = [None] * len(results) if hint is None else hint
    tensors = [
        _wrap(result, m, h, parent, functools.partial(replay, i))
        for i, (result, m, h) in enumerate(zip(results, meta, hints, strict=False))
    ]
    return tensors if isinstance(results, list) else tuple(tensors)


def _lowering(func: Any, name: str) -> Lowering | None:
    return LOWERINGS.get(f"{name}.{func._overloadname}") or LOWERINGS.get(name)


def _no_lowering(name: str) -> InputError:
    return InputError(
        f"the model cannot run by the bridge: {place()} uses the operation {name}, which has "
        "no lowering to JAX"
    )


def _wrap(value, meta, hint, parent, replay) -> Any:
    if not is_array(value):
        return value
    if meta is None:
        return wrapped(value)
    dtype = jax_dtype(meta.dtype)
    if value.dtype != dtype:
        value = cast(value, dtype)
    if value.shape != tuple(meta.shape):
        raise TypeError(f"a lowering gave {value.shape}, not {tuple(meta.shape)}")
    if parent is None:
        return Traced(value, meta, hint)
    # A view of a view first makes the value of its parent.
    root, before = parent.root, parent.replay
    if root is None:
        return Traced(value, meta, hint, parent, replay)
    return Traced(value, meta, hint, root, lambda memory: replay(before(memory)))


def _hint_and_meta(func, args, kwargs) -> tuple[Any, Any]:
    tensors = tensors_of(args, kwargs)
    hint = None
    if all(has_hint(tensor) for tensor in tensors):
        hint = func(*mapped(args, as_hint), **mapped(kwargs, as_hint))
    if "device" in (argument.name for argument in func._schema.arguments):
        kwargs = {**kwargs, "device": "meta"}
    return hint, func(*mapped(args, as_meta), **mapped(kwargs, as_meta))


def _decomposed(func, name: str, args, kwargs) -> Any:
    from torch._decomp import decomposition_table

    result = func.decompose(*args, **kwargs)
    if result is not NotImplemented:
        return result
    if (decomposition := decomposition_table.get(func)) is None:
        raise _no_lowering(name)
    return decomposition(*args, **kwargs)


def _write(func, name: str, written: list[int], args, kwargs) -> Any:
    """An operation in place, or one with ``out=``."""
    arguments = func._schema.arguments
    if name.endswith("_"):
        target, functional = args[0], name[:-1]
        if functional == "copy":
            value = as_argument(args[1])
            value = cast(value, jax_dtype(target.dtype)) if is_array(value) else value
        else:
            if (lowering := _lowering(func, functional)) is None:
                raise _no_lowering(name)
            value = lowering(*mapped(args, as_argument), **named_arguments(kwargs))
        assign(target, value)
        _write_hint(func, target, args, kwargs)
        return target
    targets = [kwargs.pop(arguments[i].name) for i in written]
    result = run(getattr(aten, name).default, args, kwargs)
    for target, value in zip(targets, [result] if len(targets) == 1 else result, strict=True):
        assign(target, array_of(value))
        _forget_hint(target)
    return targets[0] if len(targets) == 1 else tuple(targets)


def assign(target: torch.Tensor, value: Any) -> None:
    """Writes a value to the memory of any tensor."""
    value = jnp.asarray(value)
    dtype = jax_dtype(target.dtype)
    value = value if value.dtype == dtype else cast(value, dtype)
    if isinstance(target, Traced):
        target.write(value)
    else:
        write_plain(target, value)


def _write_hint(func, target, args, kwargs) -> None:
    if not isinstance(target, Traced):
        return
    if all(has_hint(tensor) for tensor in tensors_of(args, kwargs)):
        func(*mapped(args, as_hint), **mapped(kwargs, as_hint))
    else:
        _forget_hint(target)


def _forget_hint(target: torch.Tensor) -> None:
    if isinstance(target, Traced):
        target.hint = None
        if target.root is not None:
            target.root.hint = None


def _masked_scatter(func, name: str, args) -> Any:
    """Puts the values of a source where a mask is True; the mask is decided where it can be."""
    target, mask, source = args
    if isinstance(mask, Traced) and has_hint(mask):
        mask = decided(mask)
    old, new = array_of(target), array_of(source)
    rows = None
    if is_plain(mask) and storage(mask) not in tracing().memory:
        rows = _whole_rows(np.broadcast_to(to_numpy(mask), old.shape))
    if rows is None:
        result = LOWERINGS["masked_scatter"](old, array_of(mask), new)
    else:
        flat = jnp.asarray(old).reshape(-1, old.shape[-1])
        new = new.reshape(-1, old.shape[-1])[: len(rows)]
        result = flat.at[rows].set(new.astype(flat.dtype)).reshape(old.shape)
    if name.endswith("_"):
        assign(target, result)
        _forget_hint(target)
        return target
    return wrapped(result, target.dtype)


def _whole_rows(mask: np.ndarray) -> np.ndarray | None:
    """Numbers of the rows that are True; None if a row is neither all True nor all False."""
    rows = mask.reshape(-1, mask.shape[-1])
    return np.flatnonzero(rows[:, 0]).astype(np.int32) if (rows == rows[:, :1]).all() else None


def _as_numbers(indices) -> list:
    """Indices of an indexing operation, booleans as the numbers where they are True."""
    numbers = []
    for index in indices:
        if index is None or index.dtype not in (torch.bool, torch.uint8):
            numbers.append(index)
            continue
        plain = decided(index) if isinstance(index, Traced) else index
        numbers += torch.nonzero(plain, as_tuple=True)
    return numbers


def _hint_if_traced(value: Any) -> Any:
    return decided(value) if isinstance(value, Traced) else value
