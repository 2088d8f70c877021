"""Tensors of PyTorch whose values are JAX's, and the state of one tracing."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import torch

# Larger constants become arguments of the program.
LARGEST_CONSTANT = 2**16

_DTYPES = {
    torch.bool: np.dtype(bool),
    torch.uint8: np.dtype(np.uint8),
    torch.int8: np.dtype(np.int8),
    torch.int16: np.dtype(np.int16),
    torch.int32: np.dtype(np.int32),
    torch.int64: np.dtype(np.int32),  # JAX has no 64 bits
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: np.dtype(ml_dtypes.bfloat16),
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float32),
    torch.complex64: np.dtype(np.complex64),
    torch.complex128: np.dtype(np.complex64),
}
_TORCH = {dtype: name for name, dtype in reversed(_DTYPES.items())}


def jax_dtype(dtype: torch.dtype) -> np.dtype:
    """The dtype in which JAX holds tensors of a PyTorch dtype; 64 bits become 32."""
    return _DTYPES[dtype]


def torch_dtype(dtype: Any) -> torch.dtype:
    """The PyTorch dtype with the same numbers as an array's dtype."""
    return _TORCH[np.dtype(dtype)]


class Traced(torch.Tensor):
    """A tensor whose value JAX computes.

    Attributes:
      meta: a meta tensor with its shape, strides, offset and dtype in PyTorch, which is int64
        where the value is int32. Metas of views share the storage of their root's meta.
      hint: the tensor's value for the question at hand, if it follows from ids, positions or
        pixels without weights; None otherwise. Hints of views share the storage of their
        root's hint.
      root: for a view, the tensor whose memory it shows; None for any other tensor.
      replay: for a view, a function from the root's value to its own.
    """

    @staticmethod
    def __new__(cls, value, meta, hint=None, root=None, replay=None):
        return torch.Tensor._make_wrapper_subclass(
            cls, meta.shape, strides=meta.stride(), dtype=meta.dtype, device=torch.device("cpu")
        )

    __torch_function__: Any = torch._C._disabled_torch_function_impl

    def __init__(self, value, meta, hint=None, root=None, replay=None):
        self.meta, self.hint, self.root = meta, hint, root
        self.replay: Any = replay
        self._value, self._version_ = value, 0
        self._seen = 0 if root is None else root._version_

    def read(self) -> Any:
        """The JAX value, with all writes to its memory."""
        if self.root is not None and self._seen != self.root._version_:
            self._value, self._seen = self.replay(self.root._value), self.root._version_
        return self._value

    def write(self, value: Any) -> None:
        """Replaces the value, in the memory's root and so in all of its views."""
        old = self.read()
        value = jnp.broadcast_to(value, old.shape).astype(old.dtype)
        if self.root is None:
            self._value, self._version_ = value, self._version_ + 1
        else:
            root = self.root
            root.write(placed(root.meta, self.meta, root._value, value))

    def __repr__(self, **_):
        return f"Traced({self.dtype}, {tuple(self.shape)})"

    def tolist(self):
        from eagle_jax.models.bridge.dispatch import decided

        return decided(self).tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        from eagle_jax.models.bridge.dispatch import run

        return run(func, args, kwargs or {})


def placed(root: torch.Tensor, view: torch.Tensor, memory: Any, value: Any) -> Any:
    """The value of a root after a write to one of its views.

    Args:
      root: the root, for its shape and strides.
      view: the view, for its shape, strides and offset.
      memory: the root's value.
      value: the view's new value.
    """
    box = _box(root, view)
    if box is None:
        places = _places(root, view)
        flat = jnp.asarray(memory).reshape(-1).at[places.reshape(-1)].set(value.reshape(-1))
        return flat.reshape(memory.shape)
    index, order = box
    value = value.reshape([size for size in view.shape if size > 1])
    return jnp.asarray(memory).at[index].set(value.transpose(np.argsort(order)))


