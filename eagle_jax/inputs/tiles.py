"""GOT-OCR 2's image processor, for InternVL: square tiles and a thumbnail."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from eagle_jax.inputs.image_settings import (
    Frame,
    ImageSettings,
    require_order,
    require_whole_tokens,
    square,
    whole,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiles(ImageSettings):
    """Resizes an image to a grid of square tiles, and once more to a thumbnail.

    Attributes:
      side: number of pixels on one side of a tile.
      min_tiles, max_tiles: bounds of the number of tiles, without the thumbnail.
    """

    merge_size: int = 2
    side: int = 448
    min_tiles: int = 1
    max_tiles: int = 12

    def __post_init__(self):
        require_order(("min_patches", self.min_tiles), ("max_patches", self.max_tiles))
        require_whole_tokens("tile", self.side, self)

    @classmethod
    def read_fields(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Reads the size and the number of tiles.

        `crop_to_patches` is ignored, because InternVL's processor always cuts tiles.
        """
        return {
            "side": square(config, "size") or 384,
            "min_tiles": whole("min_patches", config.get("min_patches")),
            "max_tiles": whole("max_patches", config.get("max_patches")),
        }

    def frames(self, height: int, width: int) -> tuple[Frame, ...]:
        """One frame for the tiles and, if there are several, another for the thumbnail."""
        rows, columns = self._tile_grid(height, width)
        if rows * columns == 1:
            return (self._frame(1, 1),)
        return self._frame(rows, columns), self._frame(1, 1)

    def grid(self, frames: Sequence[Frame]) -> tuple[int, int]:
        """Number of patches with the tiles in a column and the thumbnail below."""
        block = frames[0].block
        return sum(math.prod(frame.blocks) for frame in frames) * block, block

    def _frame(self, rows: int, columns: int) -> Frame:
        resized = (rows * self.side, columns * self.side)
        block = self.side // self.patch_size
        return Frame(resized, (0, 0), (rows, columns), block, self.patch_size)

    def _tile_grid(self, height: int, width: int) -> tuple[int, int]:
        most = self.max_tiles
        grids = [
            (rows, columns)
            for columns in range(1, most + 1)
            for rows in range(1, most // columns + 1)
            if rows * columns >= self.min_tiles
        ]
        # Grids of few tiles come first; the sort is stable, so narrow grids precede wide grids.
        grids.sort(key=math.prod)
        differences = [abs(width / height - columns / rows) for rows, columns in grids]
        best = min(differences)
        nearest = [
            grid
            for grid, difference in zip(grids, differences, strict=True)
            if difference == best
        ]
        # Among grids with the same aspect ratio, the largest with fewer than twice the pixels
        # of the image is taken.
        affordable = [
            grid
            for grid in nearest[1:]
            if height * width > 0.5 * self.side**2 * math.prod(grid)
        ]
        return (affordable or nearest[:1])[-1]
