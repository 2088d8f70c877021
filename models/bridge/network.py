"""A model of transformers as a `Network`, so that scores and searches are as for a port."""

import dataclasses
import functools
import hashlib
import inspect
import math
from typing import Any, ClassVar, no_type_check

import jax
import jax.numpy as jnp
import numpy as np
import torch

from eagle_jax.errors import InputError
from eagle_jax.models.bridge.function import ModelFunction, Outputs
from eagle_jax.models.bridge.shape import BridgeConfig
from eagle_jax.models.bridge.traced import to_numpy, torch_dtype


class ImageArguments(tuple):
    """The arguments that describe an image to the model; (1, number of visual tokens).

    It stands where a port has the rows and columns of patches. Two are equal if one program
    serves both images.

    Attributes:
      shape: shape of the argument ``pixel_values``, for a batch of one.
      extras: the model's other arguments that describe the image.
      pixels: the whole image's ``pixel_values``, for decisions that follow from pixels.
      image: the source pixels, uint8 (H, W, 3).
      key: digest of all that a program depends on.
    """

    shape: tuple[int, ...]
    extras: dict[str, torch.Tensor]
    pixels: np.ndarray
    image: np.ndarray
    key: bytes

    def __new__(
        cls,
        tokens: int,
        extras: dict[str, torch.Tensor],
        pixels: np.ndarray,
        image: np.ndarray,
    ):
        made = super().__new__(cls, (1, tokens))
        made.shape, made.extras, made.pixels = tuple(pixels.shape), extras, pixels
        made.image = image
        digest = hashlib.sha256(str((tokens, made.shape)).encode())
        for name in sorted(extras):
            value = extras[name]
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.contiguous().view(torch.uint8).numpy().tobytes())
        made.key = digest.digest()
        return made

    def as_argument(self, pixels: jax.Array) -> jax.Array:
        """The argument ``pixel_values`` of one prepared image, which has any shape."""
        frames = math.prod(self.shape) // pixels.size
        if frames > 1:
            # Qwen's processor repeats the image, as a video of that many frames.
            pixels = pixels.reshape(self.shape[0], 3, 1, -1)
            pixels = jnp.broadcast_to(pixels, (*pixels.shape[:2], frames, pixels.shape[3]))
        return pixels.reshape(self.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageArguments) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class _Hint:
    """A question's values, for Python to decide upon; equal where one program serves two."""

    def __init__(self, ids: np.ndarray, position_ids: Any, grid: ImageArguments, marks: bytes):
        self.ids, self.position_ids, self.grid = ids, position_ids, grid
        self.key = grid.key, marks, len(ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hint) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


# No run-time check of the fields, here and below: JAX builds the classes with placeholders too.
@jax.tree_util.register_dataclass
@no_type_check
@dataclasses.dataclass(frozen=True)
class Places:
    """Positions of a sequence's tokens, and what else the model takes; as `Network.positions`.

    Attributes:
      position_ids: the model's argument of this name; empty if it has none.
      constants: large arrays that PyTorch computed from ids and image alone.
      hint: the question's values, for Python to decide upon.
    """

    position_ids: Any
    constants: tuple[Any, ...]
    hint: _Hint = dataclasses.field(metadata={"static": True})


class _Decoder:
    """Stands for a port's decoder, whose layers the bridge does not show."""

    def logits(self, hidden: Any) -> Any:
        """The hidden states, which are logits already."""
        return hidden.astype(jnp.float32)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise InputError(
            "this needs the decoder's layers one by one, which a model that runs by the bridge "
            'does not show; take a method that needs scores alone, such as "eagle", or a model '
            "that is ported"
        )


