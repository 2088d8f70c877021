"""Tokens that spell a character together, against tokens cut at random."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagle_jax.reports.characters import whole_characters

PART = "\ufffd"


def decoded(text: str, sizes: list[int]) -> tuple[str, ...]:
    """The bytes of a text, cut into tokens of some sizes, each decoded alone."""
    data, tokens = text.encode(), []
    for size in sizes:
        if data:
            tokens.append(data[:size].decode("utf-8", "replace"))
            data = data[size:]
    return (*tokens, data.decode("utf-8", "replace")) if data else tuple(tokens)


def test_an_emoji_is_one_group():
    tokens = ("A", " " + PART, PART, PART, " kite", ".", "<|im_end|>")
    assert whole_characters(tokens, "A \U0001f600 kite.") == [
        ((0,), "A"),
        ((1, 2, 3), " \U0001f600"),
        ((4,), " kite"),
        ((5,), "."),
        ((6,), "<|im_end|>"),
    ]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1] * 9, [(0, 1, 2), (3, 4, 5), (6, 7, 8)]),
        ([2, 1, 2, 1, 2, 1], [(0, 1), (2, 3), (4, 5)]),
        # Both tokens in the middle hold parts of two characters.
        ([2, 2, 3, 2], [(0, 1, 2, 3)]),
    ],
)
def test_neighbours_are_apart_where_a_token_ends_with_a_character(sizes, expected):
    text = "\u9f98\u9750\u9f49"
    groups = whole_characters(decoded(text, sizes), text)
    assert [positions for positions, _ in groups] == expected
    assert "".join(spelt for _, spelt in groups) == text


def test_an_answer_that_ends_within_a_character_keeps_its_mark():
    groups = whole_characters(("No", " " + PART, PART), "No \ufffd")
    assert groups == [((0,), "No"), ((1, 2), " \ufffd")]
    assert whole_characters((PART,), "") == [((0,), PART)]


@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters=PART), max_size=12),
    sizes=st.lists(st.integers(1, 5), max_size=12),
)
def test_groups_hold_every_token_once_and_spell_whole_characters(text, sizes):
    tokens = decoded(text, sizes)
    groups = whole_characters(tokens, text)
    assert [p for positions, _ in groups for p in positions] == list(range(len(tokens)))
    assert all(PART not in spelt for _, spelt in groups)
    intact = [spelt for positions, spelt in groups if len(positions) == 1]
    assert all(spelt in text for spelt in intact)
