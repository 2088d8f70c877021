"""Settings that all image processors share; each processor has a file of its own.

`PixelBudget` (Qwen), `CentreCrop` (CLIP, for LLaVA), `Tiles` (GOT-OCR 2, for InternVL) and
`Stretch` (SigLIP) decide which part of an image a model sees, and at which size.
`eagle_jax.inputs.processors` is the table of image processors.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from eagle_jax.errors import InputError, shown_value

FILE = "preprocessor_config.json"


class Frame(NamedTuple):
    """One resized copy of the image, cropped and cut into blocks of patches.

    Attributes:
      resized: height and width of the whole resized image, in pixels.
      origin: top and left corner of the crop in the resized image, in pixels.
      blocks: number of square blocks of patches down and across in the crop. Patches are
        ordered block by block and, within a block, row by row.
      block: number of patches on one side of a block.
      patch_size: number of pixels on one side of a patch.
    """

    resized: tuple[int, int]
    origin: tuple[int, int]
    blocks: tuple[int, int]
    block: int
    patch_size: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the crop, in pixels."""
        side = self.block * self.patch_size
        return self.blocks[0] * side, self.blocks[1] * side


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """How an image processor turns an image into patches; base class of all processors.

    Attributes:
      patch_size: number of pixels on one side of a patch.
      merge_size: number of patches on one side of a visual token.
      mean, std: mean and standard deviation of each channel, for normalisation.
      rescale_factor: factor that uint8 values are multiplied by before normalisation.
      resample: Pillow's number of the filter of the resize.
    """

    crops: ClassVar[bool] = False
    """Whether the processor crops the image to a square at its centre."""

    filters: ClassVar[tuple[int, ...]] = (3,)
    """Filters that the processor may resize with."""

    patch_size: int = 14
    merge_size: int = 1
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    rescale_factor: float = 1 / 255
    resample: int = 3

    @classmethod
    def from_hf(
        cls, config: dict[str, Any], patch_size: int = 14, merge_size: int | None = None
    ) -> "ImageSettings":
        """Reads a Hugging Face preprocessor_config.json.

        Settings that are absent or null get the processor's defaults.

        Args:
          config: the parsed file.
          patch_size: the model's patch size, for a file that does not give it.
          merge_size: the model's merge size, for a file that does not give it; None for the
            processor's default.

        Raises:
          InputError: a setting is not supported, or its value is invalid; it is named.
        """
        fields = {"patch_size": patch_size, "merge_size": merge_size}
        for given in (_shared_fields(config, cls), cls.read_fields(config)):
            fields |= {name: value for name, value in given.items() if value is not None}
        return cls(**{name: value for name, value in fields.items() if value is not None})

    @classmethod
    def read_fields(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Reads the processor's own attributes from the file; None for absent settings.

        Args:
          config: the parsed file.

        Raises:
          InputError: a setting is not supported, or its value is invalid.
        """
        raise NotImplementedError

    def frames(self, height: int, width: int) -> tuple[Frame, ...]:
        """Decides how an image is resized and cropped, as the processor in transformers does.

        Args:
          height: height of the image, in pixels.
          width: width of the image, in pixels.

        Returns:
          The frames, in the order in which their patches follow each other.

        Raises:
          InputError: the processor does not accept an image of this size.
        """
        raise NotImplementedError

    def grid(self, frames: Sequence[Frame]) -> tuple[int, int]:
        """Number of patches down and across, for all frames together."""
        (frame,) = frames
        return frame.blocks[0] * frame.block, frame.blocks[1] * frame.block


def _shared_fields(config: dict[str, Any], cls: type[ImageSettings]) -> dict[str, Any]:
    supported = {
        "do_resize": (None, True),
        "do_rescale": (None, True),
        "do_normalize": (None, True),
        "do_center_crop": (None, cls.crops),
        "do_pad": (None, False),
        "resample": (None, *cls.filters),
    }
    for name, values in supported.items():
        # transformers takes 3.0 for another filter than 3.
        if config.get(name) not in values or type(config.get(name)) is float:
            raise InputError(
                f"{FILE}: {name}={shown_value(config[name])} is not supported; it must be "
                f"{values[1]!r}"
            )
    mean, std = (_per_channel(config, f"image_{name}") for name in ("mean", "std"))
    if std is not None and min(std) <= 0:
        raise InputError(f"{FILE}: image_std={shown_value(std)} must be above 0")
    factor = config.get("rescale_factor")
    if factor is not None and not _is_number(factor):
        raise InputError(f"{FILE}: rescale_factor={shown_value(factor)} must be a number")
    return {
        "patch_size": whole("patch_size", config.get("patch_size")),
        "merge_size": whole("merge_size", config.get("merge_size")),
        "mean": mean,
        "std": std,
        "rescale_factor": factor,
        "resample": config.get("resample"),
    }


def whole(name: str, value: Any) -> int | None:
    """Checks that a setting is a positive whole number; None for an absent setting.

    Raises:
      InputError: the value is not a positive whole number.
    """
    if value is not None and (type(value) is not int or value < 1):
        raise InputError(f"{FILE}: {name}={shown_value(value)} must be a positive integer")
    return value


def square(config: dict[str, Any], name: str) -> int | None:
    """Side of a square, given as a number or as height and width; None for no setting.

    Raises:
      InputError: height and width differ, or the side is not a positive whole number.
    """
    size = config.get(name)
    if isinstance(size, dict):
        if size.keys() != {"height", "width"} or size["height"] != size["width"]:
            raise InputError(
                f"{FILE}: {name}={shown_value(size)} must hold an equal height and width"
            )
        size = size["height"]
    return whole(name, size)


def require_order(lower: tuple[str, int], upper: tuple[str, int]) -> None:
    """Refuses a pair of settings whose first value exceeds the second.

    Args:
      lower: name and value of the setting that must not be larger.
      upper: name and value of the setting that must not be smaller.

    Raises:
      InputError: the first value exceeds the second.
    """
    if lower[1] > upper[1]:
        raise InputError(f"{FILE}: {lower[0]}={lower[1]} exceeds {upper[0]}={upper[1]}")


def require_whole_tokens(name: str, side: int, settings: ImageSettings) -> None:
    """Refuses a square that cannot be cut into whole visual tokens.

    Args:
      name: name of the square in the message, such as "tile".
      side: side of the square, in pixels.
      settings: settings with the sizes of patches and visual tokens.

    Raises:
      InputError: the side is not a multiple of a visual token's side.
    """
    token = settings.patch_size * settings.merge_size
    if side % token:
        raise InputError(
            f"{FILE}: a {name} of {side} pixels cannot be cut into tokens of {token} pixels"
        )


def _per_channel(config: dict[str, Any], name: str) -> tuple[float, ...] | None:
    value = config.get(name)
    if value is None:
        return None
    values = [value] * 3 if _is_number(value) else value
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise InputError(f"{FILE}: {name}={shown_value(value)} must be three numbers")
    if not all(map(_is_number, values)):
        raise InputError(f"{FILE}: {name}={shown_value(value)} must be three numbers")
    return tuple(map(float, values))


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and type(value) is not bool and math.isfinite(value)
