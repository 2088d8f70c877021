"""An explanation as JSON values, for the script of a page."""

import base64
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from eagle_jax.files import encoded
from eagle_jax.inputs.fill import fill_pixels
from eagle_jax.metrics.hallucination import kept_regions, right_answers
from eagle_jax.metrics.localisation import region_means, region_point
from eagle_jax.metrics.word_classes import words
from eagle_jax.reports.page.explanations import Explanation
from eagle_jax.reports.token_labels import SPACES, answer_chips, reliance_range
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.consistency import valid_texts
from eagle_jax.results.measures import control_families, mean_aucs
from eagle_jax.results.summary import share_text

# Longest side of the image in a page, in pixels.
SIDE = 1280
# Colour of what speaks for the answer, as in `assets/masked_image.js`.
_ORANGE = 213, 94, 0
# Control curves are averaged at these fractions of the image.
_GRID = np.linspace(0, 1, 51)
_SENTENCE_ENDS = tuple(".!?\u3002\uff01\uff1f\n")


def explanation_data(explanation: Explanation) -> dict[str, Any]:
    """An explanation as JSON values; arrays are little-endian bytes in base64.

    Args:
      explanation: explanation with its image.

    Returns:
      What `assets/explanation.js` reads.
    """
    attribution = explanation.attribution
    shown = shown_image(attribution.require_image(explanation.name))
    height, width = shown.shape[:2]
    labels = _shrunk(attribution.labels, height, width)
    return {
        "name": explanation.name,
        "model": attribution.model,
        "method": attribution.method,
        "options": {name: str(value) for name, value in attribution.options.items()},
        "weights": [attribution.insight_weight, attribution.necessity_weight],
        "forwards": attribution.forwards,
        "seconds": attribution.seconds,
        "prompt": attribution.prompt,
        "answer": attribution.answer,
        "image": image_url(shown),
        "fill": _fill(attribution),
        "width": width,
        "height": height,
        "regions": attribution.regions,
        "labels": packed(_runs(labels), "<u4"),
        "centres": _centres(labels, attribution.regions),
        **search_state(attribution),
        **_answer(attribution),
        "share": share_text(attribution),
        "values": _values(attribution),
        "diagnosis": _diagnosis(explanation),
        "controls": _controls(explanation),
    }


def search_state(attribution: Attribution) -> dict[str, Any]:
    """The part of an explanation that changes while a search runs, as JSON values."""
    return {
        "order": attribution.order.tolist(),
        "value": packed(region_means(attribution.labels, attribution.saliency), "<f4"),
        "area": packed(attribution.area, "<f4"),
        "insertion": packed(attribution.insertion, "<f4"),
        "deletion": packed(attribution.deletion, "<f4"),
        "reliance": attribution.reliance.tolist(),
        "range": reliance_range(attribution),
        "auc": [attribution.insertion_auc, attribution.deletion_auc],
    }


