"""What a page shows of an explanation, and how its script is told."""

import base64
import dataclasses
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from eagle_jax.errors import InputError, one_line
from eagle_jax.inputs.images import ImageSource
from eagle_jax.metrics.hallucination import LABELS, Label, right_answers, yes_or_no
from eagle_jax.metrics.word_classes import words
from eagle_jax.reports.token_labels import SPACES, token_label
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.run_folder import ITEM, Result, read_result
from eagle_jax.results.storage import ANSWERS
from eagle_jax.search.sets import Curves

# Longest side of the picture in a page, in pixels.
SIDE = 1280
# Of what speaks for the answer, as in `assets/picture.js`.
_ORANGE = 213, 94, 0
# Control curves are averaged at these shares of the picture.
_GRID = np.linspace(0, 1, 51)
_SENTENCE_ENDS = tuple(".!?\u3002\uff01\uff1f\n")


class Finding(NamedTuple):
    """An explanation and what is known beside it.

    Attributes:
      name: what to call it among others.
      attribution: with its image.
      label: the right answer, of a question that is answered by Yes or No.
      answers: answer k is given with the first k regions visible, None for a k that was not
        asked; None when answers were not regenerated.
      after: the whole answer with as little removed as makes it right; None shows the one in
        `answers`.
      controls: curves along orders that know nothing of the answer, by name, from
        `eagle_jax.search.controls`.
    """

    name: str
    attribution: Attribution
    label: Label | None = None
    answers: tuple[str | None, ...] | None = None
    after: str | None = None
    controls: dict[str, Curves] | None = None


def read_finding(folder: Path, image: ImageSource | None = None) -> Finding:
    """Reads a saved explanation, a diagnosis, or one result of a run.

    Args:
      folder: of `Attribution.save` or `Diagnosis.save`, or ``items/NAME`` of a run.
      image: the picture, where it was not saved beside the attribution.

    Raises:
      InputError: the folder holds none of these, a file of it is damaged, or the picture is
        missing.
    """
    folder = Path(folder).resolve()
    if (folder / ITEM).is_file():
        return of_result(read_result(folder.parents[1], folder.name), image)
    attribution = Attribution.load(folder)
    if image is not None:
        attribution = attribution.with_image(image)
    found = Finding(folder.name, require_picture(attribution, folder))
    return _with_answers(found, folder / ANSWERS) if (folder / ANSWERS).exists() else found


def of_result(result: Result, image: ImageSource | None = None) -> Finding:
    """The finding of one result of a run.

    Args:
      result: of a run.
      image: the picture; None reads the one that the run saw.

    Raises:
      InputError: the picture cannot be read, or has another size.
    """
    item = result.item
    return Finding(
        name=item.name,
        attribution=result.attribution.with_image(item.image if image is None else image),
        label=yes_or_no(item.label or ""),
        answers=result.answers,
        controls=result.controls,
    )


def require_picture(attribution: Attribution, place: Path | str) -> Attribution:
    """Refuses an attribution without its image.

    Args:
      attribution: to be shown.
      place: what to call it in the message.

    Raises:
      InputError: it was saved without.
    """
    if attribution.image is None:
        raise InputError(
            f"{place} was saved without its image: give the picture, with --image or "
            "Attribution.with_image"
        )
    return attribution


def _with_answers(found: Finding, path: Path) -> Finding:
    with one_line(f"{path} is damaged", OSError, ValueError, LookupError, TypeError):
        record = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
        label, after, answers = record["label"], record["after"], record["answers"]
        texts = [after, *answers]
        if label not in LABELS or not all(isinstance(one, str | None) for one in texts):
            raise ValueError("label must be Yes or No, the answers texts")
        if len(answers) != found.attribution.order.size + 1:
            raise ValueError(f"it holds {len(answers)} answers, one more than steps is right")
    return found._replace(label=label, answers=tuple(answers), after=after)


def told(finding: Finding) -> dict[str, Any]:
    """A finding as JSON values; arrays are little-endian bytes in base64.

    Args:
      finding: with its image.

    Returns:
      What `assets/finding.js` reads.
    """
    attribution = finding.attribution
    image = require_picture(attribution, finding.name).image
    assert image is not None
    picture = shown_picture(image)
    height, width = picture.shape[:2]
    return {
        "name": finding.name,
        "model": attribution.model,
        "method": attribution.method,
        "options": {name: str(value) for name, value in attribution.options.items()},
        "weights": [attribution.insight_weight, attribution.necessity_weight],
        "forwards": attribution.forwards,
        "seconds": attribution.seconds,
        "prompt": attribution.prompt,
        "answer": attribution.answer,
        "picture": picture_url(picture),
        "width": width,
        "height": height,
        "regions": attribution.regions,
        "labels": packed(_runs(_shrunk(attribution.labels, height, width)), "<u4"),
        **search_state(attribution),
        **_answer(attribution),
        "estimates": _estimates(attribution),
        "diagnosis": _diagnosis(finding),
        "controls": _controls(finding),
    }


def search_state(attribution: Attribution) -> dict[str, Any]:
    """The part of a finding that changes while a search runs, as JSON values."""
    return {
        "order": attribution.order.tolist(),
        "value": packed(_region_means(attribution), "<f4"),
        "area": packed(attribution.area, "<f4"),
        "insertion": packed(attribution.insertion, "<f4"),
        "deletion": packed(attribution.deletion, "<f4"),
        "reliance": attribution.reliance.tolist(),
        "auc": [attribution.insertion_auc, attribution.deletion_auc],
    }


