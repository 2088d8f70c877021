"""Layers that the models share: linear maps, norms, MLPs, projectors, stacks for scans."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from eagle_jax.kernels import attention, rms_norm
from eagle_jax.models.layers.int8 import int8_matmul


def gelu(x: Float[Array, "*b e"]) -> Float[Array, "*b e"]:
    """The exact GELU, ``x`` times the cumulative normal distribution, computed in float32."""
    # By erf, as in PyTorch; JAX's own version uses erfc, which takes twice as many operations.
    wide = x.astype(jnp.float32)
    return (wide * (0.5 + 0.5 * jax.lax.erf(wide * 0.5**0.5))).astype(x.dtype)


ACTIVATIONS = {
    "quick_gelu": lambda x: x * nnx.sigmoid(1.702 * x),
    "gelu": gelu,
    "gelu_pytorch_tanh": lambda x: nnx.gelu(x, approximate=True),
}

Module = TypeVar("Module", bound=nnx.Module)


class Linear(nnx.Linear):
    """A linear map of the attention and MLP layers, which `in_int8` can turn into int8.

    Patch embeddings, projectors and heads are plain `nnx.Linear` and stay floats: they are a
    small fraction of the work, and no later layer corrects their errors.
    """

    scales: nnx.Param

    def __call__(self, x: Float[Array, "*b e"]) -> Float[Array, "*b f"]:
        if self.kernel.dtype != jnp.int8:
            return super().__call__(x)
        product = int8_matmul(x, self.kernel[...], self.scales[...])
        return product if self.bias is None else product + self.bias[...]

    def parts(self, x: Float[Array, "*b e"], count: int) -> list[Float[Array, "*b g"]]:
        """The outputs in ``count`` equal parts, each computed as a product of its own."""
        # Cutting the parts out of one product copies them: on a TPU half the product's time.
        size = self.out_features // count
        leaves, structure = jax.tree.flatten(self)
        return [
            jax.tree.unflatten(
                structure, [leaf[..., i * size : (i + 1) * size] for leaf in leaves]
            )(x)
            for i in range(count)
        ]


def in_int8(skeleton: Module) -> Module:
    """The same abstract modules with int8 kernels in every `Linear`.

    Args:
      skeleton: abstract modules from `nnx.eval_shape`; they are not changed.

    Returns:
      Modules whose linear layers have an int8 ``kernel`` and bfloat16 ``scales``, one for each
      output.
    """
    skeleton = nnx.clone(skeleton)
    for _, module in nnx.iter_modules(skeleton):
        if isinstance(module, Linear):
            shape = module.kernel.shape
            # Any: Flax declares arrays where abstract modules have shapes.
            kernel: Any = jax.ShapeDtypeStruct(shape, jnp.int8)
            scales: Any = jax.ShapeDtypeStruct((*shape[:-2], shape[-1]), jnp.bfloat16)
            module.kernel, module.scales = nnx.Param(kernel), nnx.Param(scales)
    return skeleton


class RMSNorm(nnx.Module):
    """Root-mean-square norm with float32 statistics and a learned scale."""

    def __init__(self, size: int, eps: float):
        self.scale = nnx.Param(jnp.ones(size))
        self.eps = eps

    def __call__(self, x: Float[Array, "*b e"]) -> Float[Array, "*b e"]:
        return rms_norm(x, self.scale[...], self.eps)


def layer_norm(size: int, eps: float, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """A layer norm with the exact variance."""
    # The fast variance, a difference of squares, loses digits where the mean is large.
    return nnx.LayerNorm(size, epsilon=eps, use_fast_variance=False, rngs=rngs)


def made_once(x: Float[Array, "*b e"]) -> Float[Array, "*b e"]:
    """Keeps the compiler from fusing the computation of ``x`` into the product that reads it.

    Fused, the computation would be repeated for every block of the product's outputs.
    """
    return jax.lax.optimization_barrier(x)


class MLP(nnx.Module):
    """``down(activation(up(x)))``, with biases."""

    def __init__(self, size: int, hidden: int, activation: str, *, rngs: nnx.Rngs):
        self.up = Linear(size, hidden, rngs=rngs)
        self.down = Linear(hidden, size, rngs=rngs)
        self.activation = activation

    def __call__(self, x: Float[Array, "*b e"]) -> Float[Array, "*b e"]:
        return self.down(made_once(ACTIVATIONS[self.activation](self.up(x))))


class GatedMLP(nnx.Module):
    """``down(silu(gate(x)) * up(x))``."""

    def __init__(self, size: int, hidden: int, *, use_bias: bool, rngs: nnx.Rngs):
        self.gate = Linear(size, hidden, use_bias=use_bias, rngs=rngs)
        self.up = Linear(size, hidden, use_bias=use_bias, rngs=rngs)
        self.down = Linear(hidden, size, use_bias=use_bias, rngs=rngs)

    def __call__(self, x: Float[Array, "*b e"]) -> Float[Array, "*b e"]:
        return self.down(made_once(nnx.silu(self.gate(x)) * self.up(x)))


class SelfAttention(nnx.Module):
    """Attention of a vision tower over a whole sequence, all heads alike.

    Args:
      size: size of a token.
      heads: number of heads.
      use_bias: whether queries, keys and values have a bias.
      norm_eps: ``eps`` of the norms of queries and keys, each across all heads; None for no
        norms.
      rngs: random numbers of the weights.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        *,
        use_bias: bool = True,
        norm_eps: float | None = None,
        rngs: nnx.Rngs,
    ):
        self.query = Linear(size, size, use_bias=use_bias, rngs=rngs)
        self.key = Linear(size, size, use_bias=use_bias, rngs=rngs)
        self.value = Linear(size, size, use_bias=use_bias, rngs=rngs)
        self.output = Linear(size, size, rngs=rngs)
        self.heads = heads
        self.qk_norm = norm_eps is not None
        if norm_eps is not None:
            self.query_norm = RMSNorm(size, norm_eps)
            self.key_norm = RMSNorm(size, norm_eps)

    def __call__(self, x: Float[Array, "b s e"]) -> Float[Array, "b s e"]:
        query, key = self.query(x), self.key(x)
        if self.qk_norm:
            query, key = self.query_norm(query), self.key_norm(key)
        heads = (a.reshape(*x.shape[:2], self.heads, -1) for a in (query, key, self.value(x)))
        return self.output(attention(*heads).reshape(x.shape))


class Projector(nnx.Module):
    """``outer(gelu(inner(x)))``: features of a vision tower to the size of the decoder."""

    def __init__(self, size: int, hidden: int, output: int, *, rngs: nnx.Rngs):
        self.inner = nnx.Linear(size, hidden, rngs=rngs)
        self.outer = nnx.Linear(hidden, output, rngs=rngs)

    def __call__(self, x: Float[Array, "*b e"]) -> Float[Array, "*b o"]:
        return self.outer(gelu(self.inner(x)))


def stack(layer: Callable[[nnx.Rngs], Any], count: int, rngs: nnx.Rngs) -> Any:
    """Builds ``count`` layers as one module whose parameters have a leading layer axis.

    `jax.lax.scan` runs over such a module as over any pytree, so that one layer is compiled
    instead of ``count``.
    """

    @nnx.split_rngs(splits=count)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def build(rngs):
        return layer(rngs)

    return build(rngs)
