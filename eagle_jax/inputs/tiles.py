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
    shared_fields,
    square,
    whole,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiles(ImageSettings):
    """Resizes an image to a grid of square tiles, and once more to a thumbnail.

    Attributes:
      side: pixels on one side of a tile.
      min_tiles, max_tiles: bounds of the number of tiles, the thumbnail not counted.
    """

    merge_size: int = 2
    side: int = 448
    min_tiles: int = 1
    max_tiles: int = 12

    def __post_init__(self):
        require_order(("min_patches", self.min_tiles), ("max_patches", self.max_tiles))
        require_whole_tokens("tile", self.side, self)

    @classmethod
    def from_hf(
        cls, config: dict[str, Any], patch_size: int = 14, merge_size: int | None = None
    ) -> "Tiles":
        """Reads the file, which says nothing of patches; see `ImageSettings.from_hf`.

        `crop_to_patches` is not heeded, because InternVL's processor always cuts tiles.
        """
        patches: dict[str, Any] = {"patch_size": patch_size, "merge_size": merge_size or 2}
        fields = patches | shared_fields(config)
        for bound, name in (("min_tiles", "min_patches"), ("max_tiles", "max_patches")):
            if (value := whole(name, config.get(name))) is not None:
                fields[bound] = value
        return cls(**fields, side=square(config, "size", 384))

    def frames(self, height: int, width: int) -> tuple[Frame, ...]:
        """The tiles as one frame, and a second for the thumbnail of more than one tile."""
        rows, columns = self._tile_grid(height, width)
        if rows * columns == 1:
            return (self._frame(1, 1),)
        return self._frame(rows, columns), self._frame(1, 1)

    def grid(self, frames: Sequence[Frame]) -> tuple[int, int]:
        """Patches of the tiles stacked on top of each other, the thumbnail at the bottom."""
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
        # Few tiles first; the sort is stable, so narrow grids come before wide ones.
        grids.sort(key=math.prod)
        difference = [abs(width / height - columns / rows) for rows, columns in grids]
        best = min(difference)
        nearest = [grid for grid, d in zip(grids, difference, strict=True) if d == best]
        # Among grids equally near in aspect ratio, a later one is taken while its pixels are
        # fewer than twice the image's.
        affordable = [
            grid
            for grid in nearest[1:]
            if height * width > 0.5 * self.side**2 * math.prod(grid)
        ]
        return (affordable or nearest[:1])[-1]
