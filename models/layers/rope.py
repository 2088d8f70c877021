"""Positions of the tokens of sequences with one image, on the host."""

import numpy as np
from jaxtyping import Int

from eagle_jax.errors import InputError


def multimodal_positions(
    ids: Int[np.ndarray, " s"], grid_h: int, grid_w: int, image_token_id: int
) -> Int[np.ndarray, "3 s"]:
    """Temporal, row and column position of each token of a sequence with one image.

    The three positions of a text token are equal and count up. The image continues where the
    text before it ends: its temporal position is constant there, and rows and columns count
    up from there. The text behind it continues after the largest position, so a 2 x 3 image
    after 4 tokens has

        t  0 1 2 3  4 4 4 4 4 4  7 8
        h  0 1 2 3  4 4 4 5 5 5  7 8
        w  0 1 2 3  4 5 6 4 5 6  7 8

    Args:
      ids: ids of the whole sequence, with one image token for each visual token.
      grid_h: number of rows of visual tokens (after merging).
      grid_w: number of columns of visual tokens (after merging).
      image_token_id: id of the image tokens.

    Returns:
      int32 positions.

    Raises:
      InputError: the image tokens are not ``grid_h * grid_w`` consecutive tokens.
    """
    count = grid_h * grid_w
    _require_consecutive(ids, count, image_token_id, f"{grid_h} x {grid_w}")
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
      ids: ids of the whole sequence, with one image token for each visual token.
      image_tokens: number of visual tokens of the image.
      image_token_id: id of the image tokens.

    Returns:
      int32 positions.

    Raises:
      InputError: the image tokens are not ``image_tokens`` consecutive tokens.
    """
    _require_consecutive(ids, image_tokens, image_token_id, str(image_tokens))
    return np.tile(np.arange(len(ids), dtype=np.int32), (3, 1))


def image_start(ids: Int[np.ndarray, " s"], image_token_id: int) -> int:
    """Position of the first image token.

    Args:
      ids: ids of a sequence with an image.
      image_token_id: id of the image tokens.
    """
    return int(np.argmax(ids == image_token_id))


def _require_consecutive(ids: np.ndarray, count: int, image_token_id: int, wanted: str) -> None:
    image = np.flatnonzero(ids == image_token_id)
    if len(image) != count or image[-1] - image[0] + 1 != count:
        raise InputError(
            f"the sequence has {len(image)} image tokens (id {image_token_id}); it must have "
            f"{wanted} consecutive image tokens"
        )