@jax.tree_util.register_dataclass
@no_type_check
@dataclasses.dataclass(frozen=True)
class BridgeNetwork:
    """A model of transformers that runs inside JAX; fulfils `Network`.

    The whole model runs in `hidden_states`, whose results are logits: visual tokens are the
    pixels, and an embedded sequence is the pair of ids and pixels.

    Attributes:
      weights: name -> array, as `load_arrays` gives them.
      function: the model as a function.
      config: its shape.
    """

    weights: dict[str, jax.Array]
    function: ModelFunction = dataclasses.field(metadata={"static": True})
    config: BridgeConfig = dataclasses.field(metadata={"static": True})

    marks_image: ClassVar[bool] = False
    tiles_apart: ClassVar[bool] = False
    backend: ClassVar[str] = "bridge"
    decoder: ClassVar[Any] = _Decoder()

    def layout(self, grid: tuple[int, int]) -> None:
        """None: whatever follows from the image's size is in `Places`."""
        return None

    def positions(self, ids: np.ndarray, grid: tuple[int, int]) -> Any:
        """The sequence's positions, with the large constants of its program."""
        if not isinstance(grid, ImageArguments):
            raise TypeError("the bridge needs an image that its own processor prepared")
        marks = ids == self.config.image_token_id
        if int(marks.sum()) != grid[1]:
            raise InputError(
                f"the sequence has {int(marks.sum())} image tokens, the image needs {grid[1]}; "
                "the processor of the checkpoint does not fit its model"
            )
        positions = self._position_ids(ids, grid)
        key = np.packbits(marks).tobytes()
        hint = _Hint(ids, positions, grid, key)
        array = np.zeros(0, np.int32) if positions is None else to_numpy(positions)
        places = Places(array, (), hint)
        constants = self.function.constants.get(hint.key)
        if constants is None:
            shapes = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self.weights
            )
            pixels = jax.ShapeDtypeStruct(grid.shape, self._dtype)
            traced, hints = self._inputs(places, np.asarray(ids, np.int32), pixels)
            rows = jax.ShapeDtypeStruct((1,), jnp.int32)
            constants = self.function.large_constants(
                shapes, traced, hints, self._plain(places), rows
            )
            self.function.constants[hint.key] = constants
        return dataclasses.replace(places, constants=constants)

    def visual_tokens(self, patches: jax.Array, layout: Any) -> jax.Array:
        """The pixels themselves; `hidden_states` runs the vision tower."""
        return patches

    def embed(self, ids: Any, visual: jax.Array, start: Any) -> Any:
        """The pair of ids and pixels."""
        return ids, visual

    def hidden_states(self, embeddings: Any, positions: Places, rows: Any = None) -> jax.Array:
        """Logits at the rows; NaN for an image for which Python would decide otherwise."""
        ids, pixels = embeddings
        rows = jnp.arange(len(ids)) if rows is None else jnp.asarray(rows)
        return _read_all(self, jnp.asarray(ids), pixels, positions, rows)

    def require_decided(self, pixels: jax.Array, ids: Any, positions: Places) -> None:
        """Refuses an image for which the branches of its program do not hold.

        Args:
          pixels: one image, as a row of what `visual_tokens` gives.
          ids: token ids of the sequence.
          positions: result of the method `positions`.

        Raises:
          InputError: Python would decide otherwise for this image; the message names the lines
            of code.
        """
        row = np.zeros(1, np.int32)
        # Traced anew, so that the decisions are those of this program.
        holds = jax.jit(lambda image: self.run(ids, image, positions, row).holds)(pixels)
        decisions = zip(self.function.decisions, np.asarray(holds), strict=True)
        lines = dict.fromkeys(line for line, held in decisions if not held)
        if lines:
            raise InputError(
                "a masked image leads the model to another branch than the whole image, at "
                f"{', '.join(lines)}, so it has no score; take another fill"
            )

    def run(self, ids: Any, image: jax.Array, positions: Places, rows: Any) -> Outputs:
        """The model's outputs for one image; arguments as for `require_decided`."""
        pixels = positions.hint.grid.as_argument(image).astype(self._dtype)
        traced, hints = self._inputs(positions, ids, pixels)
        return self.function(
            self.weights, traced, hints, self._plain(positions), rows, positions.constants
        )

    def next_logits(self, embeddings: Any, positions: Places, length: Any) -> tuple:
        """The logits after a prompt, and a function for the logits after each new token.

        There is no cache: each new token runs the whole sequence, which has room for it.

        Args:
          embeddings: result of `embed`.
          positions: result of the method `positions`.
          length: number of tokens of the prompt.

        Returns:
          Logits, state and the function ``advance``, for `continue_greedily`.
        """
        prompt, pixels = embeddings

        def logits(ids: jax.Array, count: Any) -> jax.Array:
            row = jnp.reshape(length - 1 + count, (1,))

            def read(ids: jax.Array, image: jax.Array) -> jax.Array:
                return self.hidden_states((ids, image[None]), positions, row)[0, 0]

            return jax.vmap(read)(ids, pixels)

        def advance(token: jax.Array, count: Any, ids: jax.Array) -> tuple:
            ids = ids.at[:, length - 1 + count].set(token)
            return logits(ids, count), ids

        ids = jnp.broadcast_to(prompt, (len(pixels), len(prompt)))
        return logits(ids, 0), ids, advance

    def log_probabilities(self, hidden: jax.Array, ids: jax.Array) -> jax.Array:
        """Float32 log-probability of token ``ids[i]`` by the logits of row ``i``."""
        every = jax.nn.log_softmax(hidden, axis=-1)
        return jnp.take_along_axis(every, ids[None, :, None], axis=-1)[..., 0]

    @property
    def _dtype(self) -> Any:
        return max((w.dtype for w in self.weights.values()), key=lambda d: d.itemsize)

    @property
    def _parameters(self) -> Any:
        return inspect.signature(self.function.model.forward).parameters

    def _inputs(self, places: Places, ids: Any, pixels: Any) -> tuple[dict, dict]:
        """The traced arguments of the model, and their hints."""
        hint = places.hint
        whole = torch.from_numpy(np.array(hint.grid.pixels)).to(torch_dtype(self._dtype))
        one_row = ids[None] if isinstance(ids, np.ndarray) else jnp.asarray(ids)[None]
        traced = {"input_ids": one_row, "pixel_values": pixels}
        hints = {
            "input_ids": torch.from_numpy(np.array(hint.ids, np.int64))[None],
            "pixel_values": whole,
        }
        if hint.position_ids is not None:
            traced["position_ids"] = places.position_ids
            hints["position_ids"] = hint.position_ids
        return traced, hints

    def _plain(self, places: Places) -> dict[str, torch.Tensor]:
        """The arguments that are the same for all questions of a program."""
        hint, parameters = places.hint, self._parameters
        ids = torch.from_numpy(np.array(hint.ids, np.int64))[None]
        marks = (ids == self.config.image_token_id).long()
        plain = {n: v for n, v in hint.grid.extras.items() if n in parameters}
        plain["attention_mask"] = torch.ones_like(ids)
        for name in ("token_type_ids", "mm_token_type_ids"):
            if name in parameters:
                plain[name] = marks
        return plain

    def _position_ids(self, ids: np.ndarray, grid: ImageArguments) -> torch.Tensor | None:
        if "position_ids" not in self._parameters:
            return None
        sequence = torch.from_numpy(np.array(ids, np.int64))[None]
        index = getattr(getattr(self.function.model, "model", None), "get_rope_index", None)
        if index is None:
            return torch.arange(len(ids))[None]
        given = {
            **grid.extras,
            "input_ids": sequence,
            "attention_mask": torch.ones_like(sequence),
            "mm_token_type_ids": (sequence == self.config.image_token_id).int(),
        }
        names = inspect.signature(index).parameters
        return index(**{name: value for name, value in given.items() if name in names})[
            0
        ].long()


# A program of its own where the caller is not traced: modules one operation at a time are slow.
@functools.partial(jax.jit, inline=True)
def _read_all(
    network: BridgeNetwork, ids: Any, pixels: jax.Array, positions: Places, rows: Any
) -> jax.Array:
    def read(image: jax.Array) -> jax.Array:
        out = network.run(ids, image, positions, rows)
        return jnp.where(jnp.all(out.holds), out.logits.astype(jnp.float32), jnp.nan)

    return jax.vmap(read)(pixels)
