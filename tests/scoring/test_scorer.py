"""The masked-image scorer: equal to PyTorch, indifferent to batching and padding."""

import jax
import jaxtyping
import numpy as np
import pytest
import questions

from eagle_jax.errors import InputError
from eagle_jax.scoring import question as question_module
from eagle_jax.scoring import scorer as scoring
from eagle_jax.search import find_orders


@pytest.fixture(scope="module")
def network(untied):
    return questions.load_network(untied)


@pytest.fixture
def compilations():
    """A list that grows by one entry per XLA compilation."""
    compiled = []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield compiled
    jax.monitoring.unregister_event_duration_listener(listen)


def some_sets(regions: int, count: int) -> np.ndarray:
    sets = np.random.default_rng(0).random((count, regions)) < 0.5
    sets[0], sets[1] = False, True
    return sets


@pytest.mark.parametrize("height, width", [(84, 112), (100, 90), (60, 150), (30, 40)])
def test_scores_equal_pytorch(height, width, untied, network, references, make_image):
    image, labels = make_image(1, height, width), questions.cells(1, height, width, 6)
    reference = references["untied"]
    question = questions.make_question(untied, image, labels, reference=reference)
    sets = some_sets(6, 7)
    ours = question.scorer(network)(sets)
    score = question.reference_score(reference)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, [score(visible) for visible in sets], rtol=1e-4, atol=1e-6)
    assert np.ptp(ours, axis=0).max() > 0.05, "the masks do not matter"


@pytest.mark.parametrize(
    "target, token_ids",
    [([2], None), ([0], [17]), ([4, 1], None), ([1, 3, 6], [5, 6, 7])],
    ids=["one", "counterfactual", "out of order", "several counterfactual"],
)
def test_any_targets_equal_pytorch(target, token_ids, untied, network, references, make_image):
    image, labels = make_image(2, 84, 112), questions.cells(2, 84, 112, 6)
    reference = references["untied"]
    question = questions.make_question(
        untied, image, labels, reference=reference, target=target, token_ids=token_ids
    )
    sets = some_sets(6, 4)
    ours = question.scorer(network)(sets)
    score = question.reference_score(reference)
    np.testing.assert_allclose(ours, [score(visible) for visible in sets], rtol=1e-4, atol=1e-6)


def test_batch_size_changes_nothing(untied, network, references, make_image):
    image, labels = make_image(3, 84, 112), questions.cells(3, 84, 112, 9)
    question = questions.make_question(untied, image, labels, reference=references["untied"])
    sets = some_sets(9, 11)
    expected = question.scorer(network, batch_size=1)(sets)
    for batch_size in (5, 40):
        scores = question.scorer(network, batch_size=batch_size)(sets)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=2e-6)


def test_padding_changes_nothing(untied, network, references, make_image, monkeypatch):
    image, labels = make_image(4, 84, 112), questions.cells(4, 84, 112, 9)
    question = questions.make_question(
        untied, image, labels, reference=references["untied"], target=[0, 1, 4]
    )
    sets = some_sets(9, 5)
    padded = question.scorer(network)(sets)
    monkeypatch.setattr(question_module, "_SEQUENCE_BUCKET", 1)
    monkeypatch.setattr(question_module, "_TARGET_BUCKET", 1)
    monkeypatch.setattr(scoring, "_REGION_BUCKET", 1)
    exact = question.scorer(network)(sets)
    np.testing.assert_allclose(padded, exact, rtol=0, atol=2e-6)


def test_more_masks_than_fit_one_call(untied, network, make_image):
    image, labels = make_image(5, 56, 84), questions.cells(5, 56, 84, 4)
    scorer = questions.make_question(untied, image, labels).scorer(network)
    sets = some_sets(4, 75)
    together = scorer(sets)
    assert together.shape == (75, len(scorer.tokens))
    one_at_a_time = np.concatenate([scorer(row[None]) for row in sets[::15]])
    np.testing.assert_allclose(together[::15], one_at_a_time, rtol=0, atol=2e-6)
    assert scorer(sets[:0]).shape == (0, len(scorer.tokens))


def test_what_follows_the_last_target_does_not_matter(untied, network, make_image):
    image, labels = make_image(6, 84, 112), questions.cells(6, 84, 112, 5)
    scores = [
        questions.make_question(untied, image, labels, answer=answer, target=[0, 1]).scorer(
            network
        )(some_sets(5, 4))
        for answer in ("Yes, a cat.", "Yes, a cat stands beside a large blue house.")
    ]
    np.testing.assert_array_equal(*scores)


def test_sets_of_another_kind_are_refused(untied, network, make_image, monkeypatch):
    image, labels = make_image(7, 56, 84), questions.cells(7, 56, 84, 4)
    scorer = questions.make_question(untied, image, labels).scorer(network)
    # Outside the tests nobody checks annotations.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for sets in (np.ones((2, 5), bool), np.ones((2, 4), np.float32), np.ones(4, bool)):
        with pytest.raises(InputError, match=r"must be bool of shape \(masked images, 4\)"):
            scorer(sets)
    with pytest.raises(InputError, match="batch_size is 0"):
        questions.make_question(untied, image, labels).scorer(network, batch_size=0)


def test_nothing_is_compiled_again_within_a_bucket(untied, network, make_image, compilations):
    def run(seed, height, width, regions, prompt, answer):
        image = make_image(seed, height, width)
        labels = questions.cells(seed, height, width, regions)
        question = questions.make_question(untied, image, labels, prompt=prompt, answer=answer)
        scorer = question.scorer(network)
        scorer(some_sets(regions, 5))
        before = len(compilations)
        find_orders([scorer])
        assert len(compilations) == before, "the search compiled something"

    # A grid that no other test uses.
    run(1, 130, 90, 7, "Is there a cat in the image?", "Yes.")
    assert compilations, "the listener hears nothing"
    compilations.clear()
    # Another image, image size, number of regions, prompt and answer of the same bucket.
    run(2, 150, 94, 9, "Is there a car in the image?", "No.")
    assert compilations == []
