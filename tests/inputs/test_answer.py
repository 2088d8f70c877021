import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_tokenizer import SPECIAL_TOKENS, save_small_tokenizer

from eagle_jax.errors import InputError
from eagle_jax.inputs.answer import (
    Place,
    answer_position,
    decode_answer,
    encode_answer,
    find_target,
    find_target_ids,
    token_texts,
)
from eagle_jax.inputs.prompt import load_tokenizer

ANSWER = "A blue Category: there is a Cat and a zebra crossing."


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_small_tokenizer(folder)
    return load_tokenizer(folder, 0)


def marked(tokenizer, answer, target):
    ids = encode_answer(tokenizer, answer)
    texts = token_texts(tokenizer, ids)
    return [texts[i] for i in find_target(tokenizer, ids, target)]


def test_a_text_answer_ends_the_turn(tokenizer):
    ids = encode_answer(tokenizer, "Yes, there is a red cat.")
    assert ids.dtype == np.int32
    assert ids[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert tokenizer.decode(ids) == "Yes, there is a red cat.<|im_end|>"
    assert decode_answer(tokenizer, ids) == "Yes, there is a red cat."


def test_answer_ids_are_taken_as_given(tokenizer):
    assert encode_answer(tokenizer, [5, 3]).tolist() == [5, 3]
    assert encode_answer(tokenizer, np.array([5, 3])).tolist() == [5, 3]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ([], "empty"),
        ("Yes<|im_end|>", "special token"),
        ([3, -1], "id -1"),
        ([10**9], "id 1000000000"),
        (np.array([1.5]), "whole numbers"),
        ([True], "whole number"),
    ],
)
def test_unusable_answers_are_refused(tokenizer, answer, message):
    with pytest.raises(InputError, match=message):
        encode_answer(tokenizer, answer)


def test_token_texts_show_blanks_and_specials(tokenizer):
    ids = encode_answer(tokenizer, "Yes, there is a cat.")
    assert token_texts(tokenizer, ids) == (
        *("Yes", ",", " there", " is", " a", " cat", ".", "<|im_end|>"),
    )


@given(text=st.text(min_size=1).filter(str.strip))
def test_token_texts_join_to_the_answer_wherever_bytes_allow(tokenizer, text):
    if any(name in text for name in SPECIAL_TOKENS):
        return
    ids = encode_answer(tokenizer, text)
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids)
    joined = "".join(texts)
    whole = tokenizer.decode(ids)
    if "\N{REPLACEMENT CHARACTER}" not in joined:
        assert joined == whole
    if text.isascii():
        assert joined == whole
    assert joined.replace("\N{REPLACEMENT CHARACTER}", "") == "".join(
        c for c in whole if c in joined and c != "\N{REPLACEMENT CHARACTER}"
    )


def test_the_parts_of_a_split_character_show_as_replacement(tokenizer):
    ids = encode_answer(tokenizer, "a \N{SNOWMAN}!")
    texts = token_texts(tokenizer, ids)
    assert texts[-2:] == ("!", "<|im_end|>")
    assert "\N{REPLACEMENT CHARACTER}" in texts
    target = find_target(tokenizer, ids, "\N{SNOWMAN}")
    assert tokenizer.decode(ids[target]).strip() == "\N{SNOWMAN}"


@pytest.mark.parametrize(
    ("target", "tokens"),
    [
        ("Cat", " Cat"),  # the whole word, not the start of "Category"
        ("cat", " Cat"),
        ("blue", " blue"),
        ("a", " a"),
        ("A", "A"),
        ("zebra crossing", "zebra crossing"),
        (" zebra ", "zebra"),
        ("zebra\ncrossing", "zebra crossing"),
        ("egory", " Category"),
        (".", "."),
        ("<|im_end|>", "<|im_end|>"),
    ],
)
def test_a_text_target_marks_the_tokens_it_overlaps(tokenizer, target, tokens):
    assert "".join(marked(tokenizer, ANSWER, target)) == tokens


def test_a_word_of_several_tokens_is_marked_whole(tokenizer):
    assert len(marked(tokenizer, ANSWER, "zebra")) > 1


def test_the_default_target_is_the_whole_answer(tokenizer):
    ids = encode_answer(tokenizer, ANSWER)
    target = find_target(tokenizer, ids, None)
    assert target.dtype == np.int32
    assert target.tolist() == list(range(len(ids)))


def test_positions_keep_their_order(tokenizer):
    ids = encode_answer(tokenizer, ANSWER)
    assert find_target(tokenizer, ids, [3, 0]).tolist() == [3, 0]
    assert find_target(tokenizer, ids, np.array([2])).tolist() == [2]


