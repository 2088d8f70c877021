"""Localisation by hand, against pixel-by-pixel loops, and the published pointing rule."""

import numpy as np
import pytest

from eagle_jax.metrics.localisation import (
    average_precision,
    best_iou,
    box_mask,
    expected_hit,
    pointing_game,
    published_map,
    published_pointing_game,
    region_point,
    relevance_mass,
)

# Four regions of different shape on 4 x 6 pixels.
LABELS = np.array(
    [
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 3, 3, 1],
        [2, 2, 2, 3, 3, 1],
    ],
    np.int32,
)


def random_case(seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(99) % 7).reshape(9, 11).astype(np.int32)
    order = rng.permutation(7).astype(np.int32)
    return labels, order, rng.random((9, 11)) < 0.3


def test_boxes_exclude_their_ends_and_are_clipped():
    mask = box_mask([(1, 0, 3, 2), (4, 3, 90, 90), (-5, 2, 1, 3), (2, 2, 2, 4)], 4, 6)
    assert mask.astype(int).tolist() == [
        [0, 1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 1],
    ]
    assert not box_mask([(-9, -9, -1, -1)], 4, 6).any()


def test_a_region_points_at_its_deepest_pixel_nearest_to_the_middle():
    assert region_point(LABELS == 0) == (1, 1)
    bar = np.zeros((5, 11), bool)
    bar[1:4, 1:10] = True
    assert region_point(bar) == (2, 5)
    assert region_point(np.ones((1, 1), bool)) == (0, 0)


def test_a_ring_points_into_itself():
    ring = np.zeros((20, 20), bool)
    ring[2:18, 2:18] = True
    ring[5:15, 5:15] = False
    assert ring[region_point(ring)]
    assert not ring[10, 10], "its centroid lies in the hole"


@pytest.mark.parametrize("seed", range(5))
def test_the_deepest_pixel_equals_a_search_over_all_pixels(seed):
    rng = np.random.default_rng(seed)
    region = rng.random((12, 9)) < 0.8
    outside = np.argwhere(~np.pad(region, 1)) - 1
    inside = np.argwhere(region)
    depth = ((inside[:, None] - outside) ** 2).sum(-1).min(1)
    off = ((inside - inside.mean(0)) ** 2).sum(-1)
    best = min(range(len(inside)), key=lambda i: (-depth[i], off[i], i))
    assert region_point(region) == tuple(inside[best])


def test_grazing_the_object_is_a_hit_by_the_published_rule_alone():
    order = np.array([0, 1, 2, 3], np.int32)
    saliency = np.array([1, 0.5, 0.25, 0], np.float32)[LABELS]
    graze = box_mask([(2, 2, 6, 4)], 4, 6)
    assert published_pointing_game(saliency, graze)
    assert not pointing_game(LABELS, order, graze)
    assert expected_hit(saliency, graze) == pytest.approx(1 / 9)
    middle = box_mask([(1, 1, 2, 2)], 4, 6)
    assert pointing_game(LABELS, order, middle) and published_pointing_game(saliency, middle)
    elsewhere = box_mask([(4, 0, 6, 2)], 4, 6)
    assert not pointing_game(LABELS, order, elsewhere)
    assert not published_pointing_game(saliency, elsewhere)
    assert expected_hit(saliency, elsewhere) == 0


def test_float16_makes_regions_share_the_top():
    order = np.array([0, 1, 2, 3], np.int32)
    # F rises by 1 at once and then by a ten-thousandth, which float16 cannot tell from it.
    objective = np.array([1.0, 1.0001, 1.5, 1.75])
    published = published_map(LABELS, order, objective, start=0.0)
    assert published.dtype == np.float16 and published.max() == 1 and published.min() == 0
    second = LABELS == 1
    assert published_pointing_game(published, second)
    exact = -np.cumsum(np.abs(np.diff(np.append(0.0, objective))))
    exact = (exact - exact[-1]) / (exact[0] - exact[-1])
    assert not published_pointing_game(exact[LABELS], second)
    np.testing.assert_allclose(published, exact[LABELS], atol=2e-3)
    assert expected_hit(published, second) == pytest.approx(8 / 17)


def test_drops_lower_the_published_map_as_rises_do():
    objective = np.array([0.5, 0.25, 0.75, 0.5])
    published = published_map(LABELS, np.array([3, 2, 1, 0], np.int32), objective, 0.25)
    # v = -0.25, -0.5, -1.0, -1.25, less the minimum and over the largest.
    assert [float(published[LABELS == r][0]) for r in (3, 2, 1, 0)] == [1, 0.75, 0.25, 0]


def test_a_published_map_without_any_change_misses():
    published = published_map(LABELS, np.arange(4, dtype=np.int32), np.ones(4), start=1.0)
    assert np.isnan(published).all()
    assert not published_pointing_game(published, np.ones((4, 6), bool))


def test_mass_iou_and_precision_by_hand():
    order = np.array([1, 3, 0, 2], np.int32)
    mask = box_mask([(3, 0, 6, 2)], 4, 6)
    saliency = np.array([0.25, 1, 0, 0.5], np.float32)[LABELS]
    assert relevance_mass(saliency, mask) == pytest.approx(6 / (8 + 4 * 0.5 + 9 * 0.25))
    assert best_iou(LABELS, order, mask) == (6 / 8, 1)
    assert average_precision(LABELS, order, mask) == 6 / 8
    last = np.array([0, 2, 3, 1], np.int32)
    assert best_iou(LABELS, last, mask) == (6 / 24, 4)
    assert average_precision(LABELS, last, mask) == 6 / 24


@pytest.mark.parametrize("seed", range(8))
def test_mass_iou_and_precision_equal_loops_over_pixels(seed):
    labels, order, mask = random_case(seed)
    ious, precision, recall = [], [], [0.0]
    for k in range(1, 8):
        shown = np.isin(labels, order[:k])
        ious.append((shown & mask).sum() / (shown | mask).sum())
        precision.append((shown & mask).sum() / shown.sum())
        recall.append((shown & mask).sum() / mask.sum())
    iou, k = best_iou(labels, order, mask)
    assert iou == pytest.approx(max(ious), rel=1e-12) and ious[k - 1] == max(ious)
    steps = zip(np.diff(recall), precision, strict=True)
    assert average_precision(labels, order, mask) == pytest.approx(sum(a * b for a, b in steps))
    saliency = np.random.default_rng(seed).random(labels.shape)
    by_pixel = sum(saliency[y, x] for y, x in np.argwhere(mask)) / saliency.sum()
    assert relevance_mass(saliency, mask) == pytest.approx(by_pixel)


def test_everything_misses_an_object_without_pixels():
    labels, order, mask = random_case(0)
    nothing = np.zeros_like(mask)
    saliency = np.ones(labels.shape, np.float32)
    assert not pointing_game(labels, order, nothing)
    assert not published_pointing_game(saliency, nothing)
    assert expected_hit(saliency, nothing) == relevance_mass(saliency, nothing) == 0
    assert best_iou(labels, order, nothing)[0] == average_precision(labels, order, nothing) == 0
