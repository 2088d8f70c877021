"""Operations of masked images that reuse what they share."""

import jax
import numpy as np
import pytest

from eagle_jax.inputs.patches import plan_image
from eagle_jax.inputs.processors import read_settings
from eagle_jax.planning.flops import chained_flops, forward_flops, search_flops
from eagle_jax.planning.published import published_models
from eagle_jax.planning.step import size_step
from eagle_jax.scoring.model import abstract_network


def test_what_an_image_shares_with_the_one_before_is_not_counted():
    found = published_models()["OpenGVLab/InternVL3_5-4B-HF"]
    config = abstract_network(found["config"], "config.json")[0].config
    # 3 x 4 tiles of 160 source pixels; the middle of the seventh, of the last, and the rest.
    labels = np.full((480, 640), 2, np.int32)
    labels[200:280, 360:440], labels[360:440, 520:600] = 0, 1
    image = np.zeros((480, 640, 3), np.uint8)
    plan = jax.device_put(
        plan_image(image, labels, read_settings(found["preprocessor_config"]))
    )
    rows = plan.tokens + np.arange(20, 28)
    whole = forward_flops(config, plan.grid, rows)

    def count(*sets):
        return chained_flops(config, plan, rows, np.array(sets, bool))

    assert count([1, 1, 1]) == pytest.approx(whole)
    tile = whole - forward_flops(config, (0, 0), rows)
    tile /= 13
    first = count([0, 1, 1], [1, 1, 1]) - whole
    late = count([1, 0, 1], [1, 1, 1]) - whole
    # Two tiles each, one of them the thumbnail, and all tokens from the seventh or eleventh on.
    decoder = whole - 13 * tile
    for flops, share in ((first, 7 / 13), (late, 3 / 13)):
        assert flops == pytest.approx(2 * tile + share * decoder, rel=0.1)
    # The second image need not be the second that was asked for.
    assert count([1, 1, 1], [0, 1, 1], [1, 0, 1]) == pytest.approx(
        whole + first + late, rel=0.1
    )


def test_an_exact_search_with_reuse():
    step = size_step(
        "OpenGVLab/InternVL3_5-4B-HF",
        image="640x480",
        regions=24,
        topology="v6e:1x1",
        targets=24,
        quantize=None,
    )
    given = step.network, step.image_plan, step.rows, 24
    chained = step.search_flops
    assert chained == search_flops(*given, 1, (1, 1))
    plain = 24 * 25 * step.flops
    assert 1.3 < plain / chained < 2
    # Split weights, as without reuse, whose batches are filled up.
    batches = sum(-(-2 * left // 4) for left in range(1, 25))
    assert search_flops(*given, 4, (4, 2)) == pytest.approx(4 * batches * step.flops)
    # Four devices have four beginnings, of which each is the whole image.
    assert chained < search_flops(*given, 4, (4, 1)) < plain
    # Side by side images begin where the first of them differs.
    assert search_flops(*given, 4, (4, 1)) < search_flops(*given, 4, (1, 1)) < plain
