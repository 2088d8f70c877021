"""The base of all models: visual tokens stand among text tokens, a decoder reads both."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from eagle_jax.models.checkpoints.weights import KeyMap
from eagle_jax.models.layers.decoder import Decoder
from eagle_jax.models.layers.rope import plain_positions


class Family(NamedTuple):
    """How to load the checkpoints of a family.

    Attributes:
      model_type: name of the family in config.json.
      read_config: parsed config.json -> configuration of the family.
      build: configuration and ``rngs`` -> modules.
      weight_keys: configuration -> key map of the checkpoint.
      ties_head: whether transformers ties the head to the embedding where config.json's outer
        tie_word_embeddings is absent.
    """

    model_type: str
    read_config: Callable[[dict[str, Any]], Any]
    build: Callable[..., "VisionLanguageModel"]
    weight_keys: Callable[[Any], KeyMap]
    ties_head: bool = False


class VisionLanguageModel(nnx.Module):
    """Base of the models.

    Attribution needs three pure functions of a model: `visual_tokens`, which each family
    defines together with `layout`; `hidden_states`; and `log_probabilities`. `embed` puts the
    visual tokens among the embedded text.

    Attributes:
      config: configuration of the family, with ``vision``, ``decoder``, ``image_token_id`` and
        ``vision_flops``.
      marks_image: whether the family's processor, and not its chat template, writes tokens
        around an image.
      tiles_apart: whether each block of an image's patches, `View.blocks`, becomes visual
        tokens independently of the other blocks, and these follow each other in the sequence.
        Visual tokens and cached keys and values of unchanged blocks can then be reused, as
        `eagle_jax.scoring.reuse` does.
    """

    config: Any
    decoder: Decoder
    marks_image = False
    tiles_apart = False

    def positions(
        self, ids: Int[np.ndarray, " s"], grid: tuple[int, int]
    ) -> Int[np.ndarray, "3 s"]:
        """Position of each token, on the host; here equal on all three axes.

        Args:
          ids: ids of the whole sequence, with one image token for each visual token.
          grid: rows and columns of patches of the image, tiles on top of each other.
        """
        tokens = grid[0] * grid[1] // self.config.vision.merge**2
        return plain_positions(ids, tokens, self.config.image_token_id)

    def embed(
        self, ids: Int[Array, " s"], visual: Float[Array, "b v wide"], start: Int[Array, ""]
    ) -> Float[Array, "b s wide"]:
        """Embeds one text around a batch of images.

        Args:
          ids: ids of the sequence; those at ``start .. start + v - 1`` are ignored.
          visual: the visual tokens of each image, with the deep features of `DecoderConfig`.
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
        embeddings: Float[Array, "b s wide"],
        positions: Int[Array, "3 s"],
        rows: Int[Array, " t"] | None = None,
    ) -> Float[Array, "b t e"]:
        """Final hidden states at the given rows, as `Decoder.hidden_states` returns them."""
        return self.decoder.hidden_states(embeddings, positions, rows)

    def log_probabilities(
        self, hidden: Float[Array, "b t e"], ids: Int[Array, " t"]
    ) -> Float[Array, "b t"]:
        """Float32 log-probability of token ``ids[i]`` after hidden row ``i``."""
        return self.decoder.log_probabilities(hidden, ids)
