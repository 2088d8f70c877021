"""SigLIP's image processor, also of Gemma 3 and BLIP-2: the image stretched to a square."""

import dataclasses
from typing import Any, ClassVar

from eagle_jax.errors import InputError
from eagle_jax.inputs.image_settings import (
    FILE,
    Frame,
    ImageSettings,
    require_whole_tokens,
    square,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stretch(ImageSettings):
    """Resizes the whole image to a square, whatever its shape.

    Attributes:
      side: number of pixels on one side of the square.
    """

    filters: ClassVar[tuple[int, ...]] = (3, 2)

    side: int = 224

    def __post_init__(self):
        require_whole_tokens("square", self.side, self)

    @classmethod
    def read_fields(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Reads the size of the square."""
        if config.get("do_pan_and_scan"):
            raise InputError(f"{FILE}: do_pan_and_scan=true is not supported; it must be false")
        return {"side": square(config, "size")}

    def frames(self, height: int, width: int) -> tuple[Frame, ...]:
        """One frame: the square."""
        block = self.side // self.patch_size
        return (Frame((self.side, self.side), (0, 0), (1, 1), block, self.patch_size),)
