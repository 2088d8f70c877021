"""Qwen's image processor: the whole image, resized within bounds of its area."""

import dataclasses
import math
from typing import Any

from eagle_jax.errors import InputError
from eagle_jax.inputs.image_settings import (
    FILE,
    Frame,
    ImageSettings,
    require_order,
    shared_fields,
    whole,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelBudget(ImageSettings):
    """Resizes an image within bounds of its area, to whole merged tokens.

    Attributes:
      temporal_patch_size: frames of one patch; a still image repeats its frame.
      min_pixels, max_pixels: bounds of the resized area, in pixels.
    """

    merge_size: int = 2
    temporal_patch_size: int = 2
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280

    def __post_init__(self):
        require_order(("min_pixels", self.min_pixels), ("max_pixels", self.max_pixels))

    @classmethod
    def from_hf(
        cls, config: dict[str, Any], patch_size: int = 14, merge_size: int | None = None
    ) -> "PixelBudget":
        """Reads the file; the bounds by their own names or under `size` in either spelling.

        The file, and not the model, says how large patches are. See `ImageSettings.from_hf`.
        """
        size = config.get("size") or {}
        if not isinstance(size, dict):
            raise InputError(f"{FILE}: size={size!r} is not supported")
        low = config.get("min_pixels"), size.get("min_pixels"), size.get("shortest_edge")
        high = config.get("max_pixels"), size.get("max_pixels"), size.get("longest_edge")
        own = {
            "temporal_patch_size": config.get("temporal_patch_size"),
            "min_pixels": next((value for value in low if value is not None), None),
            "max_pixels": next((value for value in high if value is not None), None),
        }
        given = {name: whole(name, value) for name, value in own.items() if value is not None}
        return cls(**shared_fields(config), **given)

    def frames(self, height: int, width: int) -> tuple[Frame, ...]:
        """One frame, the whole image; see `ImageSettings.frames`."""
        if max(height, width) > 200 * min(height, width):
            raise InputError(
                f"the image is {width} x {height} pixels: the model accepts no image more than "
                "200 times as long as wide"
            )
        unit = self.patch_size * self.merge_size
        # Python's round, halves to even, as the published processor uses.
        down, across = round(height / unit), round(width / unit)
        if down * across * unit**2 > self.max_pixels:
            shrink = math.sqrt(height * width / self.max_pixels)
            down = max(1, math.floor(height / shrink / unit))
            across = max(1, math.floor(width / shrink / unit))
        elif down * across * unit**2 < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            down = math.ceil(height * grow / unit)
            across = math.ceil(width * grow / unit)
        # The patches of one merged token come one after the other.
        resized = down * unit, across * unit
        return (Frame(resized, (0, 0), (down, across), self.merge_size, self.patch_size),)
