"""Qwen's image processor: the whole image, resized to a bounded number of pixels."""

import dataclasses
import math
from typing import Any

from eagle_jax.errors import InputError, shown_value
from eagle_jax.inputs.image_settings import (
    FILE,
    Frame,
    ImageSettings,
    whole,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelBudget(ImageSettings):
    """Resizes an image to whole visual tokens and a bounded number of pixels.

    Attributes:
      min_pixels, max_pixels: bounds of the number of pixels. As in transformers, the largest
        number may be below the least number, and counts first.
    """

    merge_size: int = 2
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280

    @classmethod
    def from_hf(
        cls, config: dict[str, Any], patch_size: int = 14, merge_size: int | None = None
    ) -> ImageSettings:
        """Reads the file, which also gives the sizes of patches; the model's are ignored."""
        return super().from_hf(config)

    @classmethod
    def read_fields(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Reads the bounds: settings of their own, or in `size` under one of two names."""
        size = config.get("size") or {}
        names = {"shortest_edge", "longest_edge", "min_pixels", "max_pixels"}
        if not isinstance(size, dict) or not size.keys() <= names:
            raise InputError(
                f"{FILE}: size={shown_value(size)} is not supported; it must hold "
                "shortest_edge and longest_edge"
            )
        fields = {}
        for name, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
            values = config.get(name), size.get(name), size.get(edge)
            given = [value for value in values if value is not None]
            fields[name] = whole(name, given[0]) if given else None
        return fields

    def frames(self, height: int, width: int) -> tuple[Frame, ...]:
        """One frame: the whole image."""
        if max(height, width) > 200 * min(height, width):
            raise InputError(
                f"the image has {width} x {height} pixels, and the model accepts no image that "
                "is more than 200 times as long as wide; crop the image"
            )
        unit = self.patch_size * self.merge_size
        # Python rounds halves to even, as in the published processor.
        down, across = round(height / unit), round(width / unit)
        if down * across * unit**2 > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            down = max(1, math.floor(height / shrink / unit))
            across = max(1, math.floor(width / shrink / unit))
        elif down * across * unit**2 < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            down = math.ceil(height * grow / unit)
            across = math.ceil(width * grow / unit)
        # The patches of a visual token follow each other.
        resized = down * unit, across * unit
        return (Frame(resized, (0, 0), (down, across), self.merge_size, self.patch_size),)


# No image is enlarged beyond this number of pixels.
_LARGEST = 1 << 28


def with_pixel_bounds(
    settings: ImageSettings, min_pixels: int | None, max_pixels: int | None
) -> ImageSettings:
    """The settings of Qwen's image processor with other bounds of the number of pixels.

    Args:
      settings: settings of a checkpoint.
      min_pixels, max_pixels: bounds, as in `PixelBudget`; None keeps the checkpoint's.

    Raises:
      InputError: a bound is not a positive whole number, or far too large, or the checkpoint
        has another image processor.
    """
    given = {"min_pixels": min_pixels, "max_pixels": max_pixels}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if type(value) is not int or value < 1:
            raise InputError(f"{name} is {value!r}; it must be a positive whole number")
        if name == "min_pixels" and value > _LARGEST:
            raise InputError(f"min_pixels is {value}; it must be at most {_LARGEST:,} pixels")
        if not isinstance(settings, PixelBudget):
            raise InputError(
                f"{name} is {value}, but only models of Qwen have such a bound: leave it out"
            )
    return dataclasses.replace(settings, **given) if given else settings
