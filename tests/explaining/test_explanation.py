"""The whole story on a tiny checkpoint: what is explained, and that the result keeps it."""

import signal

import jax
import numpy as np
import pytest

import eagle_jax
from eagle_jax import Attribution, InputError
from eagle_jax.explaining.ranking import Approach, rank_case
from eagle_jax.search import Curves, Round, Solution, find_orders
from eagle_jax.search.conversations import answer_alone
from eagle_jax.search.sets import prefixes

PROMPT = "Is there a cat in the image?"
REGIONS = "grid:2x2"


@pytest.fixture(scope="module")
def model(untied):
    return eagle_jax.load(untied)


@pytest.fixture(scope="module")
def image(make_image):
    return make_image(1, 56, 56)


def ids_of(model, text):
    return model.tokenizer(text, add_special_tokens=False).input_ids


def same(first: Attribution, second: Attribution) -> bool:
    """Equal but for the time taken."""
    return first == Attribution(**(vars(second) | {"seconds": first.seconds}))


def test_sentence_level_takes_every_token(model, image):
    found = eagle_jax.explain(model, image, PROMPT, answer="Yes, a cat.", regions=REGIONS)
    expected = [*ids_of(model, "Yes, a cat."), model.tokenizer.eos_token_id]
    assert found.answer_ids.tolist() == found.token_ids.tolist() == expected
    assert found.positions.tolist() == list(range(len(expected)))
    assert (
        found.tokens == found.answer_tokens and "".join(found.tokens) == "Yes, a cat.<|im_end|>"
    )
    assert (found.prompt, found.answer, found.search) == (PROMPT, "Yes, a cat.", "exact")
    assert found.forwards == 4 * 5 and found.insertion.shape == (5, len(expected))
    np.testing.assert_array_equal(found.image, image)
    np.testing.assert_array_equal(found.labels[::28, ::28], [[0, 1], [2, 3]])
    # Both curves run between the blank and the full image.
    np.testing.assert_array_equal(found.insertion[0], found.deletion[-1])
    np.testing.assert_array_equal(found.insertion[-1], found.deletion[0])
    assert np.ptp(found.insertion, axis=0).max() > 0.01, "the image does not matter"


def test_answer_text_equals_its_ids(model, image):
    text = eagle_jax.explain(model, image, PROMPT, answer="Yes, a cat.", regions=REGIONS)
    ids = eagle_jax.explain(
        model, image, PROMPT, answer=text.answer_ids.tolist(), regions=REGIONS
    )
    assert same(text, ids)


@pytest.mark.parametrize("target", ["cat", [3, 4], np.array([3, 4])])
def test_word_and_token_level(target, model, image):
    found = eagle_jax.explain(
        model, image, PROMPT, answer="Yes, a cat.", target=target, regions=REGIONS
    )
    assert "".join(found.answer_tokens[3:5]) == " cat"
    assert found.positions.tolist() == [3, 4] and found.tokens == found.answer_tokens[3:5]
    np.testing.assert_array_equal(found.token_ids, found.answer_ids[3:5])
    whole = eagle_jax.explain(model, image, PROMPT, answer="Yes, a cat.", regions=REGIONS)
    np.testing.assert_allclose(
        found.insertion[[0, -1]], whole.insertion[[0, -1], 3:5], 1e-4, 1e-7
    )


