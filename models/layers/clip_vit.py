"""The CLIP vision tower without its pooling: LLaVA reads the features of each patch."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from eagle_jax.models.layers.building_blocks import (
    ACTIVATIONS,
    Linear,
    SelfAttention,
    layer_norm,
    made_once,
    stack,
)
from eagle_jax.models.layers.flops import plain_tower_flops


@dataclasses.dataclass(frozen=True)
class ClipConfig:
    """Shape of the tower.

    ``layers`` counts the layers that run; the features are the output of the last of these.
    ``grid`` is the number of rows and of columns of patches. ``merge`` is 1, since every patch
    becomes a visual token of its own.
    """

    embed: int
    layers: int
    heads: int
    mlp: int
    channels: int
    patch: int
    grid: int
    activation: str
    norm_eps: float

    merge = 1

    def span(self, patches: int) -> int:
        """Largest number of tokens that a patch attends to in an image of so many patches."""
        return patches + 1

    def flops(self, grid: tuple[int, int]) -> float:
        """Floating-point operations of the tower for a grid of patches."""
        inputs = self.channels * self.patch**2
        return plain_tower_flops(self.embed, self.mlp, self.layers, inputs, grid[0] * grid[1])


class ClipLayer(nnx.Module):
    """Pre-norm attention and a two-layer MLP, each with a residual."""

    def __init__(self, config: ClipConfig, *, rngs: nnx.Rngs):
        self.attention_norm = layer_norm(config.embed, config.norm_eps, rngs)
        self.attention = SelfAttention(config.embed, config.heads, rngs=rngs)
        self.mlp_norm = layer_norm(config.embed, config.norm_eps, rngs)
        self.inner = Linear(config.embed, config.mlp, rngs=rngs)
        self.outer = Linear(config.mlp, config.embed, rngs=rngs)
        self.activation = config.activation

    def __call__(self, x: Float[Array, "b s e"]) -> Float[Array, "b s e"]:
        x = x + self.attention(self.attention_norm(x))
        inner = made_once(ACTIVATIONS[self.activation](self.inner(self.mlp_norm(x))))
        return x + self.outer(inner)


class ClipTower(nnx.Module):
    """Patches to features, both in raster order, without the feature of the class token."""

    def __init__(self, config: ClipConfig, *, rngs: nnx.Rngs):
        inputs = config.channels * config.patch**2
        init = nnx.initializers.normal(0.02)
        self.patch_embed = nnx.Linear(inputs, config.embed, use_bias=False, rngs=rngs)
        self.class_token = nnx.Param(init(rngs.params(), (config.embed,)))
        self.places = nnx.Param(init(rngs.params(), (config.grid**2 + 1, config.embed)))
        self.norm = layer_norm(config.embed, config.norm_eps, rngs)
        self.layers = stack(lambda rngs: ClipLayer(config, rngs=rngs), config.layers, rngs)

    def __call__(self, patches: Float[Array, "b p c"]) -> Float[Array, "b p e"]:
        """Features of a batch of images.

        Args:
          patches: normalised pixels of each patch, channel-major, in raster order.

        Returns:
          One feature vector per patch.
        """
        embedded = self.patch_embed(patches.astype(self.patch_embed.kernel.dtype))
        first = jnp.broadcast_to(
            self.class_token[...].astype(embedded.dtype), (len(patches), 1, embedded.shape[-1])
        )
        x = self.norm(jnp.concatenate([first, embedded], axis=1) + self.places[...])
        x, _ = jax.lax.scan(lambda x, layer: (layer(x), None), x, self.layers)
        return x[:, 1:]
