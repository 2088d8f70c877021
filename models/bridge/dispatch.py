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

# Their result, or its shape, follows from values: Python goes on with those of the hint.
_DECIDED = {
    "_local_scalar_dense",
    "_unique",
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
# PyTorch's own account of them asks for bfloat16.
_WITHOUT_META = {"_grouped_mm"}
_IGNORED = {
    "_assert_async",
    "_assert_scalar",
    "_assert_tensor_metadata",
    "record_stream",
}


class Watch(TorchDispatchMode):
    """Sees operations on plain tensors too, for those whose memory holds traced values."""

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
        return 0
    if name in _DECIDED:
        return func(*mapped(args, _decide), **mapped(kwargs, _decide))
    if name in ("index", "index_put", "index_put_", "_unsafe_index_put"):
        args = (args[0], _numbers(args[1]), *args[2:])
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


def decided(tensor: torch.Tensor) -> torch.Tensor:
    """A traced tensor's value for the question at hand, for Python to go on with.

    The program then checks that the value holds, and its results are not used if it does not.

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
    module, line = "", ""
    frame = sys._getframe(1)
    while frame is not None:
        own = frame.f_locals.get("self")
        path = frame.f_code.co_filename
        if isinstance(own, torch.nn.Module) and not line and "/torch/" not in path:
            module = type(own).__name__
            line = f"{path.rpartition('/')[2]}:{frame.f_lineno}"
        frame = frame.f_back
    return f"{module} ({line})" if module else "the model"


def raised_at(error: Exception) -> str:
    """The line of code of a model that an error came from, for messages."""
    steps = traceback.extract_tb(error.__traceback__)
    models = [step for step in steps if "/transformers/models/" in step.filename] or steps
    return f"{models[-1].filename.rpartition('/')[2]}:{models[-1].lineno}"


def _compute(func, name: str, args, kwargs) -> Any:
    """A new tensor, or a view of a traced one."""
    hint, meta = None, None
    if name not in _WITHOUT_META:
        hint, meta = _hint_and_meta(func, args, kwargs)
    lowering = LOWERINGS.get(f"{name}.{func._overloadname}") or LOWERINGS.get(name)
    if lowering is None:
        return _decomposed(func, name, args, kwargs)
    values, named = mapped(args, as_argument), named_arguments(kwargs)
    with jax.named_scope(name):
        results = lowering(*values, **named)
    parent = args[0] if is_view(func) and isinstance(args[0], Traced) else None
    if not isinstance(results, list | tuple):
        return _wrap(
            results, meta, hint, parent, functools.partial(_again, lowering, values[1:], named)
        )
    hints = [None] * len(results) if hint is None else hint
    wrapped_results = [
        _wrap(result, m, h, parent, functools.partial(_again, lowering, values[1:], named, i))
        for i, (result, m, h) in enumerate(zip(results, meta, hints, strict=False))
    ]
    return wrapped_results if isinstance(results, list) else tuple(wrapped_results)


def _again(lowering, rest, named, *numbered):
    """A view's lowering with the last argument, the parent's value, still to come."""
    *which, value = numbered
    result = lowering(value, *rest, **named)
    return result[which[0]] if which else result


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
    # `_again` takes the parent's value; a view of a view first makes its parent's.
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
        raise InputError(
            f"the model cannot run by the bridge: {place()} uses the operation {name}, which "
            "has no lowering to JAX"
        )
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
            lowering = LOWERINGS.get(f"{functional}.{func._overloadname}") or LOWERINGS.get(
                functional
            )
            if lowering is None:
                raise InputError(
                    f"the model cannot run by the bridge: {place()} uses the operation "
                    f"{name}, which has no lowering to JAX"
                )
            value = lowering(*mapped(args, as_argument), **named_arguments(kwargs))
        assign(target, value)
        _write_hint(func, target, args, kwargs)
        return target
    targets = [kwargs.pop(arguments[i].name) for i in written]
    result = run(getattr(aten, name).default, args, kwargs)
    for target, value in zip(targets, [result] if len(targets) == 1 else result, strict=True):
        assign(target, array_of(value))
        _forget(target)
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
        _forget(target)


def _forget(target: torch.Tensor) -> None:
    if isinstance(target, Traced):
        target.hint = None
        if target.root is not None:
            target.root.hint = None


def _masked_scatter(func, name: str, args) -> Any:
    """Rows of a source where a mask is True: the mask is decided, where it can be."""
    target, mask, source = args
    if isinstance(mask, Traced) and has_hint(mask):
        mask = decided(mask)
    value = array_of(target)
    if is_plain(mask) and storage(mask) not in tracing().memory:
        mask = np.broadcast_to(to_numpy(mask), value.shape)
        rows = mask.reshape(-1, mask.shape[-1]) if mask.ndim > 1 else mask[:, None]
        if (rows == rows[:, :1]).all():
            width = rows.shape[1]
            places = np.nonzero(rows[:, 0])[0].astype(np.int32)
            flat = jnp.asarray(value).reshape(-1, width)
            new = array_of(source).reshape(-1, width)[: len(places)]
            result = flat.at[places].set(new.astype(flat.dtype)).reshape(value.shape)
        else:
            result = LOWERINGS["masked_scatter"](value, mask, array_of(source))
    else:
        result = LOWERINGS["masked_scatter"](value, array_of(mask), array_of(source))
    if name.endswith("_"):
        assign(target, result)
        _forget(target)
        return target
    return wrapped(result, target.dtype)


def _numbers(indices) -> list:
    """Indices of an indexing operation, booleans as the numbers where they are True."""
    numbers = []
    for index in indices:
        if index is None or index.dtype not in (torch.bool, torch.uint8):
            numbers.append(index)
            continue
        plain = decided(index) if isinstance(index, Traced) else index
        numbers += torch.nonzero(plain, as_tuple=True)
    return numbers


def _decide(value: Any) -> Any:
    return decided(value) if isinstance(value, Traced) else value