def test_several_partitions_leave_the_first_as_it_is(model, image, tmp_path):
    said = {"answer": "Yes, a cat.", "regions": "grid:5x4"}
    alone = eagle_jax.explain(model, image, PROMPT, **said)
    found = eagle_jax.explain(model, image, PROMPT, **said, partitions=3)
    for name in ("labels", "order", "insertion", "deletion", "values", "errors", "pairs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
    assert found.options == alone.options | {"partitions": 3}
    assert "surrogate, chosen by auto, 3 partitions" in found.summary()
    labels = found.further_labels
    n = labels.reshape(2, -1).max(1) + 1
    assert labels.shape == (2, 56, 56)
    assert 2 * n[0] <= found.forwards - alone.forwards <= 3 * n[1]
    assert found.further_values.shape == found.further_errors.shape == (len(found.tokens), n[1])
    # Every partition explains the same change of probability.
    change = found.insertion[-1] - found.insertion[0]
    for values in (found.values, *np.split(found.further_values, n[:1], axis=1)):
        np.testing.assert_allclose(values.sum(1), change, atol=1e-5)
    assert found.map("cat").shape == (56, 56) and (found.map_errors("cat") > 0).all()
    named = eagle_jax.explain(
        model, image, PROMPT, answer="Yes, a cat.", regions=[said["regions"], *labels]
    )
    assert same(found, named)
    found.save(tmp_path / "saved")
    assert Attribution.load(tmp_path / "saved") == found


def test_partitions_share_the_budget_and_the_time(model, image):
    case = eagle_jax.ask(model, image, PROMPT, answer="Yes", regions="grid:5x4")
    found = eagle_jax.explain(case, partitions=2, budget=220)
    alone = eagle_jax.explain(case, budget=110)
    np.testing.assert_array_equal(found.order, alone.order)
    assert alone.forwards < found.forwards <= 220
    seen = []
    approach = Approach(partitions=3)
    ranking = answer_alone(case.scorer, rank_case(case, approach, seen.append))
    forwards = [state.forwards for state in seen]
    assert forwards == sorted(forwards) and forwards[-1] == ranking.forwards
    assert all(len(state.curves) == 1 for state in seen)
    timed = eagle_jax.explain(case, partitions=3, seconds=1e-9)
    assert timed.further_labels is None and timed.options["ended"] == "seconds"
    asking = rank_case(case, approach, interrupted=lambda: len(seen) > 0)
    ranking = answer_alone(case.scorer, asking)
    assert ranking.result.ended == "interrupt" and not ranking.further


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"partitions": 0}, "partitions is 0; it must be from 1 to 5"),
        ({"partitions": 6}, "partitions is 6; it must be from 1 to 5"),
        ({"partitions": 2, "regions": [4, 4]}, "leave out their number"),
        ({"regions": []}, "name at least one partition"),
        ({"regions": [4, "x"]}, "regions is 'x'"),
        ({"partitions": 2, "regions": 4, "budget": 15}, "2 partitions take at least 16"),
        ({"partitions": 2, "method": "rise"}, "rise has no search"),
        ({"regions": [4, 9], "method": "tam"}, "tam has no search"),
    ],
)
def test_partitions_that_cannot_be_used(arguments, said, model, image):
    with pytest.raises(InputError, match=said):
        eagle_jax.explain(model, image, PROMPT, answer="Yes", **arguments)


def test_counterfactual(model, image):
    no = ids_of(model, "No")
    assert len(no) == 1
    said = {"answer": "Yes", "target": "Yes", "regions": REGIONS}
    word = eagle_jax.explain(model, image, PROMPT, **said, target_ids="No")
    number = eagle_jax.explain(model, image, PROMPT, **said, target_ids=no)
    assert same(word, number)
    assert word.token_ids.tolist() == no and word.tokens == ("No",)
    assert word.answer == "Yes" and word.counterfactual.tolist() == [True]
    # At the first position of an answer, a word has the probability it has as the answer.
    said = eagle_jax.explain(model, image, PROMPT, answer="No", target="No", regions=REGIONS)
    np.testing.assert_allclose(word.insertion, said.insertion, rtol=1e-4, atol=1e-7)
    assert not said.counterfactual.any()


def test_generated_answer_passed_again_gives_the_same(model, image):
    own = eagle_jax.explain(model, image, PROMPT, regions=REGIONS, max_new_tokens=6)
    assert 1 <= len(own.answer_ids) <= 6
    again = eagle_jax.explain(model, image, PROMPT, answer=own.answer_ids, regions=REGIONS)
    assert same(own, again)
    # Greedy: on the full image nothing is more likely than what was said.
    full = np.ones((1, 4), bool)
    for other in ("Yes", "No", "The"):
        case = eagle_jax.ask(
            model,
            image,
            PROMPT,
            answer=own.answer_ids,
            target=[0],
            target_ids=ids_of(model, other)[:1],
            regions=REGIONS,
        )
        assert case.scorer(full)[0, 0] <= again.insertion[-1, 0] * (1 + 1e-4)