def mapped_picture(attribution: Attribution, side: int = SIDE) -> UInt8[np.ndarray, "h w 3"]:
    """The saliency in orange over the picture in grey, as the page draws it.

    Args:
      attribution: with its image.
      side: longest side of the result, in pixels.
    """
    assert attribution.image is not None
    picture = shown_picture(attribution.image, side)
    height, width = picture.shape[:2]
    opacity = 0.8 * _shrunk(attribution.saliency, height, width)[..., None]
    grey = (picture @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    return np.round(opacity * np.array(_ORANGE) + (1 - opacity) * grey).astype(np.uint8)


def shown_picture(
    image: UInt8[np.ndarray, "H W 3"], side: int = SIDE
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture at the size that a page shows it."""
    height, width = image.shape[:2]
    scale = min(1, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if scale == 1:
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def picture_url(image: UInt8[np.ndarray, "H W 3"]) -> str:
    """A picture as a URL: PNG for drawings, JPEG for photographs, whichever is smaller."""
    encoded = {}
    for kind, options in (("png", {}), ("jpeg", {"quality": 90})):
        content = io.BytesIO()
        Image.fromarray(image).save(content, format=kind, **options)
        encoded[kind] = content.getvalue()
    kind = min(encoded, key=lambda one: len(encoded[one]))
    return f"data:image/{kind};base64," + base64.b64encode(encoded[kind]).decode()


def _shrunk(values: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = np.arange(height) * values.shape[0] // height
    columns = np.arange(width) * values.shape[1] // width
    return values[rows[:, None], columns]


def _runs(labels: Int32[np.ndarray, "h w"]) -> np.ndarray:
    """Label and length of each run of equal labels, in reading order."""
    flat = labels.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    return np.stack([flat[starts], np.diff(starts, append=flat.size)], axis=1)


def packed(array: np.ndarray, kind: str) -> str:
    """The bytes of an array of a NumPy type, in base64."""
    return base64.b64encode(np.ascontiguousarray(array, kind).tobytes()).decode()


def _region_means(attribution: Attribution) -> np.ndarray:
    """The saliency of each region: all of it by the order, the mean of a heat map."""
    labels = attribution.labels.ravel()
    total = np.bincount(labels, attribution.saliency.ravel().astype(np.float64))
    return total / np.bincount(labels)


def _answer(attribution: Attribution) -> dict[str, Any]:
    """The tokens of the answer, and the words and sentences that they form."""
    tokens, at = [], []
    for position, answered in enumerate(attribution.answer_tokens):
        label, small = token_label(answered)
        scored = np.flatnonzero(attribution.positions == position).tolist()
        at.append(range(len(tokens), len(tokens) + max(1, len(scored))))
        for index in scored or [None]:
            token = {
                "text": label,
                "position": position,
                "scored": index,
                "small": small,
                "gap": position > 0 and answered[:1] in tuple(SPACES),
                "newline": "\n" in answered,
            }
            if index is not None and attribution.counterfactual[index]:
                token["instead"] = token_label(attribution.tokens[index])[0]
            tokens.append(token)
    found = [
        sorted({i for p in word.tokens for i in at[p]})
        for word in words(attribution.answer_tokens)
    ]
    sentences: list[list[int]] = [[]]
    for position, answered in enumerate(attribution.answer_tokens):
        sentences[-1].extend(at[position])
        if answered.rstrip(SPACES).endswith(_SENTENCE_ENDS):
            sentences.append([])
    return {"tokens": tokens, "words": found, "sentences": [one for one in sentences if one]}


def _estimates(attribution: Attribution) -> dict[str, list[float]] | None:
    """Importances with their errors, by region, of a search that estimates them."""
    if attribution.importance is None or attribution.uncertainty is None:
        return None
    return {
        "importance": attribution.importance.tolist(),
        "uncertainty": attribution.uncertainty.tolist(),
    }


def _diagnosis(finding: Finding) -> dict[str, Any] | None:
    if finding.label is None or finding.answers is None:
        return None
    right = right_answers(finding.answers, finding.label)
    return {
        "label": finding.label,
        "answers": list(finding.answers),
        "right": right.tolist(),
        "kept": int(np.flatnonzero(right)[-1]) if right.any() else None,
        "after": finding.after,
    }


def _controls(finding: Finding) -> list[dict[str, Any]]:
    """Mean curves and areas under them for each family of orders."""
    families: dict[str, list[Attribution]] = {}
    for name, curves in (finding.controls or {}).items():
        along = dataclasses.replace(finding.attribution, **curves._asdict())
        families.setdefault(name.split("-")[0], []).append(along)
    return [
        {
            "name": name,
            "orders": len(found),
            "auc": [
                float(np.mean([one.insertion_auc for one in found])),
                float(np.mean([one.deletion_auc for one in found])),
            ],
            "insertion": packed(
                _mean_curves([(one.area, one.insertion) for one in found]), "<f4"
            ),
            "deletion": packed(
                _mean_curves([(one.area, one.deletion) for one in found]), "<f4"
            ),
        }
        for name, found in families.items()
    ]


def _mean_curves(curves: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Mean at the areas of the grid, one column a token."""
    along = [[np.interp(_GRID, area, one) for one in values.T] for area, values in curves]
    return np.mean(along, axis=0).T
