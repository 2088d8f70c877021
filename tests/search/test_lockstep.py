"""Images in lockstep find what each finds alone."""

import numpy as np
import pytest
import questions

from eagle_jax.search import Objective, find_orders
from eagle_jax.search.lockstep import lockstep_kind


@pytest.fixture(scope="module")
def network(untied):
    return questions.load_network(untied)


@pytest.fixture(scope="module")
def scorers(untied, network, references, make_image):
    """Three pictures of one size with different regions, answers and targets."""
    asked = [(1, 6, None), (2, 9, [0, 2]), (3, 1, None)]
    return [
        questions.make_question(
            untied,
            make_image(seed, 100, 90),
            questions.cells(seed, 100, 90, regions),
            reference=references["untied"],
            target=target,
        ).scorer(network)
        for seed, regions, target in asked
    ]


@pytest.mark.parametrize("together", [None, 4])
def test_each_image_finds_what_it_finds_alone(together, scorers):
    assert len({lockstep_kind(scorer) for scorer in scorers}) == 1
    watched = []
    found = find_orders(
        scorers,
        "exact",
        objective=Objective(0.7, 1.3),
        together=together,
        on_progress=watched.append,
    )
    for ours, scorer in zip(found, scorers, strict=True):
        alone = questions.greedy(scorer, 0.7, 1.3)
        np.testing.assert_array_equal(ours.curves.order, alone.curves.order)
        for mine, its in zip(ours.curves[1:], alone.curves[1:], strict=True):
            np.testing.assert_allclose(mine, its, rtol=0, atol=2e-6)
        assert (ours.forwards, ours.rounds) == (alone.forwards, alone.rounds)
    forwards = [one.forwards for one in watched]
    assert len(watched) == 9 and forwards == sorted(forwards)
    assert forwards[-1] == sum(one.forwards for one in found)
    assert {one.planned for one in watched} == {forwards[-1]}


def test_other_sizes_and_lengths_are_of_another_kind(untied, network, scorers, make_image):
    kind = lockstep_kind(scorers[0])
    for size, answer in (((60, 150), "Yes, a cat."), ((100, 90), "Yes, a cat. " * 9)):
        labels = questions.cells(1, *size, 6)
        other = questions.make_question(untied, make_image(1, *size), labels, answer=answer)
        assert lockstep_kind(other.scorer(network)) != kind


def test_published_rounding_makes_probabilities_those_of_the_model_s_precision(
    untied, references, make_image
):
    import jax
    import jax.numpy as jnp

    from eagle_jax.scoring.question import lay_out
    from eagle_jax.scoring.scorer import MaskedImageScorer

    question = questions.make_question(
        untied,
        make_image(1, 84, 112),
        questions.cells(1, 84, 112, 6),
        reference=references["untied"],
    )
    network = jax.tree.map(
        lambda leaf: leaf.astype(jnp.bfloat16), questions.load_network(untied)
    )
    plain = question.scorer(network)
    rounded = MaskedImageScorer(
        network,
        lay_out(
            network,
            plain.question.plan,
            question.prompt_ids,
            question.answer_ids,
            question.positions,
            question.token_ids,
            published_rounding=True,
        ),
        question.labels,
        plain.tokens,
        8,
    )
    sets = np.random.default_rng(0).random((9, 6)) < 0.5
    ours, exact = rounded(sets), plain(sets)
    np.testing.assert_array_equal(ours, ours.astype(jnp.bfloat16).astype(np.float32))
    assert np.any(exact != exact.astype(jnp.bfloat16).astype(np.float32))
    # Logits of a few units are rounded to their third digit.
    np.testing.assert_allclose(ours, exact, rtol=0.05, atol=1e-3)
