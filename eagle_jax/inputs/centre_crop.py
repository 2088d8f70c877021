"""CLIP's image processor, for LLaVA: a square crop at the centre."""

import dataclasses
from typing import Any, ClassVar

from eagle_jax.errors import InputError, shown_value
from eagle_jax.inputs.image_settings import (
    FILE,
    Frame,
    ImageSettings,
    require_order,
    require_whole_tokens,
    square,
    whole,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CentreCrop(ImageSettings):
    """Resizes an image by its shorter edge and keeps a square at the centre.

    Attributes:
      shortest_edge: length of the shorter edge after the resize, in pixels.
      side: number of pixels on one side of the square.
    """

    crops: ClassVar[bool] = True

    shortest_edge: int = 224
    side: int = 224

    def __post_init__(self):
        # A crop beyond the image would need a border.
        require_order(("crop_size", self.side), ("shortest_edge", self.shortest_edge))
        require_whole_tokens("crop", self.side, self)

    @classmethod
    def read_fields(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Reads the sizes of the resized image and of the crop."""
        size = config.get("size")
        if isinstance(size, dict):
            if size.keys() != {"shortest_edge"}:
                raise InputError(
                    f"{FILE}: size={shown_value(size)} must hold shortest_edge and nothing else"
                )
            size = size["shortest_edge"]
        return {
            "shortest_edge": whole("shortest_edge", size),
            "side": square(config, "crop_size"),
        }

    def frames(self, height: int, width: int) -> tuple[Frame, ...]:
        """One frame: the crop."""
        short, long = sorted((height, width))
        stretched = int(self.shortest_edge * long / short)
        new_height, new_width = self.shortest_edge, stretched
        if height > width:
            new_height, new_width = new_width, new_height
        origin = (new_height - self.side) // 2, (new_width - self.side) // 2
        block = self.side // self.patch_size
        return (Frame((new_height, new_width), origin, (1, 1), block, self.patch_size),)
