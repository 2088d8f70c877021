"""The demo world: its scenes, their masks, and captions of them."""

import numpy as np
import pytest

from eagle_jax.demo.drawings import COLOURS, KINDS
from eagle_jax.demo.questions import caption, named, read_caption
from eagle_jax.demo.scenes import PARTNER_RATE, PARTNERS, draw_scene


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(seed) for seed in range(150)]


def test_a_seed_draws_the_same_scene_every_time(scenes):
    for seed in (0, 7, 149):
        again, once = draw_scene(seed), scenes[seed]
        np.testing.assert_array_equal(again.image, once.image)
        for one, other in zip(again.objects, once.objects, strict=True):
            np.testing.assert_array_equal(one.mask, other.mask)
            assert (one.kind, one.colour, one.box) == (other.kind, other.colour, other.box)
    assert not np.array_equal(scenes[0].image, scenes[1].image)


def test_masks_are_disjoint_and_boxes_fit_them(scenes):
    for scene in scenes:
        assert 1 <= len(scene.objects) <= 4
        assert sum(item.mask.astype(int) for item in scene.objects).max() == 1
        for item in scene.objects:
            x0, y0, x1, y1 = item.box
            assert item.mask[y0:y1, x0:x1].sum() == item.mask.sum() >= 60
            assert item.mask[y0].any() and item.mask[y1 - 1].any()
            assert item.mask[:, x0].any() and item.mask[:, x1 - 1].any()


def test_masks_lie_on_the_colour_of_their_object(scenes):
    for scene in scenes:
        for item in scene.objects:
            if not item.faint:
                distance = np.abs(scene.image.astype(int) - COLOURS[item.colour]).max(axis=-1)
                inside = (distance < 30)[item.mask].mean()
                x0, y0, x1, y1 = item.box
                nobody = ~np.any([other.mask for other in scene.objects], axis=0)
                nobody &= distance < 30
                assert inside > 0.12, (scene.seed, item.kind)
                assert nobody[y0:y1, x0:x1].mean() < inside, (scene.seed, item.kind)


def test_objects_are_distinct_and_run_from_left_to_right(scenes):
    for scene in scenes:
        kinds = [item.kind for item in scene.objects]
        assert len(set(kinds)) == len(kinds) and set(kinds) <= set(KINDS)
        centres = [item.box[0] + item.box[2] for item in scene.objects]
        assert centres == sorted(centres)


def test_some_objects_are_weak_and_most_are_clear(scenes):
    items = [item for scene in scenes for item in scene.objects]
    for flag in ("faint", "hidden", "small"):
        assert 0.015 < np.mean([getattr(item, flag) for item in items]) < 0.12
    assert 0.06 < np.mean([i.faint or i.hidden or i.small for i in items]) < 0.2


def test_planted_pairs_occur_together_as_often_as_planned(scenes):
    either = both = 0
    for scene in scenes:
        kinds = {item.kind for item in scene.objects}
        for kind in kinds & PARTNERS.keys():
            paired = PARTNERS[kind] in kinds
            # A pair in the scene is met twice, from both its ends.
            both += paired / 2
            either += 1 / 2 if paired else 1
    assert abs(both / either - PARTNER_RATE) < 0.1


def test_a_caption_can_be_read_back(scenes):
    assert caption([("orange", "cat")]) == "The image shows an orange cat."
    for scene in scenes:
        assert read_caption(caption(named(scene))) == named(scene)
