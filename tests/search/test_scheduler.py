"""Questions that are answered together find what each finds alone."""

import threading

import numpy as np
import pytest
import questions
import set_functions

from eagle_jax.search import Objective, find_orders
from eagle_jax.search.scheduler import Task, answer_together


@pytest.fixture(scope="module")
def network(untied):
    return questions.load_network(untied)


@pytest.fixture(scope="module")
def scorers(untied, network, references, make_image):
    """Three images of one size with different regions, answers and targets; one of another."""
    asked = [(1, 6, None, 100, 90), (2, 9, [0, 2], 100, 90), (3, 1, None, 100, 90)]
    asked.append((4, 5, None, 60, 150))
    return [
        questions.make_question(
            untied,
            make_image(seed, height, width),
            questions.cells(seed, height, width, regions),
            reference=references["untied"],
            target=target,
        ).scorer(network)
        for seed, regions, target, height, width in asked
    ]


# Fewer places than questions: those that end are replaced.
@pytest.mark.parametrize("together", [None, 2])
def test_each_image_finds_what_it_finds_alone(together, scorers):
    keys = [scorer.batch_key for scorer in scorers]
    assert len(set(keys[:3])) == 1 and keys[3] != keys[0]
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
    forwards = [each.forwards for each in watched]
    assert len(watched) == 6 + 9 + 1 + 5 and forwards == sorted(forwards)
    assert forwards[-1] == sum(each.forwards for each in found)
    assert watched[-1].planned == forwards[-1]


def test_neighbours_do_not_change_a_bit(scorers):
    first, second, third, _ = scorers
    together = find_orders([first, second, third], "exact")
    others = find_orders([second, first], "exact", together=3)
    for ours, theirs in zip(together[:2], others[::-1], strict=True):
        for mine, its in zip(ours.curves, theirs.curves, strict=True):
            np.testing.assert_array_equal(mine, its)


def test_other_sizes_and_lengths_share_no_batches(untied, network, scorers, make_image):
    key = scorers[0].batch_key
    for size, answer in (((60, 150), "Yes, a cat."), ((100, 90), "Yes, a cat. " * 9)):
        labels = questions.cells(1, *size, 6)
        other = questions.make_question(untied, make_image(1, *size), labels, answer=answer)
        assert other.scorer(network).batch_key != key


class Shared:
    """A scorer of any kind that shares batches of 8, and writes down what is in them."""

    batch_key, batch_size = "shared", 8

    def __init__(self, scorer, written):
        self.regions, self.batches, self._scorer = scorer.regions, written, scorer

    def open_batches(self, places):
        self.batches.append(places)
        return self

    def begin(self, parts):
        assert sum(len(sets) for _, sets in parts) <= self.batch_size
        self.batches.append([len(sets) for _, sets in parts])
        return lambda: [scorer._scorer(sets) for scorer, sets in parts]

    def leave(self, scorer):
        pass

    def __call__(self, visible):
        return self._scorer(visible)


def test_batches_are_filled_from_whoever_waits():
    written = []
    functions = [set_functions.smooth(9, seed) for seed in range(6)]
    found = find_orders([Shared(each, written) for each in functions], "exact", together=4)
    for ours, seed in zip(found, range(6), strict=True):
        (alone,) = find_orders([set_functions.smooth(9, seed)], "exact")
        np.testing.assert_array_equal(ours.curves.order, alone.curves.order)
    places, *batches = written
    assert places == 4 and sum(map(sum, batches)) == 6 * 90
    assert any(len(batch) > 1 for batch in batches), "no batch is shared"


def test_results_come_back_while_other_searches_think():
    """A search that thinks for as long as others need does not keep them waiting."""
    ended = threading.Event()

    def slow():
        yield np.ones((1, 3), bool)
        assert ended.wait(60)

    def quick():
        for _ in range(5):
            yield np.ones((1, 3), bool)
        ended.set()

    scorer = set_functions.smooth(3)
    begins = [lambda: Task(scorer, slow()), lambda: Task(scorer, quick())]
    answer_together(begins, together=2)


def test_failures_to_score_are_raised_where_the_sets_came_from():
    class Broken(Shared):
        def begin(self, parts):
            raise ZeroDivisionError("no scores")

    caught, scorer = [], set_functions.smooth(3)

    def asks():
        try:
            yield np.ones((1, 3), bool)
        except ZeroDivisionError as error:
            caught.append(str(error))

    fine = find_orders([scorer], "exact")[0].forwards
    tasks = [Task(Broken(scorer, []), asks()) for _ in range(3)]
    answer_together([lambda task=task: task for task in tasks], together=2)
    assert caught == ["no scores"] * 3 and fine == 12
    with pytest.raises(ZeroDivisionError, match="no scores"):
        find_orders([Broken(scorer, []), Broken(scorer, [])], "exact")


def test_no_more_is_prepared_than_is_needed_soon():
    prepared = done = 0

    def begin(i):
        nonlocal prepared
        prepared += 1
        # Those in flight, and four ahead of time.
        assert prepared - done <= 2 + 4
        return Task(set_functions.smooth(3), asks())

    def asks():
        nonlocal done
        yield np.zeros((0, 3), bool)
        yield np.ones((1, 3), bool)
        done += 1

    answer_together((lambda i=i: begin(i) for i in range(40)), together=2)
    assert prepared == done == 40


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
