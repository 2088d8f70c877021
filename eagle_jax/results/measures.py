"""All measures of one result of a run."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64

from eagle_jax.argument_types import checked
from eagle_jax.metrics import faithfulness, hallucination, localisation
from eagle_jax.metrics.reliance import WordReliance, word_reliance
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.consistency import valid_texts
from eagle_jax.results.run_folder import ItemResult
from eagle_jax.search.sets import Curves

Kind = Literal["word", "sentence", "presence"]
KINDS: tuple[Kind, ...] = ("word", "sentence", "presence")
# Fractions of the image area at which the curves of different items are averaged.
GRID = np.linspace(0, 1, 101)


class Measure(NamedTuple):
    """A measure of an item.

    Attributes:
      title: title in tables.
      better: whether a higher or a lower value is better; empty if neither is.
    """

    title: str
    better: Literal["higher", "lower", ""]


MEASURES = {
    "insertion_auc": Measure("insertion AUC", "higher"),
    "deletion_auc": Measure("deletion AUC", "lower"),
    "insertion_minus_deletion": Measure("insertion - deletion", "higher"),
    "highest_confidence": Measure("highest confidence", "higher"),
    "sensitive_insertion_auc": Measure("insertion AUC, sensitive tokens", "higher"),
    "sensitive_deletion_auc": Measure("deletion AUC, sensitive tokens", "lower"),
    "sensitive_highest_confidence": Measure("highest confidence, sensitive", "higher"),
    "normalised_insertion_auc": Measure("insertion AUC, normalised", "higher"),
    "normalised_deletion_auc": Measure("deletion AUC, normalised", "lower"),
    "log_insertion_auc": Measure("insertion AUC of log p", "higher"),
    "log_deletion_auc": Measure("deletion AUC of log p", "lower"),
    "image_share": Measure("words that rest on the image", ""),
    "random_insertion_auc": Measure("insertion AUC, random order", ""),
    "random_deletion_auc": Measure("deletion AUC, random order", ""),
    "gain_over_random": Measure("gain over random order", "higher"),
    "matched_insertion_auc": Measure("insertion AUC, area-matched order", ""),
    "matched_deletion_auc": Measure("deletion AUC, area-matched order", ""),
    "gain_over_matched": Measure("gain over area-matched order", "higher"),
    "area_insertion_auc": Measure("insertion AUC, largest first", ""),
    "area_deletion_auc": Measure("deletion AUC, largest first", ""),
    "gain_over_area": Measure("gain over largest first", "higher"),
    "box_pointing": Measure("pointing game, box", "higher"),
    "box_expected_hit": Measure("expected hit, box", "higher"),
    "box_mass": Measure("relevance mass, box", "higher"),
    "box_iou": Measure("best IoU, box", "higher"),
    "box_precision": Measure("average precision, box", "higher"),
    "mask_pointing": Measure("pointing game, mask", "higher"),
    "mask_expected_hit": Measure("expected hit, mask", "higher"),
    "mask_mass": Measure("relevance mass, mask", "higher"),
    "mask_iou": Measure("best IoU, mask", "higher"),
    "mask_precision": Measure("average precision, mask", "higher"),
    "correction": Measure("AMCR", "lower"),
    "success": Measure("CSR@10%", "higher"),
    "success_of_corrected": Measure("CSR@10% of the corrected", "higher"),
    "unresolved": Measure("never corrected", "lower"),
}


class ItemMeasures(NamedTuple):
    """The measures of one item.

    Attributes:
      name: name of the item.
      kind: "presence" for a question with a right answer Yes or No, "word" where part of the
        answer was explained, "sentence" where all of the answer was explained.
      prompt: the question.
      values: the measures that apply to the item, by their names in `MEASURES`; NaN for a
        measure without a value, such as AUCs of sensitive tokens where no token is sensitive.
      words: reliance of the explained words.
      curves: insertion and deletion, mean over tokens, at the areas `GRID`.
    """

    name: str
    kind: Kind
    prompt: str
    values: dict[str, float]
    words: list[WordReliance]
    curves: Float64[np.ndarray, "2 points"]


@checked
def measure(result: ItemResult, published_measures: bool = False) -> ItemMeasures:
    """Computes every measure that applies to a result.

    Args:
      result: the result of an item.
      published_measures: compute the measures as the published evaluation does: any pixel with
        the largest value of a float16 map may hit in the pointing game; answers count as Yes or
        No by their first letters, with their case; the scan for corrections ends at one region;
        items that are never corrected are left out of the denominator of CSR@10%.
    """
    item, attribution = result.item, result.attribution
    label = hallucination.yes_or_no(item.label or "")
    kind = "presence" if label else "word" if attribution.partial else "sentence"
    area, inserted, deleted = (curve.astype(np.float64) for curve in attribution.whole)
    values = _faithfulness(area, inserted, deleted)
    if (share := attribution.image_share).count:
        values["image_share"] = share.mean
    if result.controls is not None:
        values |= _gains(attribution, result.controls, values["insertion_minus_deletion"])
    if item.boxes:
        box = localisation.box_mask(item.boxes, *attribution.labels.shape)
        values |= _localisation("box", attribution, box, published_measures)
    if result.mask is not None:
        values |= _localisation("mask", attribution, result.mask, published_measures)
    if label is not None and result.answers is not None:
        right = hallucination.right_answers(result.answers, label, published_measures)
        values |= _correction(
            hallucination.minimal_correction(area, right, blank=not published_measures),
            published_measures,
        )
    own = ~attribution.counterfactual
    return ItemMeasures(
        name=item.name,
        kind=kind,
        prompt=item.prompt,
        values=values,
        words=word_reliance(
            valid_texts(attribution.answer_tokens),
            attribution.positions[own],
            attribution.reliance[own],
        ),
        curves=np.stack(
            [np.interp(GRID, area, curve.mean(axis=1)) for curve in (inserted, deleted)]
        ),
    )


def _faithfulness(
    area: Float64[np.ndarray, "k"],
    insertion: Float64[np.ndarray, "k t"],
    deletion: Float64[np.ndarray, "k t"],
) -> dict[str, float]:
    inserted, deleted = insertion.mean(axis=1), deletion.mean(axis=1)
    aucs = np.array(
        [faithfulness.insertion_auc(area, inserted), faithfulness.deletion_auc(area, deleted)]
    )
    normalised = faithfulness.normalised_auc(aucs, full=inserted[-1:], blank=inserted[:1])
    tokens = faithfulness.sensitive_tokens(insertion[-1], insertion[0])
    chosen = (
        faithfulness.mean_over_tokens(insertion, tokens),
        faithfulness.mean_over_tokens(deletion, tokens),
    )
    logs = (
        faithfulness.log_probability(insertion).mean(axis=1),
        faithfulness.log_probability(deletion).mean(axis=1),
    )
    values = {
        "insertion_auc": aucs[0],
        "deletion_auc": aucs[1],
        "insertion_minus_deletion": aucs[0] - aucs[1],
        "highest_confidence": faithfulness.highest_confidence(inserted),
        "sensitive_insertion_auc": faithfulness.insertion_auc(area, chosen[0]),
        "sensitive_deletion_auc": faithfulness.deletion_auc(area, chosen[1]),
        "sensitive_highest_confidence": faithfulness.highest_confidence(chosen[0]),
        "normalised_insertion_auc": normalised[0],
        "normalised_deletion_auc": normalised[1],
        "log_insertion_auc": faithfulness.insertion_auc(area, logs[0]),
        "log_deletion_auc": faithfulness.deletion_auc(area, logs[1]),
    }
    return {name: float(value) for name, value in values.items()}


def control_families(
    attribution: Attribution, controls: Mapping[str, Curves]
) -> dict[str, list[Attribution]]:
    """The attribution along each control order, by kind of order: "random", "matched", "area".

    Args:
      attribution: the explanation.
      controls: curves along control orders by name, from `eagle_jax.search.controls`.
    """
    families: dict[str, list[Attribution]] = {}
    for name, curves in controls.items():
        along = dataclasses.replace(attribution, **curves._asdict())
        families.setdefault(name.split("-")[0], []).append(along)
    return families


def mean_aucs(attributions: Sequence[Attribution]) -> tuple[float, float]:
    """Mean insertion AUC and mean deletion AUC of attributions."""
    insertion = float(np.mean([each.insertion_auc for each in attributions]))
    return insertion, float(np.mean([each.deletion_auc for each in attributions]))


def _gains(
    attribution: Attribution, controls: Mapping[str, Curves], reached: float
) -> dict[str, float]:
    values = {}
    for name, family in control_families(attribution, controls).items():
        insertion, deletion = mean_aucs(family)
        values[f"{name}_insertion_auc"] = insertion
        values[f"{name}_deletion_auc"] = deletion
        values[f"gain_over_{name}"] = reached - (insertion - deletion)
    return values


def _localisation(
    what: str, attribution: Attribution, mask: Bool[np.ndarray, "H W"], published_measures: bool
) -> dict[str, float]:
    labels, saliency = attribution.labels, attribution.saliency
    order = attribution.order if published_measures else attribution.ranking
    if published_measures:
        # The published start value takes both weights as 1.
        start = 1 - attribution.deletion[0].mean() + attribution.insertion[0].mean()
        coarse = localisation.published_map(labels, order, attribution.objective, float(start))
        hit = localisation.published_pointing_game(coarse, mask)
        saliency = attribution.map(by="order")
    else:
        if attribution.further_labels is not None:
            # The map of several partitions is finer than the regions: its levels are ranked.
            levels = np.unique(-saliency, return_inverse=True)[1]
            labels = levels.reshape(labels.shape).astype(np.int32)
            order = np.arange(labels.max() + 1, dtype=np.int32)
        hit = localisation.pointing_game(labels, order, mask)
    return {
        f"{what}_pointing": float(hit),
        f"{what}_expected_hit": localisation.expected_hit(saliency, mask),
        f"{what}_mass": localisation.relevance_mass(saliency, mask),
        f"{what}_iou": localisation.best_iou(labels, order, mask)[0],
        f"{what}_precision": localisation.average_precision(labels, order, mask),
    }


def _correction(correction: float, published_measures: bool) -> dict[str, float]:
    alone = np.array([correction])
    return {
        "correction": hallucination.average_minimal_correction(alone),
        "success": hallucination.correction_success_rate(alone, published=published_measures),
        "success_of_corrected": hallucination.correction_success_rate(alone, published=True),
        "unresolved": float(np.isnan(correction)),
    }
