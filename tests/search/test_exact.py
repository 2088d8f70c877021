"""The exact search against the sequential PyTorch one, brute force and plain callables."""

import itertools

import numpy as np
import pytest
import questions
import torch_reference
from hypothesis import given
from hypothesis import strategies as st


class Table:
    """A set function by look-up: probabilities of `t` targets for each subset."""

    def __init__(self, table: np.ndarray):
        self.table = table
        self.regions = len(table).bit_length() - 1
        self.forwards = 0

    def __call__(self, visible):
        self.forwards += len(visible)
        return self.table[visible @ (1 << np.arange(self.regions))]


@pytest.fixture(scope="module")
def folders(untied, tied):
    return {"untied": untied, "tied": tied}


@pytest.fixture(scope="module")
def networks(folders):
    return {name: questions.load_network(folder) for name, folder in folders.items()}


# Checkpoint, height, width, regions: unresized, resized in both directions, resized and wide.
SEARCHES = [
    ("untied", 84, 112, 9),
    ("tied", 100, 90, 12),
    pytest.param("tied", 60, 150, 16, marks=pytest.mark.slow),
]


def compare(question, network, reference, *weights):
    questions.compare_searches(
        question.scorer(network), question.reference_score(reference), *weights
    )


@pytest.mark.parametrize("name, height, width, regions", SEARCHES)
def test_order_and_scores_equal_the_sequential_search(
    name, height, width, regions, folders, networks, references, make_image
):
    image = make_image(regions, height, width)
    labels = questions.cells(regions, height, width, regions)
    question = questions.make_question(folders[name], image, labels, reference=references[name])
    compare(question, networks[name], references[name])


@pytest.mark.slow
def test_many_regions(folders, networks, references, make_image):
    image, labels = make_image(7, 112, 112), questions.cells(7, 112, 112, 36)
    question = questions.make_question(
        folders["tied"], image, labels, reference=references["tied"], target=[0]
    )
    compare(question, networks["tied"], references["tied"])


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (0.3, 2.0)])
def test_weights_of_insight_and_necessity(weights, folders, networks, references, make_image):
    image, labels = make_image(9, 84, 112), questions.cells(9, 84, 112, 9)
    question = questions.make_question(
        folders["untied"], image, labels, reference=references["untied"]
    )
    compare(question, networks["untied"], references["untied"], *weights)


def test_five_regions_against_brute_force(folders, networks, references, make_image):
    image, labels = make_image(2, 84, 112), questions.cells(2, 84, 112, 5)
    question = questions.make_question(
        folders["untied"], image, labels, reference=references["untied"]
    )
    score = question.reference_score(references["untied"])
    p = {
        frozenset(chosen): score(np.isin(np.arange(5), chosen))
        for size in range(6)
        for chosen in itertools.combinations(range(5), size)
    }
    everything = frozenset(range(5))
    found = questions.greedy(question.scorer(networks["untied"])).curves
    for k in range(6):
        prefix = frozenset(found.order[:k].tolist())
        np.testing.assert_allclose(found.insertion[k], p[prefix], atol=1e-5)
        np.testing.assert_allclose(found.deletion[k], p[everything - prefix], atol=1e-5)
        if k == 5:
            break
        value = {
            r: np.mean(p[prefix | {r}] + 1 - p[everything - prefix - {r}])
            for r in everything - prefix
        }
        assert value[found.order[k]] >= max(value.values()) - 1e-6


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(
            st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2 * 2**n, max_size=2 * 2**n
        )
    )
)
def test_any_callable_with_regions_and_lowest_number_wins_ties(values):
    scorer = Table(np.array(values, np.float32).reshape(-1, 2))
    found = questions.greedy(scorer)
    n = scorer.regions
    assert scorer.forwards == found.forwards == n * (n + 1) and found.rounds == n
    found = found.curves
    plain = torch_reference.exact_search(lambda visible: scorer(visible[None])[0], n)
    np.testing.assert_array_equal(found.order, plain.order)
    np.testing.assert_array_equal(found.insertion, plain.insertion)
    np.testing.assert_array_equal(found.deletion, plain.deletion)


@pytest.mark.parametrize("height, width", [(84, 112), (100, 90)])
def test_a_model_s_ties_go_to_the_lowest_number(height, width, folders, networks, references):
    # On a black image every set of regions is the same picture.
    labels = questions.cells(4, height, width, 7)
    black = np.zeros((height, width, 3), np.uint8)
    question = questions.make_question(
        folders["untied"], black, labels, reference=references["untied"]
    )
    found = questions.greedy(question.scorer(networks["untied"])).curves
    np.testing.assert_array_equal(found.order, np.arange(7))


def test_one_region(folders, networks, make_image):
    image = make_image(12, 56, 56)
    labels = np.zeros((56, 56), np.int32)
    question = questions.make_question(folders["untied"], image, labels)
    found = questions.greedy(question.scorer(networks["untied"]))
    assert found.curves.order.tolist() == [0] and found.forwards == 2
    np.testing.assert_array_equal(found.curves.insertion, found.curves.deletion[::-1])