def test_own_label_map_with_gaps(model, image):
    names = np.array([[7, -3], [7, 1000]]).repeat(28, 0).repeat(28, 1)
    case = eagle_jax.ask(model, image, PROMPT, answer="Yes", target="Yes", regions=names)
    found = eagle_jax.explain(case)
    assert found.order.size == 3 and found.forwards == 3 * 4
    np.testing.assert_array_equal(found.labels[::28, ::28], [[1, 0], [1, 2]])
    assert found.area[-1] == 1
    assert case.scorer.regions == 3 and case.scorer.tokens == ("Yes",)
    first = np.arange(3)[None] == found.order[0]
    np.testing.assert_allclose(case.scorer(first), found.insertion[1:2], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("height, width", [(84, 56), (56, 84)])
def test_portrait_and_landscape(height, width, model, make_image, tmp_path):
    picture = make_image(3, height, width)
    found = eagle_jax.explain(model, picture, PROMPT, answer="Yes", regions="grid:3x2")
    assert found.image.shape == (height, width, 3) and found.saliency.shape == (height, width)
    assert sorted(found.order.tolist()) == list(range(6))
    found.save(tmp_path / "saved")
    assert Attribution.load(tmp_path / "saved") == found


def test_weights_of_the_objective_decide(model, image):
    arguments = dict(answer="Yes, a cat.", regions=REGIONS)
    insight = eagle_jax.explain(model, image, PROMPT, **arguments, necessity_weight=0.0)
    necessity = eagle_jax.explain(model, image, PROMPT, **arguments, insight_weight=0.0)
    assert (insight.insight_weight, insight.necessity_weight) == (1.0, 0.0)
    scorer = eagle_jax.ask(model, image, PROMPT, **arguments).scorer
    alone = scorer(np.eye(4, dtype=bool)).mean(axis=1)
    without = scorer(~np.eye(4, dtype=bool)).mean(axis=1)
    assert insight.order[0] == alone.argmax() and necessity.order[0] == without.argmin()


@pytest.mark.parametrize(
    "insight, necessity, said",
    [
        (-1.0, 1.0, "0 or more, and not both 0"),
        (1.0, -0.5, "0 or more, and not both 0"),
        (0.0, 0.0, "0 or more, and not both 0"),
        (np.nan, 1.0, "insight_weight is nan .* must be a number"),
        (1.0, np.inf, "0 or more, and not both 0"),
    ],
)
def test_impossible_weights(insight, necessity, said, model, image):
    with pytest.raises(InputError, match=said):
        eagle_jax.explain(
            model,
            image,
            PROMPT,
            answer="Yes",
            insight_weight=insight,
            necessity_weight=necessity,
        )


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"regions": np.zeros((56, 55), int)}, "shape (56, 55), but the image has (56, 56)"),
        ({"regions": np.zeros((56, 56, 1), int)}, "shape (56, 56, 1)"),
        ({"regions": np.zeros((56, 56))}, "must hold integers, not float64"),
        ({"regions": 56 * 56 + 1}, "3137 regions requested, but the image has only 56 x 56"),
        ({"regions": 0}, "regions is 0; it must be a number"),
        ({"target": [9]}, "position 9 is not in the answer; the answer's tokens are 0 'Yes'"),
        ({"target": "dog"}, "the answer's tokens are 0 'Yes', 1 '<|im_end|>'"),
        ({"target": [0, 0]}, "repeat"),
        ({"target": []}, "the target is empty"),
        ({"target": [0], "target_ids": [1, 2]}, "2 entries for 1"),
        ({"target": [0], "target_ids": [320]}, "the id 320"),
        ({"answer": [999]}, "the id 999"),
        ({"answer": []}, "the answer is empty"),
        ({"answer": None, "max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"search": "greedy"}, "must be one of exact"),
    ],
)
def test_unusable_arguments(arguments, said, model, image):
    with pytest.raises(InputError) as caught:
        eagle_jax.explain(model, image, PROMPT, **{"answer": "Yes", **arguments})
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_case_is_explained_as_its_model_image_and_prompt_are(model, image):
    case = eagle_jax.ask(model, image, PROMPT, answer="Yes, a cat.", regions=REGIONS)
    assert (case.answer, case.prompt) == ("Yes, a cat.", PROMPT)
    whole = eagle_jax.explain(model, image, PROMPT, answer="Yes, a cat.", regions=REGIONS)
    assert same(eagle_jax.explain(case), whole)


@pytest.mark.parametrize(
    "given",
    [
        {"image": "cat.png"},
        {"prompt": "Q?"},
        {"answer": "No"},
        {"target": "Yes"},
        {"target_ids": "No"},
        {"regions": 64},
        {"fill": "mean"},
        {"max_new_tokens": 128},
        {"batch_size": 4},
        {"published_rounding": False},
    ],
)
def test_what_a_case_holds_is_not_given_again(given, model, image):
    case = eagle_jax.ask(model, image, PROMPT, answer="Yes", regions=REGIONS)
    with pytest.raises(InputError, match=f"{[*given][0]} is part of a case already"):
        eagle_jax.explain(case, **given)


def test_a_model_is_asked_about_something(model, image):
    with pytest.raises(InputError, match="give both"):
        eagle_jax.explain(model, image)


@pytest.mark.slow
def test_bfloat16(untied, image, model):
    half = eagle_jax.load(untied, dtype="bfloat16")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(half.network)} == {"bfloat16"}
    found = eagle_jax.explain(half, image, PROMPT, answer="Yes", regions=REGIONS)
    whole = eagle_jax.explain(model, image, PROMPT, answer="Yes", regions=REGIONS)
    assert found.insertion.dtype == np.float32
    # Eight bits of mantissa through eight layers of large random weights.
    np.testing.assert_allclose(
        np.log(found.insertion[-1]), np.log(whole.insertion[-1]), rtol=0, atol=1.0
    )


