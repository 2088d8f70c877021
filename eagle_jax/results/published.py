"""Attributions in the file layout of the published code."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, one_line
from eagle_jax.files import local_path, new_file
from eagle_jax.results.attribution import Attribution

_SPECIAL_TOKEN = re.compile(r"\s*(<\|.*\|>|</?s>|<pad>|<eos>|<bos>|<end_of_turn>)\s*")


@checked
def to_eagle(
    attribution: Attribution,
    folder: str | os.PathLike,
    name: str,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes `json/<name>.json` and `npy/<name>.npy` in the layout of the published code.

    The npy file holds a mask of each region in the order of the attribution, shape
    (n, H, W, 1), int64: eight bytes per pixel and region. Files of the same name are replaced.

    Args:
      attribution: an attribution whose order has all regions.
      folder: parent of the `json` and `npy` folders, created if missing.
      name: name of the sample, usually the name of the image file without its extension.
      extra: more fields of the JSON file; they replace fields of the same name.

    Raises:
      InputError: the name is not a plain file name, the search was cut short, or the folder
        cannot be written.
    """
    if attribution.order.size < attribution.regions:
        raise InputError(
            f"the search was cut short after {attribution.order.size} of "
            f"{attribution.regions} regions; the published layout needs all of them: search "
            "again without limits"
        )
    if name in ("", ".", "..") or name != Path(name).name:
        raise InputError(f"name is {name!r}; give a plain file name, and the folder apart")
    folder = local_path(folder)
    with (
        new_file(folder / "json" / f"{name}.json") as record,
        new_file(folder / "npy" / f"{name}.npy") as masks,
    ):
        _write_masks(masks, attribution.labels, attribution.order)
        fields = _eagle_record(attribution) | dict(extra or {})
        with one_line("extra cannot be written as JSON", TypeError, ValueError):
            text = json.dumps(fields, indent=4, separators=(",", ":"), ensure_ascii=False)
        record.write_text(text, encoding="utf-8", errors="surrogatepass")


def _write_masks(path: Path, labels: np.ndarray, order: np.ndarray) -> None:
    header = {"descr": "<i8", "fortran_order": False, "shape": (order.size, *labels.shape, 1)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for region in order:
            file.write((labels == region).astype("<i8").tobytes())


def _eagle_record(attribution: Attribution) -> dict[str, Any]:
    insertion, deletion = attribution.insertion[1:], attribution.deletion[1:]
    return {
        "insertion_score": insertion.mean(axis=1).tolist(),
        "deletion_score": deletion.mean(axis=1).tolist(),
        "smdl_score": attribution.objective.tolist(),
        "insertion_word_score": insertion.tolist(),
        "deletion_word_score": deletion.tolist(),
        "region_area": attribution.area[1:].tolist(),
        "lambda1": attribution.insight_weight,
        "lambda2": attribution.necessity_weight,
        "sub-region_number": attribution.order.size,
        "org_score": insertion[-1].tolist(),
        "baseline_score": deletion[-1].tolist(),
        "selected_interpretation_token_id": attribution.positions.tolist(),
        "selected_interpretation_token_word_id": attribution.token_ids.tolist(),
        "words": [special_as_empty(word) for word in attribution.tokens],
    }


def special_as_empty(word: str) -> str:
    """A token's text as the published code decodes it, which drops special tokens."""
    return "" if _SPECIAL_TOKEN.fullmatch(word) else word
