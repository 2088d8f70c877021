"""Rotary positions of sequences that hold an image; host side, numpy."""

import numpy as np
from jaxtyping import Int

from eagle_jax.errors import InputError


def multimodal_positions(
    ids: Int[np.ndarray, " s"], grid_h: int, grid_w: int, image_token_id: int
) -> Int[np.ndarray, "3 s"]:
    """Temporal, row and column position of each token of a sequence with one image.

    Text counts up, all three alike. The image starts where the text before it
    ends: its temporal position stays, rows and columns count from there. The text
    behind goes on after the largest position, so a 2 x 3 image after 4 tokens has

        t  0 1 2 3  4 4 4 4 4 4  7 8
        h  0 1 2 3  4 4 4 5 5 5  7 8
        w  0 1 2 3  4 5 6 4 5 6  7 8

    Args:
      ids: the whole sequence, image tokens expanded.
      grid_h: rows of visual tokens (after merging).
      grid_w: columns of visual tokens (after merging).
      image_token_id: the placeholder.

    Returns:
      int32 positions.

    Raises:
      InputError: the image tokens are not one run of grid_h * grid_w.
    """
    count = grid_h * grid_w
    _require_one_run(ids, count, image_token_id, f"{grid_h} x {grid_w}")
    start = image_start(ids, image_token_id)
    end = start + count
    positions = np.tile(np.arange(len(ids), dtype=np.int32), (3, 1))
    row, column = np.divmod(np.arange(count, dtype=np.int32), grid_w)
    positions[:, start:end] = start + np.stack([np.zeros_like(row), row, column])
    positions[:, end:] += max(grid_h, grid_w) - count
    return positions


def plain_positions(
    ids: Int[np.ndarray, " s"], image_tokens: int, image_token_id: int
) -> Int[np.ndarray, "3 s"]:
    """Positions that count up over text and image alike, the same in all three rows.

    Args:
      ids: the whole sequence, image tokens expanded.
      image_tokens: visual tokens of the image.
      image_token_id: the placeholder.

    Returns:
      int32 positions.

    Raises:
      InputError: the image tokens are not one run of `image_tokens`.
    """
    _require_one_run(ids, image_tokens, image_token_id, str(image_tokens))
    return np.tile(np.arange(len(ids), dtype=np.int32), (3, 1))


def image_start(ids: Int[np.ndarray, " s"], image_token_id: int) -> int:
    """Position of the first image token.

    Args:
      ids: a sequence with an image.
      image_token_id: the placeholder.
    """
    return int(np.argmax(ids == image_token_id))


def _require_one_run(ids: np.ndarray, count: int, image_token_id: int, wanted: str) -> None:
    image = np.flatnonzero(ids == image_token_id)
    if len(image) != count or image[-1] - image[0] + 1 != count:
        raise InputError(
            f"the sequence has {len(image)} image tokens (id {image_token_id}), not one run "
            f"of {wanted}"
        )
