"""What all models share once an image has become visual tokens."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from eagle_jax.models.checkpoints.weights import Keys
from eagle_jax.models.layers.decoder import Decoder
from eagle_jax.models.layers.rope import plain_positions


class Family(NamedTuple):
    """What has to be known of a family to load its checkpoints.

    Attributes:
      model_type: its name in config.json.
      read_config: from the parsed config.json to the family's configuration.
      build: from the configuration, and ``rngs``, to the modules.
      weight_keys: from the configuration to where each tensor of a checkpoint goes.
    """

    model_type: str
    read_config: Callable[[dict[str, Any]], Any]
    build: Callable[..., "VisionLanguageModel"]
    weight_keys: Callable[[Any], Keys]


class VisionLanguageModel(nnx.Module):
    """Base of the models: visual tokens stand among text tokens, a decoder reads both.

    Three pure functions make a model usable for attribution: `visual_tokens`, which each
    family defines with its `layout`, `hidden_states` and `log_probabilities`; `embed` puts the
    visual tokens in their place between.

    Attributes:
      config: of the family, with ``vision``, ``decoder``, ``image_token_id`` and
        ``vision_flops``.
      marks_image: whether the family's processor, and not its chat template, writes tokens
        around an image.
      tiles_apart: whether the blocks of an image's patches, `View.blocks`, become visual tokens
        each by itself, and these follow each other in the sequence. What blocks and tokens in
        front leave behind can then be used again, see `eagle_jax.scoring.reuse`.
    """

    config: Any
    decoder: Decoder
    marks_image = False
    tiles_apart = False

    def positions(
        self, ids: Int[np.ndarray, " s"], grid: tuple[int, int]
    ) -> Int[np.ndarray, "3 s"]:
        """Position of each token, on the host; here the same on all three axes.

        Args:
          ids: the whole sequence, image tokens expanded.
          grid: rows and columns of patches of the image, tiles on top of each other.
        """
        tokens = grid[0] * grid[1] // self.config.vision.merge**2
        return plain_positions(ids, tokens, self.config.image_token_id)

    def embed(
        self, ids: Int[Array, " s"], visual: Float[Array, "b v c"], start: Int[Array, ""]
    ) -> Float[Array, "b s c"]:
        """Embeds one text around a batch of images.

        Visual tokens may have more numbers than words, deep features for the first layers of
        the decoder; words have zeros there.

        Args:
          ids: the sequence; whatever stands at ``start .. start + v - 1`` is replaced.
          visual: the visual tokens of each image.
          start: position of the first image token.
        """
        text = self.decoder.embed(ids)
        text = jnp.pad(text, [(0, 0), (0, visual.shape[-1] - text.shape[-1])])
        text = jnp.broadcast_to(text, (visual.shape[0], *text.shape))
        return jax.lax.dynamic_update_slice_in_dim(
            text, visual.astype(text.dtype), start, axis=1
        )

    def hidden_states(
        self,
        embeddings: Float[Array, "b s c"],
        positions: Int[Array, "3 s"],
        rows: Int[Array, " t"] | None = None,
    ) -> Float[Array, "b t e"]:
        """Final hidden states at the given rows, or at all of them."""
        return self.decoder.hidden_states(embeddings, positions, rows)

    def log_probabilities(
        self, hidden: Float[Array, "b t e"], ids: Int[Array, " t"]
    ) -> Float[Array, "b t"]:
        """Float32 log-probability of token ``ids[i]`` after hidden row ``i``."""
        return self.decoder.log_probabilities(hidden, ids)