def seen_through(root: torch.Tensor, view: torch.Tensor, memory: Any) -> Any:
    """The value of a view of a root's memory; arguments as for `placed`."""
    box = _box(root, view)
    if box is None:
        return memory.reshape(-1)[_places(root, view)]
    index, order = box
    return memory[index].transpose(order).reshape(view.shape)


def _box(root: torch.Tensor, view: torch.Tensor):
    """A view as slices of the root and the order of their axes; None if it is not a box."""
    rest = int(view.storage_offset() - root.storage_offset())
    axes = sorted(
        (axis for axis in range(root.ndim) if root.shape[axis] > 1),
        key=lambda axis: -root.stride(axis),
    )
    begin = [0] * root.ndim
    for axis in axes:
        begin[axis], rest = divmod(rest, int(root.stride(axis)))
    index: list[Any] = list(begin)
    order: list[int] = []
    for size, stride in zip(view.shape, view.stride(), strict=True):
        if size <= 1:
            continue
        fitting = [a for a in axes if stride > 0 and stride % root.stride(a) == 0]
        if not fitting or fitting[0] in order:
            return None
        axis, step = fitting[0], stride // root.stride(fitting[0])
        end = begin[axis] + (size - 1) * step + 1
        if end > root.shape[axis]:
            return None
        index[axis] = slice(begin[axis], end, step)
        order.append(axis)
    if rest or not all(0 <= b < max(n, 1) for b, n in zip(begin, root.shape, strict=True)):
        return None
    # Axes that are indexed by a number vanish, so the order counts only sliced axes.
    kept = sorted(order)
    return tuple(index), tuple(kept.index(axis) for axis in order)


def _places(root: torch.Tensor, view: torch.Tensor) -> np.ndarray:
    """The place of each element of a view in the flattened root."""
    size = 1 + sum((s - 1) * t for s, t in zip(root.shape, root.stride(), strict=True))
    memory = np.zeros(size, np.int32)
    strides = [4 * stride for stride in root.stride()]
    inside = np.lib.stride_tricks.as_strided(memory, root.shape, strides)
    inside[...] = np.arange(root.numel(), dtype=np.int32).reshape(root.shape)
    begin = memory[view.storage_offset() - root.storage_offset() :]
    return np.lib.stride_tricks.as_strided(begin, view.shape, [4 * s for s in view.stride()])


@dataclasses.dataclass
class Tracing:
    """What one tracing of a model gathers.

    Attributes:
      given: large constants as arguments of the program; None while they are gathered.
      large: large constants, in the order in which they were met.
      guards: for each decision that Python took, whether it also holds for the traced values,
        and the line of code that took it.
      memory: storage of a plain tensor to which a traced value was written -> a plain tensor
        that covers the storage, and the traced tensor that now stands for it.
      known: values of plain tensors, by id and version.
    """

    given: tuple[Any, ...] | None = None
    large: list[np.ndarray] = dataclasses.field(default_factory=list)
    guards: list[tuple[Any, str]] = dataclasses.field(default_factory=list)
    memory: dict[int, tuple[torch.Tensor, Traced]] = dataclasses.field(default_factory=dict)
    _places: dict[Any, int] = dataclasses.field(default_factory=dict)
    known: dict[tuple[int, int], tuple[torch.Tensor, Any]] = dataclasses.field(
        default_factory=dict
    )

    def constant(self, tensor: torch.Tensor) -> Any:
        """A plain tensor as an array: a constant if small or uniform, else an argument."""
        key = id(tensor), tensor._version
        if key not in self.known:
            # The tensor is kept alive, so that no other tensor gets its id.
            self.known[key] = tensor, self._constant(tensor)
        return self.known[key][1]

    def _constant(self, tensor: torch.Tensor) -> Any:
        value = to_numpy(tensor)
        if value.nbytes <= LARGEST_CONSTANT:
            return value
        repeated = [slice(0, 1) if stride == 0 else slice(None) for stride in tensor.stride()]
        part = value[tuple(repeated)]
        if part.size < value.size:
            return jnp.broadcast_to(self._argument(part), value.shape)
        first = value.reshape(-1)[0]
        if (value == first).all():
            return jnp.full(value.shape, first)
        return self._argument(value)

    def _argument(self, value: np.ndarray) -> Any:
        if value.nbytes <= LARGEST_CONSTANT:
            return value
        # Layers often compute the same constant anew.
        key = value.shape, value.dtype, hashlib.sha256(value.tobytes()).digest()
        place = self._places.setdefault(key, len(self.large))
        if place == len(self.large):
            self.large.append(value)
        return jnp.asarray(value) if self.given is None else self.given[place]


