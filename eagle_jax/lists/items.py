"""One question about one picture, as every list format is read into and every run works on."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


@dataclasses.dataclass(frozen=True)
class Item:
    """One question about one picture, and what is known of its right explanation.

    Attributes:
      name: unique in its list and a plain file name; its result is stored under it.
      place: where it stands in its list, for messages: "line 12" or "entry 3".
      image: the picture.
      prompt: the question or instruction.
      answer: the answer to explain, text or token ids; None lets the model answer.
      target: a word or phrase of the answer or positions in it; None for every token.
      target_ids: ids or texts to score there instead of the answer's own; None for those.
      prompt_ids: the expanded prompt as the list recorded it, which must be ours; None when
        the list does not say.
      label: the right answer, "Yes" or "No", of a question that has one.
      category: the kind of object that the target names.
      boxes: x0, y0, x1, y1 in pixels, ends excluded, of each box around that object.
      polygons: outlines of that object, each x0, y0, x1, y1, ... in pixels.
      mask: a picture that is not black where that object is.
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

    def object_mask(self, height: int, width: int) -> Bool[np.ndarray, "H W"] | None:
        """Where the object is, from the mask picture or the polygons; None without either.

        Args:
          height: of the picture, in pixels.
          width: of the picture, in pixels.

        Raises:
          InputError: the mask picture cannot be read or has another size.
        """
        from eagle_jax.lists.masks import fill_polygons, read_mask

        if self.mask is not None:
            return read_mask(self.mask, height, width)
        if self.polygons:
            return fill_polygons(self.polygons, height, width)
        return None


class Broken(NamedTuple):
    """An entry of a list that cannot be used.

    Attributes:
      place: where it stands: "line 12" or "entry 3".
      reason: what is wrong with it, one line.
    """

    place: str
    reason: str
