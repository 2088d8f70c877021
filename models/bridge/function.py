"""A model of PyTorch as a pure function of JAX arrays."""

import functools
import inspect
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn.utils import stateless

from eagle_jax.errors import InputError, reason
from eagle_jax.models.bridge.dispatch import Watch, raised_at
from eagle_jax.models.bridge.lowerings.products import product
from eagle_jax.models.bridge.modules import weight_names
from eagle_jax.models.bridge.traced import Tracing, array_of, torch_dtype, traced_by, wrapped


class Outputs(NamedTuple):
    """What one call of a model gives.

    Attributes:
      logits: logits at the rows, (t, w); float32 wherever the head is a linear layer.
      holds: for each decision that Python took in the tracing, whether it holds for the traced
        values, (g,). Logits are wrong where one does not.
    """

    logits: Any
    holds: Any


class ModelFunction:
    """A model of transformers as a function of weights and inputs.

    Attributes:
      model: the modules, with weights on any device or on none; its linear head, if it has
        one, is made to give float32.
      weights: name -> tensor, for each weight once.
      constants: results of `large_constants`, kept here by the callers under keys of theirs.
      decisions: the line of code that took each decision of the last tracing, (g,).
    """

    def __init__(self, model: Any, untied: Collection[str] = ()):
        self.model = model
        self.weights, self._alias = weight_names(model, untied)
        self.decisions: tuple[str, ...] = ()
        self.constants: dict[Any, tuple[np.ndarray, ...]] = {}
        head: Any = model.get_output_embeddings()
        if isinstance(head, torch.nn.Linear):
            forward = functools.partial(_float32_logits, head)
            head.forward = forward  # pyright: ignore[reportAttributeAccessIssue]

    def __call__(
        self,
        weights: Mapping[str, Any],
        traced: Mapping[str, Any],
        hints: Mapping[str, torch.Tensor],
        plain: Mapping[str, Any],
        rows: Any,
        constants: tuple[Any, ...] = (),
    ) -> Outputs:
        """The logits at some rows of one sequence; to be called inside `jax.jit`.

        Args:
          weights: name -> array, as in `weights`.
          traced: arguments of the model that the program takes, with their batch axis of 1.
          hints: for each traced argument a tensor of the same shape, whose values Python may
            decide upon.
          plain: the model's other arguments, which become part of the program.
          rows: positions in the sequence whose logits are wanted, (t,).
          constants: result of `large_constants` for the same hints and other arguments.
        """
        return self._call(Tracing(tuple(constants)), weights, traced, hints, plain, rows)

    def large_constants(
        self,
        weights: Mapping[str, Any],
        traced: Mapping[str, Any],
        hints: Mapping[str, torch.Tensor],
        plain: Mapping[str, Any],
        rows: Any,
    ) -> tuple[np.ndarray, ...]:
        """What PyTorch computes from plain tensors, where it is too large for a program.

        Args:
          weights, traced, rows: as in a call; `jax.ShapeDtypeStruct` will do.
          hints, plain: as in a call.
        """
        state = Tracing()
        jax.eval_shape(
            lambda w, t, r: self._call(state, w, t, hints, plain, r), weights, traced, rows
        )
        return tuple(state.large)

    def _call(self, state: Tracing, weights, traced, hints, plain, rows) -> Outputs:
        with traced_by(state), torch.no_grad():
            tensors = {
                name: _weight(weights[first], self.weights[first])
                for name, first in self._alias.items()
            }
            inputs = {
                name: wrapped(value, hints[name].dtype, hints[name].clone())
                for name, value in traced.items()
            }
            wanted = wrapped(jnp.asarray(rows), torch.int64)
            arguments = {**plain, **inputs, "use_cache": False, "return_dict": True}
            with stateless._reparametrize_module(self.model, tensors), Watch():
                try:
                    logits = self._logits(arguments, wanted)
                except InputError:
                    raise
                except Exception as error:  # modules raise any error
                    raise InputError(
                        f"{type(self.model).__name__} cannot run by the bridge at "
                        f"{raised_at(error)}: {reason(error, 160)}"
                    ) from error
        self.decisions = tuple(line for _, line in state.guards)
        holds = [jnp.reshape(held, 1) for held, _ in state.guards]
        return Outputs(logits, jnp.concatenate([jnp.ones(0, bool), *holds]))

    def _logits(self, arguments: dict[str, Any], rows: Any) -> Any:
        if "logits_to_keep" in inspect.signature(self.model.forward).parameters:
            out = self.model(**arguments, logits_to_keep=rows)
            return array_of(out.logits)[0]
        return array_of(self.model(**arguments).logits)[0][rows.read()]


def _weight(value: Any, tensor: torch.Tensor) -> torch.Tensor:
    """A weight in the dtype in which it was read; whole numbers in PyTorch's dtype."""
    value = jnp.asarray(value)
    floating = jnp.issubdtype(value.dtype, jnp.floating)
    return wrapped(value, torch_dtype(value.dtype) if floating else tensor.dtype)


def _float32_logits(head: torch.nn.Linear, hidden: torch.Tensor) -> torch.Tensor:
    # A 16-bit logit near 20 is off by up to 0.06.
    logits = product(array_of(hidden), array_of(head.weight).T)
    return wrapped(logits if head.bias is None else logits + array_of(head.bias))