def mapped_image(attribution: Attribution, side: int = SIDE) -> UInt8[np.ndarray, "h w 3"]:
    """The saliency in orange over the image in grey, as the page draws it.

    Args:
      attribution: attribution with its image.
      side: longest side of the result, in pixels.
    """
    shown = shown_image(attribution.require_image(), side)
    height, width = shown.shape[:2]
    opacity = 0.8 * _shrunk(attribution.saliency, height, width)[..., None]
    grey = (shown @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    return np.round(opacity * np.array(_ORANGE) + (1 - opacity) * grey).astype(np.uint8)


def shown_image(
    image: UInt8[np.ndarray, "H W 3"], side: int = SIDE
) -> UInt8[np.ndarray, "h w 3"]:
    """The image at the size that a page shows.

    Args:
      image: RGB image.
      side: longest side of the result, in pixels.
    """
    height, width = image.shape[:2]
    scale = min(1, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if scale == 1:
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def image_url(image: UInt8[np.ndarray, "H W 3"]) -> str:
    """An image as a URL: PNG for drawings, JPEG for photographs, whichever is smaller."""
    save = Image.fromarray(image).save
    contents = {
        "png": encoded(save, format="png"),
        "jpeg": encoded(save, format="jpeg", quality=90),
    }
    smaller = min(contents, key=lambda file_format: len(contents[file_format]))
    return f"data:image/{smaller};base64," + base64.b64encode(contents[smaller]).decode()


def packed(array: np.ndarray, dtype: str) -> str:
    """The bytes of an array, converted to a NumPy type, in base64."""
    return base64.b64encode(np.ascontiguousarray(array, dtype).tobytes()).decode()


def _fill(attribution: Attribution) -> dict[str, Any]:
    """The fill: a colour, or an image as a URL."""
    pixels = fill_pixels(attribution.require_image(), attribution.fill)
    if pixels.shape[:2] == (1, 1):
        return {"colour": pixels[0, 0].tolist()}
    return {"image": image_url(shown_image(pixels))}


def _shrunk(values: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = np.arange(height) * values.shape[0] // height
    columns = np.arange(width) * values.shape[1] // width
    return values[rows[:, None], columns]


def _runs(labels: Int32[np.ndarray, "h w"]) -> np.ndarray:
    """Label and length of each run of equal labels, in reading order."""
    flat = labels.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    return np.stack([flat[starts], np.diff(starts, append=flat.size)], axis=1)


def _centres(labels: Int32[np.ndarray, "h w"], regions: int) -> list[list[float]]:
    """For each region x and y of the pixel deepest inside it, where its badge stands."""
    from scipy.ndimage import find_objects

    centres = [[0.0, 0.0]] * regions
    for region, box in enumerate(find_objects(labels + 1)):
        # A small region may have no pixel in a smaller image.
        if box is not None:
            row, column = region_point(labels[box] == region)
            centres[region] = [box[1].start + column + 0.5, box[0].start + row + 0.5]
    return centres


def _answer(attribution: Attribution) -> dict[str, Any]:
    """The answer as chips, and the words and sentences that they form, as lists of chips."""
    chips = list(answer_chips(attribution))
    chip_at = {p: index for index, chip in enumerate(chips) for p in chip.positions}
    sentences: list[list[int]] = [[]]
    for index, chip in enumerate(chips):
        sentences[-1].append(index)
        single = len(chip.positions) == 1
        text = attribution.answer_tokens[chip.positions[0]] if single else chip.text
        if text.rstrip(SPACES).endswith(_SENTENCE_ENDS):
            sentences.append([])
    return {
        "chips": [chip._asdict() for chip in chips],
        "words": [
            sorted({chip_at[position] for position in word.tokens})
            for word in words(valid_texts(attribution.answer_tokens))
        ],
        "sentences": [sentence for sentence in sentences if sentence],
    }


def _values(attribution: Attribution) -> dict[str, Any] | None:
    """Values with their errors, a row for each target token, and how far they may be off."""
    if attribution.values is None or attribution.errors is None:
        return None
    return {
        "values": packed(attribution.values, "<f4"),
        "errors": packed(attribution.errors, "<f4"),
        "gap": attribution.gap,
        "unseen": attribution.unseen,
    }


def _diagnosis(explanation: Explanation) -> dict[str, Any] | None:
    if explanation.label is None or explanation.answers is None:
        return None
    right = right_answers(explanation.answers, explanation.label)
    return {
        "label": explanation.label,
        "answers": list(explanation.answers),
        "right": right.tolist(),
        "kept": kept_regions(right),
        "after": explanation.after,
    }


def _controls(explanation: Explanation) -> list[dict[str, Any]]:
    """Mean curves and areas under them for each family of orders."""
    families = control_families(explanation.attribution, explanation.controls or {})
    return [
        {
            "name": name,
            "orders": len(family),
            "auc": mean_aucs(family),
            "insertion": _mean_curve([(along.area, along.insertion) for along in family]),
            "deletion": _mean_curve([(along.area, along.deletion) for along in family]),
        }
        for name, family in families.items()
    ]


def _mean_curve(curves: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Mean at the areas of the grid, a column for each token."""
    along = [[np.interp(_GRID, area, token) for token in values.T] for area, values in curves]
    return packed(np.mean(along, axis=0).T, "<f4")
