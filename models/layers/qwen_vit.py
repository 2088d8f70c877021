"""The vision tower of the Qwen-VL models: windowed and full attention, then a merger."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from eagle_jax.kernels import attention
from eagle_jax.models.layers.building_blocks import (
    MLP,
    GatedMLP,
    Linear,
    Projector,
    RMSNorm,
    layer_norm,
    stack,
)
from eagle_jax.models.layers.qwen_layout import Blocks, VisionConfig, VisionLayout

# Fixed in the published architecture, absent from its configuration files.
_NORM_EPS = 1e-6


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


class VisionLayer(nnx.Module):
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


class Merger(Projector):
    """Joins merge x merge neighbouring patches, normed before or after, into one token."""

    def __init__(self, config: VisionConfig, *, norm_joined: bool = False, rngs: nnx.Rngs):
        joined = config.embed * config.merge**2
        self.norm_joined = norm_joined
        self.norm = _norm(config, joined if norm_joined else config.embed, rngs)
        super().__init__(joined, joined, config.output, rngs=rngs)

    def __call__(self, x: Float[Array, "b p e"]) -> Float[Array, "b v o"]:
        shape = x.shape[0], -1, self.inner.in_features
        joined = (
            self.norm(x.reshape(shape)) if self.norm_joined else self.norm(x).reshape(shape)
        )
        return super().__call__(joined)


class QwenVisionTower(nnx.Module):
    """Patches in the processor's order to visual tokens in raster order."""

    def __init__(self, config: VisionConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.patch_embed = PatchEmbed(config, rngs=rngs)
        self.windowed, self.full = (
            stack(lambda rngs: VisionLayer(config, rngs=rngs), len(layers), rngs)
            if layers
            else None
            for layers in (config.windowed_layers, config.full_layers)
        )
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
        """Features from the last layer, and a list of the features from the deep layers."""
        x = self.patch_embed(patches)[:, layout.order]
        if self.config.places:
            neighbours = self.places[...][layout.neighbours].astype(jnp.float32)
            places = (neighbours * layout.neighbour_weights[..., None]).sum(axis=1)
            x = x + places.astype(x.dtype)
        windowed = full = 0
        deep = []
        for blocks in self.config.blocks:
            x, outputs = self._run_blocks(x, layout, blocks, windowed, full)
            for i in range(blocks.repeats):
                windowed, full = windowed + blocks.windowed, full + blocks.full
                if windowed + full - 1 in self.config.deep_layers:
                    deep += [output[i] for output in outputs]
        return x, deep

    def _run_blocks(self, x, layout: VisionLayout, blocks: Blocks, windowed: int, full: int):
        """Equal blocks, from the given windowed and full layer on.

        Returns:
          The features behind them, and, if there are deep layers, a tuple with the features
          behind each block.
        """

        def run(x, i):
            first = windowed + i * blocks.windowed
            x = _run_layers(self.windowed, first, blocks.windowed, x, layout, full=False)
            first = full + i * blocks.full
            x = _run_layers(self.full, first, blocks.full, x, layout, full=True)
            return x, (x,) if self.config.deep_layers else ()

        return jax.lax.scan(run, x, jnp.arange(blocks.repeats))

    def __call__(
        self, patches: Float[Array, "b p c"], layout: VisionLayout
    ) -> Float[Array, "b v o"]:
        """Visual tokens of a batch of images that share one grid.

        Args:
          patches: normalised pixels of each patch, one frame, ``merge x merge`` blocks of
            neighbouring patches contiguous.
          layout: from `vision_layout` for the same grid.

        Returns:
          One token per block, in raster order. The token of the last layer is followed by the
          deep features, layer by layer.
        """
        last, deep = self._features(patches, layout)
        merged = [self.merger(last)]
        if deep:
            pairs = (self.deep_mergers, jnp.stack(deep))
            merged += list(jax.lax.map(lambda pair: pair[0](pair[1]), pairs))
        return jnp.concatenate(merged, axis=-1)[:, layout.inverse]


def _run_layers(layers, first, count: int, x, layout: VisionLayout, *, full: bool):
    if count == 0:
        return x

    # A scan over the numbers of the layers: a nested scan over the layers themselves would
    # copy the weights of each block.
    def run(x, i):
        layer = jax.tree.map(
            lambda leaf: jax.lax.dynamic_index_in_dim(leaf, i, keepdims=False), layers
        )
        return layer(x, layout, full), None

    return jax.lax.scan(run, x, first + jnp.arange(count))[0]


def _norm(config: VisionConfig, size: int, rngs: nnx.Rngs) -> nnx.LayerNorm | RMSNorm:
    if config.activation is None:
        return RMSNorm(size, _NORM_EPS)
    return layer_norm(size, _NORM_EPS, rngs)
