"""The Qwen2.5-VL vision tower: windowed and full attention layers, then a 2x2 merger."""

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from eagle_jax.kernels import attention
from eagle_jax.models.layers import GatedMLP, RMSNorm, rotate, stack

# Fixed in the published architecture, absent from its configuration files.
_NORM_EPS = 1e-6
_ROPE_THETA = 10000.0


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """Shape of the vision tower.

    ``window`` is the side of an attention window in merged tokens; ``full_layers`` are the
    layers that attend over the whole image instead.
    """

    embed: int
    layers: int
    heads: int
    mlp: int
    channels: int
    patch: int
    frames: int
    merge: int
    window: int
    full_layers: tuple[int, ...]
    output: int

    @property
    def kinds(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The layers that attend within windows, and the others."""
        layers = range(self.layers)
        full = tuple(i for i in layers if i in self.full_layers)
        return tuple(i for i in layers if i not in full), full

    @property
    def blocks(self) -> tuple[tuple[int, int, int], ...]:
        """The layers in order, as blocks of windowed layers and then full ones.

        Returns:
          How often a block comes in a row, its windowed and its full layers: ``((4, 7, 1),)``
          for the published towers.
        """
        full = [i in self.full_layers for i in range(self.layers)]
        runs = [(kind, len(list(run))) for kind, run in itertools.groupby(full)]
        if runs[0][0]:
            runs.insert(0, (False, 0))
        if not runs[-1][0]:
            runs.append((True, 0))
        pairs = [(w, f) for (_, w), (_, f) in zip(runs[::2], runs[1::2], strict=True)]
        return tuple((len(list(same)), *pair) for pair, same in itertools.groupby(pairs))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["order", "inverse", "cos", "sin", "members", "places", "lengths"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class VisionLayout:
    """Where the patches of one image grid go: data, so that equal shapes share a program.

    The tower works in window order: all patches of window 0, then of window 1, ...

    Attributes:
      order: int (p,), the processor's patches in window order.
      inverse: int (v,), the merged tokens back in raster order.
      cos: float (p, f), rotary cosines in window order.
      sin: float (p, f), rotary sines.
      members: int (w, m), gathers each window into equal slots; None when all are full.
      places: int (p,), brings the patches back from their slots; None likewise.
      lengths: int (w,), how many slots of each window exist.
    """

    # Any: JAX also rebuilds layouts that hold placeholders, shardings or axis numbers.
    order: Any
    inverse: Any
    cos: Any
    sin: Any
    members: Any
    places: Any
    lengths: Any


def vision_layout(config: VisionConfig, grid: tuple[int, int]) -> VisionLayout:
    """Plans the tower for a grid of patches.

    Args:
      config: shape of the tower.
      grid: rows and columns of patches, both multiples of ``config.merge``.

    Returns:
      Index arrays and rotary tables, on the host.
    """
    merge, window = config.merge, config.window
    rows, columns = grid[0] // merge, grid[1] // merge
    unit_row, unit_column = np.divmod(np.arange(rows * columns), columns)
    windows = unit_row // window * -(-columns // window) + unit_column // window
    units = np.argsort(windows, kind="stable")
    cell = merge * merge
    order = (units[:, None] * cell + np.arange(cell)).ravel()

    lengths = np.bincount(windows) * cell
    slots = lengths.max()
    members = places = None
    if not np.all(lengths == slots):
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        slot = np.arange(slots)
        members = np.where(slot < lengths[:, None], starts[:, None] + slot, 0).astype(np.int32)
        places = np.concatenate(
            [w * slots + np.arange(length) for w, length in enumerate(lengths)]
        ).astype(np.int32)

    # Patches arrive as merge x merge blocks; a patch's own row and column steer its rotation.
    inner_row, inner_column = np.divmod(np.arange(cell), merge)
    row = (unit_row[:, None] * merge + inner_row).ravel()[order]
    column = (unit_column[:, None] * merge + inner_column).ravel()[order]
    quarter = config.embed // config.heads // 4
    frequency = _ROPE_THETA ** (-np.arange(quarter, dtype=np.float32) / quarter)
    angles = np.concatenate([row[:, None] * frequency, column[:, None] * frequency], axis=1)
    angles = angles.astype(np.float32)
    return VisionLayout(
        order=order.astype(np.int32),
        inverse=np.argsort(units).astype(np.int32),
        cos=np.cos(angles),
        sin=np.sin(angles),
        members=members,
        places=places,
        lengths=lengths.astype(np.int32),
    )


class VisionAttention(nnx.Module):
    """Self-attention within windows or over the whole image."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        self.qkv = nnx.Linear(config.embed, 3 * config.embed, rngs=rngs)
        self.output = nnx.Linear(config.embed, config.embed, rngs=rngs)
        self.heads = config.heads

    def __call__(self, x, layout: VisionLayout, full: bool):
        b, p, e = x.shape
        q, k, v = jnp.split(self.qkv(x).reshape(b, p, 3 * self.heads, -1), 3, axis=2)
        rotation = (jnp.asarray(layout.cos), jnp.asarray(layout.sin))
        q, k = rotate(q, rotation), rotate(k, rotation)
        attended = attention(q, k, v) if full else self._windowed(q, k, v, layout)
        return self.output(attended.reshape(b, p, e))

    def _windowed(self, q, k, v, layout: VisionLayout):
        b, p, h, d = q.shape
        count = layout.lengths.shape[0]
        if layout.members is None:
            q, k, v = (a.reshape(b * count, -1, h, d) for a in (q, k, v))
            return attention(q, k, v).reshape(b, p, h, d)
        q, k, v = (a[:, layout.members].reshape(b * count, -1, h, d) for a in (q, k, v))
        attended = attention(q, k, v, lengths=jnp.tile(layout.lengths, b))
        return attended.reshape(b, -1, h, d)[:, layout.places]


class VisionBlock(nnx.Module):
    """Pre-norm attention and gated MLP, each with a residual."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.embed, _NORM_EPS)
        self.attention = VisionAttention(config, rngs=rngs)
        self.mlp_norm = RMSNorm(config.embed, _NORM_EPS)
        self.mlp = GatedMLP(config.embed, config.mlp, use_bias=True, rngs=rngs)

    def __call__(self, x, layout: VisionLayout, full: bool):
        x = x + self.attention(self.attention_norm(x), layout, full)
        return x + self.mlp(self.mlp_norm(x))


class PatchEmbed(nnx.Module):
    """A linear map of each patch; a still image shows the same patch in every frame."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        inputs = config.channels * config.patch**2
        init = nnx.initializers.lecun_normal(in_axis=(0, 1))
        shape = (config.frames, inputs, config.embed)
        self.kernel = nnx.Param(init(rngs.params(), shape))

    def __call__(self, patches: Float[Array, "b p c"]) -> Float[Array, "b p e"]:
        kernel = self.kernel[...]
        summed = kernel.astype(jnp.float32).sum(axis=0).astype(kernel.dtype)
        return patches.astype(kernel.dtype) @ summed


class Merger(nnx.Module):
    """Joins merge x merge neighbouring patches into one visual token."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        joined = config.embed * config.merge**2
        self.norm = RMSNorm(config.embed, _NORM_EPS)
        self.inner = nnx.Linear(joined, joined, rngs=rngs)
        self.outer = nnx.Linear(joined, config.output, rngs=rngs)

    def __call__(self, x: Float[Array, "b p e"]) -> Float[Array, "b v o"]:
        joined = self.norm(x).reshape(x.shape[0], -1, self.inner.in_features)
        return self.outer(nnx.gelu(self.inner(joined), approximate=False))


class QwenVisionTower(nnx.Module):
    """Patches in the processor's order to visual tokens in raster order."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.patch_embed = PatchEmbed(config, rngs=rngs)
        windowed, full = (
            stack(lambda rngs: VisionBlock(config, rngs=rngs), len(layers), rngs)
            if layers
            else None
            for layers in config.kinds
        )
        self.windowed, self.full = windowed, full
        self.merger = Merger(config, rngs=rngs)

    def features(
        self, patches: Float[Array, "b p c"], layout: VisionLayout
    ) -> Float[Array, "b p e"]:
        """Features of every patch before the merger, in *window* order."""
        x = self.patch_embed(patches)[:, layout.order]

        # Scans over layer numbers: a nested scan over the layers themselves would copy each
        # block's weights.
        def run(x, layers, first, count, full):
            def apply(x, i):
                layer = jax.tree.map(
                    lambda leaf: jax.lax.dynamic_index_in_dim(leaf, i, keepdims=False), layers
                )
                return layer(x, layout, full), None

            if count == 0:
                return x
            return jax.lax.scan(apply, x, first + jnp.arange(count))[0]

        done = (0, 0)
        for repeats, windowed, full in self.config.blocks:

            def block(x, i, done=done, windowed=windowed, full=full):
                x = run(x, self.windowed, done[0] + i * windowed, windowed, False)
                return run(x, self.full, done[1] + i * full, full, True), None

            x, _ = jax.lax.scan(block, x, jnp.arange(repeats))
            done = (done[0] + repeats * windowed, done[1] + repeats * full)
        return x

    def __call__(
        self, patches: Float[Array, "b p c"], layout: VisionLayout
    ) -> Float[Array, "b v o"]:
        """Visual tokens of a batch of images that share one grid.

        Args:
          patches: normalised pixels of each patch, one frame, ``merge x merge`` blocks of
            neighbouring patches contiguous.
          layout: from `vision_layout` for the same grid.

        Returns:
          One token per block, in raster order.
        """
        return self.merger(self.features(patches, layout))[:, layout.inverse]
