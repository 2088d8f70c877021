"""What the image processors of all checkpoints share; a file of its own for each kind.

`PixelBudget` (Qwen), `CentreCrop` (CLIP, for LLaVA) and `Tiles` (GOT-OCR 2, for InternVL) say
which part of an image a model sees and at which size; `eagle_jax.inputs.processors` is the
table of them.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from eagle_jax.errors import InputError

FILE = "preprocessor_config.json"


class Frame(NamedTuple):
    """One resized copy of the image, cropped and cut into blocks of patches.

    Attributes:
      resized: height and width the whole image is resized to.
      origin: top and left of the part that is kept.
      blocks: square blocks of patches down and across in that part. Patches are ordered
        block by block and, within a block, row by row.
      block: patches on one side of a block.
      patch_size: pixels on one side of a patch.
    """

    resized: tuple[int, int]
    origin: tuple[int, int]
    blocks: tuple[int, int]
    block: int
    patch_size: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the part that is kept."""
        side = self.block * self.patch_size
        return self.blocks[0] * side, self.blocks[1] * side


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """How an image processor turns a picture into patches; the base of its kinds.

    Attributes:
      patch_size: pixels of one patch side.
      merge_size: patches on one side of a merged visual token.
      mean, std: normalisation for each channel, after rescaling.
      rescale_factor: what uint8 values are multiplied by.
    """

    patch_size: int = 14
    merge_size: int = 1
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    rescale_factor: float = 1 / 255

    @classmethod
    def from_hf(
        cls, config: dict[str, Any], patch_size: int = 14, merge_size: int | None = None
    ) -> "ImageSettings":
        """Reads a Hugging Face preprocessor_config.json.

        What is absent or null has the processor's default.

        Args:
          config: the parsed file.
          patch_size: of the model, for files that say nothing of patches.
          merge_size: likewise; None for what is usual.

        Raises:
          InputError: a setting that this package does not implement, or a value that makes no
            sense; it is named.
        """
        raise NotImplementedError

    def frames(self, height: int, width: int) -> tuple[Frame, ...]:
        """Decides how an image is resized and cut, as the processor in transformers does.

        Args:
          height: of the source image, in pixels.
          width: of the source image, in pixels.

        Returns:
          One frame or several, in the order in which their patches follow each other.

        Raises:
          InputError: the processor accepts no such image.
        """
        raise NotImplementedError

    def grid(self, frames: Sequence[Frame]) -> tuple[int, int]:
        """Patches down and across, of all frames together."""
        (frame,) = frames
        return frame.blocks[0] * frame.block, frame.blocks[1] * frame.block


def shared_fields(config: dict[str, Any], center_crop: bool = False) -> dict[str, Any]:
    """Reads what the files of all kinds have in common; fields that are absent are left out.

    Args:
      config: the parsed file.
      center_crop: whether the processor is one that crops.

    Raises:
      InputError: as of `ImageSettings.from_hf`.
    """
    supported = {
        "do_resize": (None, True),
        "do_rescale": (None, True),
        "do_normalize": (None, True),
        "do_center_crop": (None, center_crop),
        "do_pad": (None, False),
        "resample": (None, 3),
    }
    for name, values in supported.items():
        if config.get(name) not in values:
            raise InputError(
                f"{FILE}: {name}={config[name]!r} is not supported, only {values[1]!r}"
            )
    found = {name: whole(name, config.get(name)) for name in ("patch_size", "merge_size")}
    for name in ("mean", "std"):
        found[name] = _per_channel(config.get(f"image_{name}"), f"image_{name}")
    if any(one <= 0 for one in found["std"] or ()):
        raise InputError(f"{FILE}: image_std={found['std']!r} must be above 0")
    found["rescale_factor"] = config.get("rescale_factor")
    if not (found["rescale_factor"] is None or _is_number(found["rescale_factor"])):
        raise InputError(f"{FILE}: rescale_factor={found['rescale_factor']!r} must be a number")
    return {name: value for name, value in found.items() if value is not None}


def whole(name: str, value: Any) -> Any:
    """A positive whole number, or None where the file has nothing.

    Raises:
      InputError: it is something else.
    """
    if value is not None and (type(value) is not int or value < 1):
        raise InputError(f"{FILE}: {name}={value!r} must be a positive integer")
    return value


def square(config: dict[str, Any], name: str, default: int) -> int:
    """The side of a square that is given as one number or as a height and a width.

    Raises:
      InputError: it is no square.
    """
    size = config.get(name)
    if isinstance(size, dict):
        if size.keys() != {"height", "width"} or size["height"] != size["width"]:
            raise InputError(f"{FILE}: {name}={size!r} must hold an equal height and width")
        size = size["height"]
    return default if size is None else whole(name, size)


def require_order(least: tuple[str, int], most: tuple[str, int]) -> None:
    """Refuses two settings of which one must not exceed the other.

    Args:
      least: name and value of the lower one.
      most: name and value of the upper one.

    Raises:
      InputError: it does.
    """
    if least[1] > most[1]:
        raise InputError(f"{FILE}: {least[0]}={least[1]} exceeds {most[0]}={most[1]}")


def require_whole_tokens(what: str, side: int, settings: ImageSettings) -> None:
    """Refuses a square that cannot be cut into visual tokens.

    Args:
      what: to call it.
      side: of it, in pixels.
      settings: with the size of patches.

    Raises:
      InputError: its side is no multiple of a token's.
    """
    unit = settings.patch_size * settings.merge_size
    if side % unit:
        raise InputError(
            f"{FILE}: a {what} of {side} pixels cannot be cut into tokens of {unit} pixels"
        )


def _per_channel(value: Any, name: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    values = [value] * 3 if _is_number(value) else value
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise InputError(f"{FILE}: {name}={value!r} must be three numbers")
    if not all(_is_number(one) for one in values):
        raise InputError(f"{FILE}: {name}={value!r} must be three numbers")
    return tuple(float(one) for one in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and type(value) is not bool and math.isfinite(value)