@pytest.mark.parametrize(
    "target", ["dog", "", " ", "im_end", [], [99], [-1], [1, 1], [True], np.array([[0]])]
)
def test_unusable_targets_are_refused(tokenizer, target):
    ids = encode_answer(tokenizer, "Yes, a cat.")
    with pytest.raises(InputError) as caught:
        find_target(tokenizer, ids, target)
    if "whole numbers" not in str(caught.value):
        assert "0 'Yes', 1 ',', 2 ' a', 3 ' cat', 4 '.', 5 '<|im_end|>'" in str(caught.value)
    assert "\n" not in str(caught.value)


def replace(tokenizer, answer, target, target_ids):
    ids = encode_answer(tokenizer, answer)
    found = find_target_ids(tokenizer, ids, find_target(tokenizer, ids, target), target_ids)
    assert found.dtype == np.int32
    return tokenizer.convert_ids_to_tokens(found)


def test_counterfactual_words_take_the_place_of_the_answers_tokens(tokenizer):
    assert replace(tokenizer, "Yes, a cat.", "Yes", "No") == ["No"]
    assert replace(tokenizer, "Yes, a cat.", "cat", "dog") == ["Ġdog"]
    assert replace(tokenizer, "Yes, a cat.", "cat", ["dog"]) == ["Ġdog"]
    assert replace(tokenizer, "Yes, a cat.", "cat", " dog") == ["Ġdog"]
    assert replace(tokenizer, "Yes, a cat.", [0, 3], ["No", "dog"]) == ["No", "Ġdog"]
    assert replace(tokenizer, "Yes, a cat.", ".", "<|im_end|>") == ["<|im_end|>"]
    assert replace(tokenizer, "Yes, a cat.", ".", "!") == ["!"]


def test_counterfactual_ids_are_taken_as_given(tokenizer):
    assert replace(tokenizer, "Yes, a cat.", "cat", None) == ["Ġcat"]
    assert replace(tokenizer, "Yes, a cat.", "cat", [tokenizer.vocab["No"]]) == ["No"]
    assert replace(tokenizer, "Yes, a cat.", "cat", np.array([tokenizer.vocab["No"]])) == ["No"]


@pytest.mark.parametrize(
    ("target", "target_ids", "message"),
    [
        ([0, 1], "No", "1 entries for 2"),
        ([0], [1, 2], "2 entries for 1"),
        ([0], [], "0 entries for 1"),
        ([0], "zebra", "'zebra' is not a single token in place of 'Yes'"),
        ([0], "", "not a single token"),
        ([0], [-1], "id -1"),
        ([0], [10**9], "id 1000000000"),
        ([0], np.array([1.5]), "whole numbers"),
    ],
)
def test_unusable_target_ids_are_refused(tokenizer, target, target_ids, message):
    with pytest.raises(InputError, match=message):
        replace(tokenizer, "Yes, a cat.", target, target_ids)


THOUGHT = "There is a cat. Yes </think>\n\nYes, a Cat."


@pytest.mark.parametrize(
    ("answer", "thinking", "before"),
    [
        ("Yes, a cat.", False, ""),
        (" No", False, ""),
        ("<think>\n\n</think>\n\nYes", False, "<think>\n\n</think>\n\n"),
        ("<think>No.</think>Yes", False, "<think>No.</think>"),
        (THOUGHT, True, "There is a cat. Yes </think>\n\n"),
        (THOUGHT, False, "There is a cat. Yes </think>\n\n"),
        ("a</think><answer>Yes</answer>", True, "a</think><answer>"),
        ("<think>There is", False, None),
        ("There is a cat.", True, None),
    ],
)
def test_the_answer_begins_behind_the_thought(tokenizer, answer, thinking, before):
    ids = encode_answer(tokenizer, answer)
    position = answer_position(tokenizer, ids, thinking)
    assert (None if position is None else tokenizer.decode(ids[:position])) == before
    if position is None:
        for target in ("cat", Place.FIRST):
            with pytest.raises(InputError, match="ends inside its thought, after .* tokens"):
                find_target(tokenizer, ids, target, thinking)
    else:
        assert find_target(tokenizer, ids, Place.FIRST, thinking).tolist() == [position]
    assert len(find_target(tokenizer, ids, None, thinking)) == len(ids)
    assert find_target(tokenizer, ids, [0], thinking).tolist() == [0]


def test_a_word_is_looked_for_behind_the_thought(tokenizer):
    ids = encode_answer(tokenizer, THOUGHT)
    for target in ("Yes", "cat", "Cat"):
        found = find_target(tokenizer, ids, target, thinking=True)
        assert "</think>" in tokenizer.decode(ids[: found[0]])
    with pytest.raises(InputError, match="'There' is not in the answer"):
        find_target(tokenizer, ids, "There", thinking=True)


def test_marks_of_a_thought_are_text_even_where_they_are_special(tmp_path):
    save_small_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path, 0)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]})
    ids = encode_answer(tokenizer, "<think>a</think>Yes")
    assert decode_answer(tokenizer, ids) == "<think>a</think>Yes"
    assert answer_position(tokenizer, ids) == 3
