"""One question about one image, as every list format is read and every run explains it."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from eagle_jax.argument_types import checked


@checked
@dataclasses.dataclass(frozen=True)
class Item:
    """One question about one image, and what is known about its right explanation.

    Attributes:
      name: name of the item, unique in its list and a plain file name; the result is stored
        under this name.
      place: place of the item in its list, for messages: "line 12" or "entry 3".
      image: path of the image.
      prompt: the question or instruction.
      answer: the answer to explain, as text or token ids; None to let the model answer.
      target: a word or phrase of the answer, or positions in it; None for every token.
      target_ids: token ids or texts to score at the target positions; None for the answer's
        own ids.
      prompt_ids: token ids of the whole prompt as the list recorded them, which must equal
        those of the prompt built here; None if the list has no record.
      label: the right answer, "Yes" or "No"; None for other questions.
      category: name of the object that the target stands for.
      boxes: boxes around that object, each x0, y0, x1, y1 in pixels, ends excluded.
      polygons: outlines of that object, each x0, y0, x1, y1, ... in pixels.
      mask: path of an image whose pixels are not black where that object is.
      runs: pixels of that object, run-length encoded as in COCO: numbers of pixels, column by
        column, that alternately lie outside and inside the object; they need `size`.
      size: width and height of the image as the list records them, in pixels.
    """

    name: str
    place: str
    image: Path
    prompt: str
    answer: str | tuple[int, ...] | None = None
    target: str | tuple[int, ...] | None = None
    target_ids: tuple[int | str, ...] | None = None
    prompt_ids: tuple[int, ...] | None = None
    label: str | None = None
    category: str | None = None
    boxes: tuple[tuple[int, int, int, int], ...] = ()
    polygons: tuple[tuple[float, ...], ...] = ()
    mask: Path | None = None
    runs: tuple[int, ...] = ()
    size: tuple[int, int] | None = None

    @checked
    def object_mask(self, height: int, width: int) -> Bool[np.ndarray, "H W"] | None:
        """The object mask, from `mask`, `runs` or `polygons`; None without them.

        Args:
          height: height of the image, in pixels.
          width: width of the image, in pixels.

        Raises:
          InputError: the mask cannot be read or has another size.
        """
        from eagle_jax.lists.masks import fill_polygons, fill_runs, read_mask

        if self.mask is not None:
            return read_mask(self.mask, height, width)
        if self.runs:
            return fill_runs(self.runs, height, width)
        if self.polygons:
            return fill_polygons(self.polygons, height, width)
        return None


@checked
class Broken(NamedTuple):
    """An entry of a list that cannot be used.

    Attributes:
      place: place of the entry in its list: "line 12" or "entry 3".
      reason: description of the problem, in one line.
    """

    place: str
    reason: str
