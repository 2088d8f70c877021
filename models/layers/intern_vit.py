"""InternViT: tiles of an image to visual tokens, each tile on its own."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from eagle_jax.models.layers.building_blocks import (
    Linear,
    Projector,
    RMSNorm,
    SelfAttention,
    gelu,
    layer_norm,
    made_once,
    stack,
)
from eagle_jax.models.layers.flops import plain_tower_flops

# Fixed in the published code, absent from its configuration files.
_QK_NORM_EPS = 1e-6
_PROJECTOR_EPS = 1e-5


@dataclasses.dataclass(frozen=True)
class InternVisionConfig:
    """Shape of the vision tower and its projector.

    A tile has ``side x side`` patches; each square of ``merge x merge`` patches becomes one
    visual token of size ``output``. The 300M tower has layer norms, the 6B tower has
    root-mean-square norms and normed queries and keys.
    """

    embed: int
    layers: int
    heads: int
    mlp: int
    channels: int
    patch: int
    side: int
    merge: int
    norm_eps: float
    rms_norm: bool
    attention_bias: bool
    qk_norm: bool
    output: int

    def span(self, patches: int) -> int:
        """Largest number of tokens that a patch attends to, its tile and the class token."""
        return self.side**2 + 1

    def flops(self, grid: tuple[int, int]) -> float:
        """Floating-point operations of tower and projector for a grid of patches."""
        patches, inputs = self.side**2, self.channels * self.patch**2
        tower = plain_tower_flops(self.embed, self.mlp, self.layers, inputs, patches)
        joined = self.embed * self.merge**2
        projector = 2 * patches / self.merge**2 * self.output * (joined + self.output)
        return grid[0] * grid[1] // patches * (tower + projector)


class VisionLayer(nnx.Module):
    """Pre-norm attention and MLP; a learned scale of each channel precedes both residuals."""

    def __init__(self, config: InternVisionConfig, *, rngs: nnx.Rngs):
        self.attention_norm = _norm(config, rngs)
        self.attention = SelfAttention(
            config.embed,
            config.heads,
            use_bias=config.attention_bias,
            norm_eps=_QK_NORM_EPS if config.qk_norm else None,
            rngs=rngs,
        )
        self.attention_scale = nnx.Param(jnp.ones(config.embed))
        self.mlp_norm = _norm(config, rngs)
        self.up = Linear(config.embed, config.mlp, rngs=rngs)
        self.down = Linear(config.mlp, config.embed, rngs=rngs)
        self.mlp_scale = nnx.Param(jnp.ones(config.embed))

    def __call__(self, x: Float[Array, "m p e"]) -> Float[Array, "m p e"]:
        x = x + self.attention_scale[...] * self.attention(self.attention_norm(x))
        hidden = made_once(gelu(self.up(self.mlp_norm(x))))
        return x + self.mlp_scale[...] * self.down(hidden)


class TileProjector(Projector):
    """Joins merge x merge neighbouring patches into one visual token of the decoder's size."""

    def __init__(self, config: InternVisionConfig, *, rngs: nnx.Rngs):
        joined = config.embed * config.merge**2
        self.norm = layer_norm(joined, _PROJECTOR_EPS, rngs)
        super().__init__(joined, config.output, config.output, rngs=rngs)
        self.side = config.side
        self.merge = config.merge

    def __call__(self, x: Float[Array, "m p e"]) -> Float[Array, "m v o"]:
        m, p, e = x.shape
        rows = self.side // self.merge
        blocks = x.reshape(m, rows, self.merge, rows, self.merge, e).transpose(0, 1, 3, 2, 4, 5)
        return super().__call__(self.norm(blocks.reshape(m, rows * rows, -1)))


class InternVisionTower(nnx.Module):
    """Patches of a batch of tiled images to visual tokens, tile after tile."""

    def __init__(self, config: InternVisionConfig, *, rngs: nnx.Rngs):
        self.config = config
        inputs = config.channels * config.patch**2
        self.patch_embed = nnx.Linear(inputs, config.embed, rngs=rngs)
        self.class_token = nnx.Param(jnp.zeros(config.embed))
        self.positions = nnx.Param(jnp.zeros((1 + config.side**2, config.embed)))
        self.layers = stack(lambda rngs: VisionLayer(config, rngs=rngs), config.layers, rngs)
        self.projector = TileProjector(config, rngs=rngs)

    def features(self, patches: Float[Array, "b p c"]) -> Float[Array, "m q e"]:
        """Features of every patch before the projector: ``m`` tiles of ``q`` patches."""
        tiles = patches.reshape(-1, self.config.side**2, patches.shape[-1])
        x = self.patch_embed(tiles.astype(self.patch_embed.kernel.dtype))
        first = jnp.broadcast_to(self.class_token[...], (len(x), 1, x.shape[-1]))
        x = jnp.concatenate([first, x], axis=1) + self.positions[...]
        x, _ = jax.lax.scan(lambda x, layer: (layer(x), None), x, self.layers)
        return x[:, 1:]

    def __call__(self, patches: Float[Array, "b p c"]) -> Float[Array, "b v o"]:
        """Visual tokens of a batch of images with equal numbers of tiles.

        Args:
          patches: normalised pixels of each patch, channel-major; the patches of a tile in
            raster order, tile after tile.

        Returns:
          The tokens of each tile in raster order, tile after tile.
        """
        visual = self.projector(self.features(patches))
        return visual.reshape(patches.shape[0], -1, visual.shape[-1])


def _norm(config: InternVisionConfig, rngs: nnx.Rngs) -> nnx.LayerNorm | RMSNorm:
    if config.rms_norm:
        return RMSNorm(config.embed, config.norm_eps)
    return layer_norm(config.embed, config.norm_eps, rngs)