@pytest.fixture(scope="module")
def case(model, make_image):
    return eagle_jax.ask(
        model, make_image(3, 112, 112), PROMPT, answer="Yes, a cat.", regions="grid:4x4"
    )


def test_a_budget_and_what_the_surrogate_knows_are_kept(case, tmp_path):
    found = eagle_jax.explain(case, search="surrogate", budget=80)
    assert found.forwards <= 80 and sorted(found.order) == list(range(16))
    assert found.options == {"search": "surrogate", "budget": 80}
    assert found.values.shape == found.errors.shape == (len(found.tokens), 16)
    assert 0 < found.gap < 1 and 0 < found.unseen < 1
    assert found.pairs.shape == (5, 2) and found.interaction.shape == (5,)
    assert f"surrogate: {found.forwards / 272:.0%} of the forwards" in found.summary()
    found.save(tmp_path / "kept")
    assert Attribution.load(tmp_path / "kept") == found


def test_auto_says_what_it_chose(model, image):
    found = eagle_jax.explain(
        model, image, PROMPT, answer="Yes", target="Yes", regions=REGIONS, search="auto"
    )
    assert found.options == {"search": "exact", "chosen_by": "auto"}
    assert "exact, chosen by auto\n" in found.summary()
    assert found.values.shape == (1, 4)
    # The values add up to what the image adds.
    rise = found.deletion[0] - found.insertion[0]
    np.testing.assert_allclose(found.values.sum(1), rise, atol=1e-5)


def backwards(problem):
    """The regions from the last to the first."""
    order = np.arange(problem.regions, dtype=np.int32)[::-1]
    sets = prefixes(order)
    return Solution(Curves(order, *np.split((yield Round(np.concatenate([sets, ~sets]))), 2)))


def test_a_search_of_ones_own_needs_no_table(case):
    found = eagle_jax.explain(case, search=backwards)
    assert found.options == {"search": "backwards"} and found.search == "backwards"
    np.testing.assert_array_equal(found.order, np.arange(16)[::-1])
    (result,) = find_orders([case.scorer], backwards)
    assert result.search == "backwards" and result.forwards == found.forwards == 2 * 17
    np.testing.assert_array_equal(result.curves.insertion, found.insertion)


def test_another_fill_is_searched_with_and_recorded(model, image):
    arguments = dict(answer="Yes, a cat.", regions=REGIONS)
    blurred = eagle_jax.explain(model, image, PROMPT, **arguments, fill="blur")
    case = eagle_jax.ask(model, image, PROMPT, **arguments, fill="blur")
    assert same(eagle_jax.explain(case), blurred) and blurred.fill == "blur"
    own = eagle_jax.explain(model, image, PROMPT, **arguments, fill=image[::-1].copy())
    np.testing.assert_array_equal(own.fill, image[::-1])
    black = eagle_jax.explain(model, image, PROMPT, **arguments)
    assert black.fill == "black"
    assert not np.array_equal(black.insertion[0], blurred.insertion[0])


def test_leading_regions_and_a_restored_score_end_the_exact_search(case):
    exact = eagle_jax.explain(case, search="exact")
    leading = eagle_jax.explain(case, top_k=3)
    np.testing.assert_array_equal(leading.order, exact.order[:3])
    np.testing.assert_array_equal(leading.insertion, exact.insertion[:4])
    shown = exact.insertion.mean(1)
    share = shown[5] / shown[-1]
    enough = 1 + np.flatnonzero(shown[1:] >= share * shown[-1] * (1 - 1e-6))[0]
    stopped = eagle_jax.explain(case, stop=float(share) * (1 - 1e-6))
    np.testing.assert_array_equal(stopped.order, exact.order[:enough])


def test_an_interrupt_returns_what_was_found_and_says_so(case, monkeypatch):
    scored = []

    def interrupt(self, visible):
        scored.append(len(visible))
        if len(scored) == 3:
            signal.raise_signal(signal.SIGINT)
        return score(self, visible)

    kind = type(case.scorer)
    score = kind.__call__
    monkeypatch.setattr(kind, "__call__", interrupt)
    found = eagle_jax.explain(case)
    assert scored == [2, 32, 30] and found.order.size == 2
    ended = {"search": "exact", "chosen_by": "auto", "ended": "interrupt"}
    assert found.options == ended
    assert "cut short by an interrupt after 2 of 16 regions" in found.summary()
