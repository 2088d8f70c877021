"""What scoring, planning and the baselines need of a network, whatever its family."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Int

from eagle_jax.models.layers.decoder import Decoder, DecoderConfig


@runtime_checkable
class NetworkConfig(Protocol):
    """Shape of a network.

    Attributes:
      vision: configuration of the vision tower, with ``patch``, ``merge`` and ``heads``; with
        ``side``, the patches on one side of a tile, where `Network.tiles_apart`.
      decoder: configuration of the decoder.
      image_token_id: token id that marks the places of an image's visual tokens.
    """

    @property
    def vision(self) -> Any: ...
    @property
    def decoder(self) -> DecoderConfig: ...
    @property
    def image_token_id(self) -> int: ...

    def vision_flops(self, grid: tuple[int, int]) -> float:
        """Number of operations that turn a grid of patches into visual tokens."""
        ...


@runtime_checkable
class Network(Protocol):
    """The modules of a model: the contract that a port of a model family has to fulfil.

    A network is a JAX pytree of its weights, which may be `jax.ShapeDtypeStruct` where only
    shapes matter. `layout` and `positions` run on the host, once for each image. The other
    methods are pure functions of arrays, to be called inside `jax.jit`: patches become
    `visual_tokens`, `embed` puts these among the embeddings of the text, `hidden_states` runs
    the decoder, and `log_probabilities` reads its output. A network knows nothing of regions.

    `eagle_jax.models.families.VisionLanguageModel` implements all but `layout` and
    `visual_tokens`.

    Attributes:
      config: shape of the network.
      decoder: the causal language model, which methods that need gradients or attention use
        layer by layer.
      marks_image: whether the family's processor, and not its chat template, writes tokens
        around an image.
      tiles_apart: whether each block of patches, see `eagle_jax.inputs.patches.View`, becomes
        visual tokens independently of the others, in the order in which the decoder reads
        them. Scores of masked images can then reuse blocks that did not change, see
        `eagle_jax.scoring.reuse`.
    """

    marks_image: bool
    tiles_apart: bool

    @property
    def config(self) -> NetworkConfig: ...
    @property
    def decoder(self) -> Decoder: ...

    def layout(self, grid: tuple[int, int]) -> Any:
        """What the vision tower precomputes for a grid of patches: a pytree, or None.

        Args:
          grid: patches down and across; tiles are stacked on top of each other.

        Raises:
          InputError: the network cannot read such a grid.
        """
        ...

    def positions(
        self, ids: Int[np.ndarray, " s"], grid: tuple[int, int]
    ) -> Int[np.ndarray, "3 s"]:
        """Temporal, row and column position of each token, for the decoder's rotary embedding.

        Args:
          ids: token ids of the whole sequence, one image token for each visual token.
          grid: patches down and across.
        """
        ...

    def visual_tokens(
        self, patches: Float[Array, "b p c"], layout: Any
    ) -> Float[Array, "b v e"]:
        """Visual tokens of a batch of images.

        Args:
          patches: normalised pixels, in the order of `eagle_jax.inputs.patches.masked_patches`.
          layout: result of the method `layout`.

        Returns:
          The visual tokens in the order in which the decoder reads them; ``e`` is the size of
          an embedding, and of the deep features behind it if there are any.
        """
        ...

    def embed(
        self, ids: Int[Array, " s"], visual: Float[Array, "b v c"], start: Int[Array, ""]
    ) -> Float[Array, "b s c"]:
        """Embeds a text with the visual tokens of each image in it.

        Args:
          ids: token ids of the sequence; those at ``start .. start + v - 1`` do not matter.
          visual: visual tokens of each image.
          start: position of the first visual token.
        """
        ...

    def hidden_states(
        self,
        embeddings: Float[Array, "b s c"],
        positions: Int[Array, "3 s"],
        rows: Int[Array, " t"] | None = None,
    ) -> Float[Array, "b t e"]:
        """Final, normed hidden states of the decoder.

        Args:
          embeddings: result of `embed`.
          positions: result of the method `positions`.
          rows: positions in the sequence to return; None for all.
        """
        ...

    def log_probabilities(
        self, hidden: Float[Array, "b t e"], ids: Int[Array, " t"]
    ) -> Float[Array, "b t"]:
        """Float32 log-probability of token ``ids[i]`` after hidden state ``i``."""
        ...
