"""The measures of one result: by direct computation, and each published rule against ours."""

import dataclasses

import numpy as np
import pytest
from made_results import SEEN, corrected_from, made_result

from eagle_jax.metrics.localisation import box_mask, published_map, published_pointing_game
from eagle_jax.results.measures import GRID, MEASURES, measure
from eagle_jax.search.sets import Curves


def changed(result, **fields):
    """The same result with other fields of its attribution."""
    return result._replace(attribution=dataclasses.replace(result.attribution, **fields))


def test_faithfulness_equals_a_direct_computation():
    result = made_result(seed=3)
    it = result.attribution
    x, ins, dele = (a.astype(np.float64) for a in (it.area, it.insertion, it.deletion))
    y, z = ins.mean(1), dele.mean(1)
    chosen = SEEN > 0.2
    insertion, deletion = np.trapezoid(y, x), -np.trapezoid(z, 1 - x)
    expected = {
        "insertion_auc": insertion,
        "deletion_auc": deletion,
        "insertion_minus_deletion": insertion - deletion,
        "highest_confidence": y.max(),
        "sensitive_insertion_auc": np.trapezoid(ins[:, chosen].mean(1), x),
        "sensitive_deletion_auc": -np.trapezoid(dele[:, chosen].mean(1), 1 - x),
        "sensitive_highest_confidence": ins[:, chosen].mean(1).max(),
        "normalised_insertion_auc": (insertion - y[0]) / (y[-1] - y[0]),
        "normalised_deletion_auc": (deletion - y[0]) / (y[-1] - y[0]),
        "log_insertion_auc": np.trapezoid(np.log(ins.clip(1e-6)).mean(1), x),
        "log_deletion_auc": -np.trapezoid(np.log(dele.clip(1e-6)).mean(1), 1 - x),
    }
    values = measure(result).values
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, abs=1e-9), name
    assert (
        measure(result, published_measures=True).values.items()
        >= {name: values[name] for name in expected}.items()
    )


def test_the_map_of_several_partitions_points():
    result = made_result()
    it = result.attribution
    values = np.full((len(it.tokens), 24), 0.01, np.float32)
    values[:, 23] = 0.5
    fields = {"values": values, "errors": values}
    alone = result._replace(attribution=dataclasses.replace(it, **fields))
    # The other partition gives all of the value to the object's corner, half of one region.
    corner = np.zeros(it.labels.shape, np.int32)
    corner[:5, :5] = 1
    further = np.tile(np.array([0.001, 0.7], np.float32), (len(it.tokens), 1))
    fields |= {"further_labels": corner[None], "further_values": further}
    several = dataclasses.replace(it, **fields, further_errors=further)
    several = result._replace(attribution=several)
    for expected, judged in ((0, alone), (1, several)):
        found = measure(judged).values
        assert found["mask_pointing"] == found["mask_expected_hit"] == expected
    masses = [measure(judged).values["mask_mass"] for judged in (alone, several)]
    assert masses[0] < masses[1]


def test_curves_are_means_over_tokens_on_the_common_grid():
    result = made_result()
    it = result.attribution
    curves = measure(result).curves
    assert curves.shape == (2, GRID.size)
    np.testing.assert_allclose(curves[0, 0], it.insertion[0].mean(), rtol=1e-6)
    np.testing.assert_allclose(curves[1, 0], it.deletion[0].mean(), rtol=1e-6)
    # Areas of the grid regions are multiples of 1/24, so half of the image is point 12.
    np.testing.assert_allclose(
        curves[:, 50], [c[12].mean() for c in (it.insertion, it.deletion)]
    )


def test_kinds_are_told_by_label_and_target():
    assert measure(made_result(kind="sentence")).kind == "sentence"
    assert measure(made_result(kind="word")).kind == "word"
    presence = measure(made_result(kind="presence"))
    assert presence.kind == "presence"
    assert presence.words == [], "what is scored is not what was answered"
    asked = made_result(kind="sentence")
    other = asked._replace(item=dataclasses.replace(asked.item, label="Open"))
    assert measure(other).kind == "sentence", "a label of another sort"


def test_a_result_has_the_measures_that_apply():
    bare = set(measure(made_result(mask=False)).values)
    assert not any(name.startswith(("box", "mask", "random")) for name in bare)
    full = set(measure(made_result(controls=1)).values)
    presence = set(measure(made_result(kind="presence", answers=corrected_from(20))).values)
    assert full | presence == set(MEASURES)
    assert "correction" not in measure(made_result(kind="presence")).values


def test_localisation_of_a_map_on_the_object():
    values = measure(made_result()).values
    assert values["box_pointing"] == values["mask_pointing"] == 1
    assert values["box_expected_hit"] == values["mask_iou"] == values["mask_precision"] == 1
    saliency = made_result().attribution.saliency.astype(np.float64)
    mass = saliency[:20, :20].sum() / saliency.sum()
    assert values["box_mass"] == values["mask_mass"] == pytest.approx(mass)


