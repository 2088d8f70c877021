"""The vision tower of the Qwen-VL models: windowed and full attention, then a merger."""

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
from eagle_jax.models.layers.building_blocks import (
    MLP,
    GatedMLP,
    Linear,
    RMSNorm,
    gelu,
    layer_norm,
    stack,
)

# Fixed in the published architecture, absent from its configuration files.
_NORM_EPS = 1e-6
_ROPE_THETA = 10000.0


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """Shape of the vision tower.

    ``window`` is the side of an attention window in merged tokens, None without windows;
    ``full_layers`` are the layers that attend over the whole image instead. ``activation`` is
    that of two-layer MLPs, which stand among layer norms; None means gated MLPs among
    root-mean-square norms. A tower with ``places`` adds a learned ``places x places`` grid of
    positions, stretched over the image, to patches embedded with a bias. ``deep_layers``, in
    rising order, are those whose output is merged as well, for the first layers of the decoder.
    """

    embed: int
    layers: int
    heads: int
    mlp: int
    channels: int
    patch: int
    frames: int
    merge: int
    window: int | None
    full_layers: tuple[int, ...]
    output: int
    activation: str | None = None
    places: int = 0
    deep_layers: tuple[int, ...] = ()

    @property
    def kinds(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The layers that attend within windows, and the others."""
        layers = range(self.layers)
        full = tuple(i for i in layers if i in self.full_layers)
        return tuple(i for i in layers if i not in full), full

    @property
    def blocks(self) -> tuple[tuple[int, int, int], ...]:
        """The layers in order, as blocks of windowed layers and then full ones.

        A block also ends with each of the ``deep_layers``.

        Returns:
          How often a block comes in a row, its windowed and its full layers: ``((4, 7, 1),)``
          for the published Qwen2.5 towers.
        """
        pairs = [(0, 0)]
        for i in range(self.layers):
            full = i in self.full_layers
            if (not full and pairs[-1][1]) or i - 1 in self.deep_layers:
                pairs.append((0, 0))
            windowed, whole = pairs[-1]
            pairs[-1] = (windowed, whole + 1) if full else (windowed + 1, whole)
        return tuple((len(list(same)), *pair) for pair, same in itertools.groupby(pairs))

    def span(self, patches: int) -> int:
        """Tokens that a patch attends to, at most, in an image of so many patches."""
        return patches

    def flops(self, grid: tuple[int, int]) -> float:
        """Operations of tower and mergers for a grid of patches."""
        patches, embed = grid[0] * grid[1], self.embed
        windows = np.asarray(vision_layout(self, grid).windows, dtype=np.float64)
        windowed, full = (len(layers) for layers in self.kinds)
        matrices = 3 if self.activation is None else 2
        linear = 2 * patches * embed * (4 * embed + matrices * self.mlp)
        squares = full * float(patches) ** 2 + windowed * float((windows**2).sum())
        joined = embed * self.merge**2
        merger = 2 * patches / self.merge**2 * joined * (joined + self.output)
        mergers = (1 + len(self.deep_layers)) * merger
        patch_embed = 2 * patches * self.channels * self.patch**2 * embed
        return patch_embed + self.layers * linear + 4 * embed * squares + mergers


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["order", "inverse", "cos", "sin", "corners", "nearness"],
    meta_fields=["windows"],
)
@dataclasses.dataclass(frozen=True)
class VisionLayout:
    """Where the patches of one image grid go: data, so that equal shapes share a program.

    The tower works in window order: all patches of one window, then of the next, the largest
    windows first, so that those of one size stand together.

    Attributes:
      order: int (p,), the processor's patches in window order.
      inverse: int (v,), the merged tokens back in raster order.
      cos: float (p, f), rotary cosines in window order.
      sin: float (p, f), rotary sines.
      corners: int (p, 4), the learned positions around each patch; None without such.
      nearness: float (p, 4), how much each of them counts; None likewise.
      windows: how many patches each window has.
    """

    # Any: JAX also rebuilds layouts that hold placeholders, shardings or axis numbers.
    order: Any
    inverse: Any
    cos: Any
    sin: Any
    corners: Any
    nearness: Any
    windows: tuple[int, ...]


def vision_layout(config: VisionConfig, grid: tuple[int, int]) -> VisionLayout:
    """Plans the tower for a grid of patches.

    Args:
      config: shape of the tower.
      grid: rows and columns of patches, both multiples of ``config.merge``.

    Returns:
      Index arrays and rotary tables, on the host.
    """
    merge = config.merge
    rows, columns = grid[0] // merge, grid[1] // merge
    window = config.window or max(rows, columns)
    unit_row, unit_column = np.divmod(np.arange(rows * columns), columns)
    windows = unit_row // window * -(-columns // window) + unit_column // window
    sizes = np.bincount(windows)
    units = np.lexsort((windows, -sizes[windows]))
    cell = merge * merge
    order = (units[:, None] * cell + np.arange(cell)).ravel()

    # Patches arrive as merge x merge blocks; a patch's own row and column steer its rotation.
    inner_row, inner_column = np.divmod(np.arange(cell), merge)
    row = (unit_row[:, None] * merge + inner_row).ravel()[order]
    column = (unit_column[:, None] * merge + inner_column).ravel()[order]
    quarter = config.embed // config.heads // 4
    frequency = _ROPE_THETA ** (-np.arange(quarter, dtype=np.float32) / quarter)
    angles = np.concatenate([row[:, None] * frequency, column[:, None] * frequency], axis=1)
    angles = angles.astype(np.float32)
    corners = nearness = None
    if config.places:
        below, down = _stretched(row, grid[0], config.places)
        right, across = _stretched(column, grid[1], config.places)
        corners = (below[:, :, None] * config.places + right[:, None, :]).reshape(-1, 4)
        nearness = (down[:, :, None] * across[:, None, :]).reshape(-1, 4)
    return VisionLayout(
        order=order.astype(np.int32),
        inverse=np.argsort(units).astype(np.int32),
        cos=np.cos(angles),
        sin=np.sin(angles),
        corners=corners,
        nearness=nearness,
        windows=tuple(sorted((sizes * cell).tolist(), reverse=True)),
    )


def _stretched(index: np.ndarray, size: int, places: int) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring places and their shares, the first and last ones at the image's edges."""
    where = index.astype(np.float32) * np.float32(places - 1) / np.float32(max(size - 1, 1))
    low = np.floor(where).astype(np.int32)
    share = where - low
    neighbours = np.stack([low, np.minimum(low + 1, places - 1)], axis=1)
    return neighbours, np.stack([1 - share, share], axis=1)


class VisionAttention(nnx.Module):
    """Self-attention within windows or over the whole image."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        self.qkv = Linear(config.embed, 3 * config.embed, rngs=rngs)
        self.output = Linear(config.embed, config.embed, rngs=rngs)
        self.heads = config.heads

    def __call__(self, x, layout: VisionLayout, full: bool):
        heads = *x.shape[:2], self.heads, -1
        query, key, value = (part.reshape(heads) for part in self.qkv.parts(x, 3))
        attended = attention(
            query,
            key,
            value,
            windows=None if full else layout.windows,
            rotation=(jnp.asarray(layout.cos), jnp.asarray(layout.sin)),
        )
        return self.output(attended.reshape(x.shape))


class VisionBlock(nnx.Module):
    """Pre-norm attention and MLP, each with a residual."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        self.attention_norm = _norm(config, config.embed, rngs)
        self.attention = VisionAttention(config, rngs=rngs)
        self.mlp_norm = _norm(config, config.embed, rngs)
        if config.activation is None:
            self.mlp = GatedMLP(config.embed, config.mlp, use_bias=True, rngs=rngs)
        else:
            self.mlp = MLP(config.embed, config.mlp, config.activation, rngs=rngs)

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
        self.bias = nnx.Param(jnp.zeros(config.embed)) if config.places else None

    def __call__(self, patches: Float[Array, "b p c"]) -> Float[Array, "b p e"]:
        kernel = self.kernel[...]
        summed = kernel.astype(jnp.float32).sum(axis=0).astype(kernel.dtype)
        embedded = patches.astype(kernel.dtype) @ summed
        return embedded if self.bias is None else embedded + self.bias[...]


class Merger(nnx.Module):
    """Joins merge x merge neighbouring patches, normed before or after, into one token."""

    def __init__(self, config: VisionConfig, *, norm_joined: bool = False, rngs: nnx.Rngs):
        joined = config.embed * config.merge**2
        self.norm_joined = norm_joined
        self.norm = _norm(config, joined if norm_joined else config.embed, rngs)
        self.inner = nnx.Linear(joined, joined, rngs=rngs)
        self.outer = nnx.Linear(joined, config.output, rngs=rngs)

    def __call__(self, x: Float[Array, "b p e"]) -> Float[Array, "b v o"]:
        shape = x.shape[0], -1, self.inner.in_features
        joined = (
            self.norm(x.reshape(shape)) if self.norm_joined else self.norm(x).reshape(shape)
        )
        return self.outer(gelu(self.inner(joined)))


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
        if config.places:
            init = nnx.initializers.normal(0.02)
            self.places = nnx.Param(init(rngs.params(), (config.places**2, config.embed)))
        if config.deep_layers:
            self.deep_mergers = stack(
                lambda rngs: Merger(config, norm_joined=True, rngs=rngs),
                len(config.deep_layers),
                rngs,
            )

    def features(
        self, patches: Float[Array, "b p c"], layout: VisionLayout
    ) -> Float[Array, "b p e"]:
        """Features of every patch before the merger, in *window* order."""
        return self._features(patches, layout)[0]

    def _features(self, patches, layout: VisionLayout):
        """Those of the last layer, and a list of those of the ``deep_layers``."""
        x = self.patch_embed(patches)[:, layout.order]
        if self.config.places:
            corners = self.places[...][layout.corners].astype(jnp.float32)
            places = (corners * layout.nearness[..., None]).sum(axis=1)
            x = x + places.astype(x.dtype)

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

        done, ends = (0, 0), []
        deep = self.config.deep_layers
        for repeats, windowed, full in self.config.blocks:

            def block(x, i, done=done, windowed=windowed, full=full):
                x = run(x, self.windowed, done[0] + i * windowed, windowed, False)
                x = run(x, self.full, done[1] + i * full, full, True)
                return x, (x,) if deep else ()

            x, outputs = jax.lax.scan(block, x, jnp.arange(repeats))
            ends += [end for stacked in outputs for end in stacked]
            done = (done[0] + repeats * windowed, done[1] + repeats * full)
        sizes = [w + f for repeats, w, f in self.config.blocks for _ in range(repeats)]
        last = np.cumsum(sizes) - 1
        return x, [end for i, end in zip(last, ends, strict=False) if i in deep]

    def __call__(
        self, patches: Float[Array, "b p c"], layout: VisionLayout
    ) -> Float[Array, "b v o"]:
        """Visual tokens of a batch of images that share one grid.

        Args:
          patches: normalised pixels of each patch, one frame, ``merge x merge`` blocks of
            neighbouring patches contiguous.
          layout: from `vision_layout` for the same grid.

        Returns:
          One token per block, in raster order; behind its own numbers those of the
          ``deep_layers``, layer by layer.
        """
        last, deep = self._features(patches, layout)
        merged = [self.merger(last)]
        if deep:
            pairs = (self.deep_mergers, jnp.stack(deep))
            merged += list(jax.lax.map(lambda pair: pair[0](pair[1]), pairs))
        return jnp.concatenate(merged, axis=-1)[:, layout.inverse]


def _norm(config: VisionConfig, size: int, rngs: nnx.Rngs) -> nnx.LayerNorm | RMSNorm:
    if config.activation is None:
        return RMSNorm(size, _NORM_EPS)
    return layer_norm(size, _NORM_EPS, rngs)
