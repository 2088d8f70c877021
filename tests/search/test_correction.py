"""Corrections by bisection: what a scan finds, with fewer answers."""

import numpy as np
import pytest

from eagle_jax.search.correction import correct_by_bisection, correct_by_scan
from eagle_jax.search.sets import prefixes


def test_prefixes_follow_the_order():
    expected = [[0, 0, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1]]
    assert prefixes(np.array([2, 0, 1])).astype(int).tolist() == expected


def _answers(right, asked):
    """An `ask` that says Yes where the number of visible regions is in `right`."""

    def ask(visible):
        asked.extend(visible.sum(axis=1).tolist())
        return ["Yes" if count in right else "No" for count in visible.sum(axis=1)]

    return ask


@pytest.mark.parametrize("turn", [*range(0, 16), 16])
def test_bisection_finds_the_turn_of_monotone_answers(turn):
    order = np.random.default_rng(turn).permutation(16)
    right, asked = set(range(2, turn + 1)), []
    curve = np.where(np.isin(np.arange(17), list(right)), 0.9, 0.2)
    curve[2] = 0.95  # the most promising prefix is far from the turn
    scan = correct_by_scan(_answers(right, []), order)
    found = correct_by_bisection(_answers(right, asked), order, "Yes".__eq__, curve)
    assert len(asked) <= 2 + 4 and len(set(asked)) == len(asked)
    assert all(text in (None, full) for text, full in zip(found, scan, strict=True))
    most = [max((k for k, a in enumerate(s) if a == "Yes"), default=-1) for s in (scan, found)]
    assert most[0] == most[1]


def test_bisection_never_removes_less_than_a_scan():
    rng = np.random.default_rng(0)
    for _ in range(50):
        right = set(np.flatnonzero(rng.random(13) < 0.5).tolist())
        found = correct_by_bisection(
            _answers(right, []), np.arange(13), "Yes".__eq__, rng.random(14)
        )
        if kept := [k for k, text in enumerate(found) if text == "Yes"]:
            assert max(kept) <= max(right)