def test_touching_the_object_is_enough_by_the_published_rule():
    result = made_result()
    # Region 0 covers pixels 0 to 9 each way; the box has its last corner alone.
    item = dataclasses.replace(result.item, boxes=((9, 9, 30, 30),))
    result = result._replace(item=item)
    assert measure(result).values["box_pointing"] == 0
    assert measure(result).values["box_expected_hit"] == pytest.approx(0.01)
    assert measure(result, published_measures=True).values["box_pointing"] == 1


def test_the_published_map_starts_with_weights_of_one():
    # The start only shifts the map's values, but far from zero float16 is coarse: the published
    # start puts F's first change at 1.1006, where it cannot tell the second region's 1.1008.
    insertion = np.full((25, 9), 0.6, np.float32)
    insertion[:3] = np.array([0.5, 0.5003, 0.5004])[:, None]
    deletion = np.full((25, 9), 0.5, np.float32)
    deletion[0] = 0.6
    result = made_result()
    result = changed(
        result,
        insertion=insertion,
        deletion=deletion,
        insight_weight=2.0,
        necessity_weight=2.0,
    )
    it = result.attribution
    second = box_mask([(10, 0, 20, 10)], 40, 60)
    assert (it.labels[second] == it.order[1]).all()
    item = dataclasses.replace(result.item, boxes=((10, 0, 20, 10),))
    values = measure(result._replace(item=item), published_measures=True).values
    assert values["box_pointing"] == 1
    own = published_map(it.labels, it.order, it.objective, start=2 * 0.5 + 2 * (1 - 0.6))
    assert not published_pointing_game(own, second)


@pytest.mark.parametrize("published", [False, True])
def test_corrections_by_hand(published):
    result = made_result(kind="presence", answers=corrected_from(22))
    values = measure(result, published).values
    assert values["correction"] == pytest.approx(2 / 24) and values["unresolved"] == 0
    assert values["success"] == values["success_of_corrected"] == 1
    values = measure(made_result(kind="presence", answers=corrected_from(20)), published).values
    assert values["correction"] == pytest.approx(4 / 24) and values["success"] == 0


def test_what_is_never_corrected_leaves_the_published_rate():
    never = made_result(kind="presence", answers=corrected_from(None))
    values = measure(never).values
    assert (values["correction"], values["success"], values["unresolved"]) == (1, 0, 1)
    assert np.isnan(values["success_of_corrected"])
    published = measure(never, published_measures=True).values
    assert published["correction"] == 1 and np.isnan(published["success"])


def test_the_blank_image_corrects_by_our_scan_alone():
    blank = made_result(kind="presence", answers=corrected_from(0))
    assert measure(blank).values["correction"] == 1
    assert measure(blank).values["unresolved"] == 0
    assert measure(blank, published_measures=True).values["unresolved"] == 1


def test_first_letters_count_by_the_published_parser_alone():
    for text, ours, theirs in (("Not sure.", 1, 0), ("no.", 0, 1), ("**No**", 0, 1)):
        result = made_result(kind="presence", answers=(text,) * 25)
        assert measure(result).values["unresolved"] == ours, text
        assert measure(result, published_measures=True).values["unresolved"] == theirs, text


def test_gains_over_controls():
    result = made_result(controls=2)
    it = result.attribution
    x = np.arange(25) / 24
    gaps = {}
    for name, curves in result.controls.items():
        insertion = np.trapezoid(curves.insertion.mean(1), x)
        gaps.setdefault(name.split("-")[0], []).append(
            insertion - np.trapezoid(curves.deletion.mean(1), x)
        )
    values = measure(result).values
    own = it.insertion_auc - it.deletion_auc
    for family, of_family in gaps.items():
        gain = values[f"gain_over_{family}"]
        assert gain == pytest.approx(own - np.mean(of_family), abs=1e-6)
        insertion, deletion = (values[f"{family}_{c}_auc"] for c in ("insertion", "deletion"))
        assert insertion - deletion == pytest.approx(np.mean(of_family), abs=1e-6)
    assert values["gain_over_random"] > 0.1


def test_a_control_is_measured_over_its_own_areas():
    # Two regions of 1/4 and 3/4: the order decides which area the middle point has.
    labels = np.repeat([0, 1, 1, 1], 10)[None].astype(np.int32)
    curve = np.array([[0.0], [1.0], [1.0]], np.float32)
    result = changed(
        made_result(kind="word"),
        labels=labels,
        order=np.array([0, 1], np.int32),
        insertion=curve,
        deletion=curve[::-1].copy(),
    )
    swapped = Curves(np.array([1, 0], np.int32), curve, curve[::-1].copy())
    item = dataclasses.replace(result.item, boxes=())
    values = measure(result._replace(item=item, mask=None, controls={"area": swapped})).values
    assert values["insertion_auc"] == pytest.approx(1 - 0.25 / 2)
    assert values["area_insertion_auc"] == pytest.approx(1 - 0.75 / 2)


def test_the_image_share_of_an_item_is_that_of_its_words():
    for kind in ("sentence", "word"):
        result = made_result(kind=kind)
        share = result.attribution.image_share
        assert measure(result).values["image_share"] == share.mean and 0 < share.mean < 1
    # The scored "No" is none of the answer's words.
    presence = measure(made_result(kind="presence", answers=corrected_from(3)))
    assert "image_share" not in presence.values
