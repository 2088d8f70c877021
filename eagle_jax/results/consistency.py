"""Whether the fields of an attribution agree with each other, whoever made them."""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from eagle_jax.errors import InputError
from eagle_jax.inputs.fill import FILLS

# Type and shape of each array; axes of one name have one length.
_ARRAYS = {
    "order": (np.int32, "k"),
    "labels": (np.int32, "H W"),
    "image": (np.uint8, "H W 3"),
    "fill": (np.uint8, "H W 3"),
    "insertion": (np.float32, "k+1 t"),
    "deletion": (np.float32, "k+1 t"),
    "answer_ids": (np.int32, "a"),
    "positions": (np.int32, "t"),
    "token_ids": (np.int32, "t"),
    "heat": (np.float32, "H W"),
    "values": (np.float32, "t n"),
    "errors": (np.float32, "t n"),
    "further_labels": (np.int32, "further H W"),
    "further_values": (np.float32, "t cells"),
    "further_errors": (np.float32, "t cells"),
    "pairs": (np.int32, "m 2"),
    "interaction": (np.float32, "m"),
}
ROUNDING = 1e-5
"""Probabilities read back from log-probabilities may exceed 1 by a rounding error."""


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raises unless types, shapes, labels, order and probabilities agree.

    Args:
      fields: fields of an attribution, by name.

    Raises:
      ValueError: two fields contradict each other.
    """
    _require(len(fields["tokens"]) > 0, "there must be at least one target token")
    _require(fields["labels"].ndim == 2, "labels must be 2-D", fields["labels"])
    _require(fields["labels"].size > 0, "the image has no pixels")
    _check_shapes(fields)
    _check_indices(fields)
    _check_numbers(fields)
    named = not isinstance(fields["fill"], str) or fields["fill"] in FILLS
    _require(named, f"fill must be {', '.join(FILLS)} or an image")
    for name, value in fields["options"].items():
        plain = isinstance(name, str) and isinstance(value, str | int | float | None)
        _require(plain, "options must be texts, numbers and truth values by name")


def valid_texts(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Texts of tokens with U+FFFD for lone surrogates, which stored results may hold."""
    return tuple(re.sub("[\ud800-\udfff]", "\ufffd", token) for token in tokens)


def require_size(image: np.ndarray, labels: np.ndarray) -> None:
    """Raises unless an image has the size of the explained image.

    Args:
      image: (H, W, 3) pixels.
      labels: (H, W) region of every pixel.

    Raises:
      InputError: the image has another size.
    """
    if image.shape[:2] != labels.shape:
        (height, width), (own_height, own_width) = image.shape[:2], labels.shape
        raise InputError(
            f"the image has {width} x {height} pixels, the explained image had "
            f"{own_width} x {own_height}: give the image that was explained"
        )


def _check_shapes(fields: Mapping[str, Any]) -> None:
    labels, image, pairs = fields["labels"], fields["image"], fields["pairs"]
    further = fields["further_labels"]
    height, width = (labels if image is None else image).shape[:2]
    sizes = {
        **{"H": height, "W": width, "2": 2, "3": 3, "n": len(np.unique(labels))},
        **{"k": fields["order"].size, "k+1": fields["order"].size + 1},
        **{"t": len(fields["tokens"]), "a": len(fields["answer_tokens"])},
        "m": 0 if pairs is None else len(pairs),
        "further": 0 if further is None else len(further),
        "cells": 0 if further is None else len(np.unique(further)),
    }
    for name, (dtype, axes) in _ARRAYS.items():
        array, shape = fields[name], tuple(sizes[axis] for axis in axes.split())
        if array is None or isinstance(array, str):
            continue
        expected = f"{name} must be {np.dtype(dtype)} of shape {shape}"
        _require(array.dtype == dtype and array.shape == shape, expected, array)


def _check_indices(fields: Mapping[str, Any]) -> None:
    labels, order, positions = fields["labels"], fields["order"], fields["positions"]
    n, a = len(np.unique(labels)), len(fields["answer_tokens"])
    # A forged label must not make an array of its size.
    _require(labels.min() == 0 and labels.max() == n - 1, "labels must be 0..n-1, all in use")
    _require(
        len(np.unique(order)) == order.size and _within(order, n),
        f"order must name regions of 0..{n - 1}, none twice",
    )
    if fields["further_labels"] is not None:
        names = "values", "errors", "further_values", "further_errors"
        _require(
            all(fields[name] is not None for name in names),
            f"further partitions need {', '.join(names)}",
        )
        inside = _within(fields["further_labels"], fields["further_values"].shape[1])
        _require(inside, "further_labels must be numbered through, all in use")
    if fields["pairs"] is not None:
        _require(_within(fields["pairs"], n), f"pairs must name regions of 0..{n - 1}")
    _require(_within(positions, a), f"positions must be places in the answer, 0..{a - 1}")


def _check_numbers(fields: Mapping[str, Any]) -> None:
    for name in ("heat", "values", "errors", "interaction", "further_values", "further_errors"):
        array = fields[name]
        _require(array is None or np.isfinite(array).all(), f"{name} must be finite")
    for name in ("insertion", "deletion"):
        # Written so that NaN fails.
        inside = ((fields[name] >= 0) & (fields[name] <= 1 + ROUNDING)).all()
        _require(inside, f"{name} must hold probabilities in [0, 1]")
    for name in ("insight_weight", "necessity_weight", "seconds", "gap", "unseen"):
        number = fields[name]
        _require(number is None or math.isfinite(number), f"{name} must be a finite number")


def _within(indices: np.ndarray, count: int) -> bool:
    return bool(((indices >= 0) & (indices < count)).all())


def _require(fine: bool | np.bool, expected: str, array: np.ndarray | None = None) -> None:
    if not fine:
        got = "" if array is None else f", got {array.dtype} of shape {array.shape}"
        raise ValueError(f"{expected}{got}")