_CURRENT: list[Tracing] = []


def tracing() -> Tracing:
    """The tracing that is under way."""
    return _CURRENT[-1]


@contextlib.contextmanager
def traced_by(state: Tracing) -> Iterator[None]:
    """Makes a state the one that operations gather in."""
    _CURRENT.append(state)
    try:
        yield
    finally:
        _CURRENT.pop()


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A plain tensor as an array in the dtype that JAX holds it in."""
    tensor = tensor.detach().resolve_conj()
    if tensor.dtype == torch.bfloat16:
        return tensor.float().numpy().astype(ml_dtypes.bfloat16)
    value, dtype = tensor.numpy(), jax_dtype(tensor.dtype)
    if tensor.dtype == torch.int64:
        info = np.iinfo(np.int32)
        value = np.asarray(np.clip(value, info.min, info.max))
    return value.astype(dtype, copy=False)


def wrapped(value: Any, dtype: torch.dtype | None = None, hint: Any = None) -> Traced:
    """A JAX array as a tensor with memory of its own.

    Args:
      value: the array.
      dtype: PyTorch's dtype; None for that of the array.
      hint: the tensor's value for the question at hand, if it may be decided upon.
    """
    meta = torch.empty(value.shape, dtype=dtype or torch_dtype(value.dtype), device="meta")
    return Traced(value, meta, hint)


def is_plain(value: Any) -> bool:
    """Whether a value is a tensor with which PyTorch itself computes."""
    return isinstance(value, torch.Tensor) and not isinstance(value, Traced)


def array_of(tensor: torch.Tensor) -> Any:
    """The value of any tensor as an array of JAX or NumPy."""
    if isinstance(tensor, Traced):
        return tensor.read()
    if held := tracing().memory.get(storage(tensor)):
        root = held[1]
        return seen_through(root.meta, tensor, root.read())
    return tracing().constant(tensor)


def storage(tensor: torch.Tensor) -> int:
    """Identity of a plain tensor's memory."""
    return tensor.untyped_storage()._cdata


def write_plain(tensor: torch.Tensor, value: Any) -> None:
    """Writes a traced value to the memory of a plain tensor."""
    state, key = tracing(), storage(tensor)
    if key not in state.memory:
        whole = _whole(tensor)
        meta = torch.empty(whole.shape, dtype=whole.dtype, device="meta")
        state.memory[key] = whole, Traced(jnp.asarray(state._constant(whole)), meta)
    root = state.memory[key][1]
    old = root.read()
    value = jnp.broadcast_to(value, tensor.shape).astype(old.dtype)
    root.write(placed(root.meta, tensor, old, value))


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """A plain tensor that covers the whole memory of another."""
    count = tensor.untyped_storage().nbytes() // tensor.element_size()
    for whole in (tensor, tensor._base):
        if whole is not None and whole.is_contiguous() and whole.numel() == count:
            return whole
    return torch.as_strided(tensor.detach(), (count,), (1,), 0)


def is_array(value: Any) -> bool:
    """Whether a value is an array of JAX or NumPy."""
    return isinstance(value, jax.Array | np.ndarray)
