"""What each region is worth, with error bars, pairs that interact, and maps of single words."""

import numpy as np
from matplotlib.axes import Axes

from eagle_jax.metrics.word_classes import words
from eagle_jax.reports.fonts import fitting, font, text_width
from eagle_jax.reports.image_panels import draw_overlay
from eagle_jax.reports.look import EDGE, FAINT, INSERTION_COLOUR, MARGIN, plain_frame
from eagle_jax.reports.sheet import INNER, Sheet
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.consistency import valid_texts
from eagle_jax.results.saliency import region_values

SHOWN = 12
# Number of words with a map of their own, and what the image has to add to the probability of
# such a word.
_WORDS, _ADDED = 6, 0.1
# Largest width of their maps and the gap between them, in inches, and their pixels.
_GAP = 0.15
_WIDE = (INNER + _GAP) / _WORDS - _GAP
_RASTER = 400


def draw_values(axes: Axes, attribution: Attribution) -> None:
    """Draws the largest values of regions, mean over the tokens, with their standard errors.

    Values that are not apart from 0 are drawn hollow.

    Args:
      axes: axes to draw on.
      attribution: attribution with values.
    """
    worth = region_values(attribution)
    assert worth is not None
    leading = attribution.ranking[:SHOWN]
    places = np.arange(len(leading))
    axes.axhline(0, color=EDGE, linewidth=0.8)
    axes.errorbar(
        places,
        worth.values[leading],
        yerr=worth.errors[leading],
        fmt="none",
        ecolor=INSERTION_COLOUR,
        elinewidth=1.0,
        capsize=2.0,
    )
    for apart, inside in ((True, INSERTION_COLOUR), (False, "white")):
        some = worth.apart[leading] == apart
        axes.plot(
            places[some],
            worth.values[leading][some],
            "o",
            color=INSERTION_COLOUR,
            markerfacecolor=inside,
            markersize=3.8,
        )
    rank = {region: place + 1 for place, region in enumerate(attribution.order.tolist())}
    axes.set_xticks(places, [str(rank.get(region, "\u2013")) for region in leading.tolist()])
    axes.set_xlim(-0.6, SHOWN - 0.4)
    plain_frame(axes)
    label = "region, by its place in the order (hollow: its value is not apart from 0)"
    axes.set_xlabel(label, fontproperties=font(8), color=FAINT)


def interactions(attribution: Attribution) -> list[str]:
    """A line for each pair of regions that interact, by their places in the order."""
    if attribution.pairs is None or attribution.interaction is None:
        return []
    place = {region: rank + 1 for rank, region in enumerate(attribution.order.tolist())}
    return [
        f"{place[first]} and {place[second]}: {strength:+.3f}, "
        + ("they need each other" if strength > 0 else "either is enough")
        for (first, second), strength in zip(
            attribution.pairs.tolist(), attribution.interaction.tolist(), strict=True
        )
        if first in place and second in place
    ]


def word_parts(attribution: Attribution) -> list[tuple[str, Attribution]]:
    """The words that rest most on the image, in the order of the answer, each explained alone.

    Args:
      attribution: the explanation; without values, or with a single word, the list is empty.
    """
    if attribution.values is None:
        return []
    own = set(attribution.positions[~attribution.counterfactual].tolist())
    spelled = [
        (word.text, scored)
        for word in words(valid_texts(attribution.answer_tokens))
        if word.word_class not in ("punctuation", "end")
        and (scored := [position for position in word.tokens if position in own])
    ]
    if len(spelled) < 2:
        return []
    parts = [(text, attribution.part(scored)) for text, scored in spelled]
    added = np.array([added_by_image(part) for _, part in parts])
    most = np.argsort(-added, kind="stable")[:_WORDS]
    return [parts[i] for i in np.sort(most) if added[i] >= _ADDED]


def added_by_image(attribution: Attribution) -> float:
    """What the image adds to the probability of the target, mean over its tokens."""
    blank, full = attribution.whole.insertion[[0, -1]].mean(axis=1, dtype=np.float64)
    return float(full - blank)


def word_panel(shape: tuple[int, ...]) -> tuple[float, float]:
    """Width and height, in inches, of the small map of a word.

    Args:
      shape: height and width of the image in pixels.
    """
    ratio = float(np.clip(shape[0] / shape[1], 1 / 6, 3))
    tall = min(_WIDE * ratio, 1.6)
    return min(_WIDE, tall / ratio), tall


def draw_words(sheet: Sheet, bottom: float, parts: list[tuple[str, Attribution]]) -> None:
    """Draws small maps of words side by side, each below its word.

    Args:
      sheet: page to draw on.
      bottom: lower end of the maps, in inches.
      parts: words with their explanations, from `word_parts`.
    """
    for number, (text, part) in enumerate(parts):
        wide, tall = word_panel(part.labels.shape)
        left = MARGIN + number * (_WIDE + _GAP)
        draw_overlay(sheet.axes(left, bottom, wide, tall), part, _RASTER)
        gain = f"+{added_by_image(part):.2f}"
        text = fitting(text, 9, (_WIDE - 0.1) * 72 - text_width(gain, 8))
        sheet.text(left, bottom + tall + 0.07, text, 9, bold=True)
        beside = left + (text_width(text, 9, True) + 5) / 72
        sheet.text(beside, bottom + tall + 0.07, gain, 8, FAINT)
