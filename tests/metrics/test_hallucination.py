"""Minimal corrections: parsers, the scan by hand and against a loop, both denominators."""

import numpy as np
import pytest

from eagle_jax.metrics.hallucination import (
    average_minimal_correction,
    correction_success_rate,
    minimal_correction,
    published_yes_or_no,
    right_answers,
    yes_or_no,
)

AREA = np.array([0, 0.25, 0.5, 0.75, 1], np.float32)


@pytest.mark.parametrize(
    "text, says, published",
    [
        ("Yes", "Yes", "Yes"),
        ("No, there is no cat.", "No", "No"),
        ("yes.", "Yes", None),
        ("NO", "No", None),
        (" No", "No", None),
        ('"Yes," it says', "Yes", None),
        ("**No**, there is none", "No", None),
        ("_No_ cat", "No", None),
        ("> - `yes`", "Yes", None),
        ("No\u2014there is none", "No", "No"),
        ("Yes-", "Yes", "Yes"),
        ("Not at all", None, "No"),
        ("None of them", None, "No"),
        ("Nobody", None, "No"),
        ("No-one is there", None, "No"),
        ("No1", None, "No"),
        ("Yesterday", None, "Yes"),
        ("There is no cat", None, None),
        ("The answer is Yes", None, None),
        ("\u00e9No", None, None),
        ("", None, None),
        ("**", None, None),
        ("<think>\n\n</think>\n\nYes", "Yes", None),
        ("<think>No, wait: there is one.</think>**Yes**", "Yes", None),
        ("It may be yes.\n</think>\n\nNo.", "No", None),
        ("\n<think></think><think>Yes</think> no", "No", None),
        ("<thinking>Yes</thinking>\n<answer>No</answer>", "No", None),
        ("<answer> Yes </answer>", "Yes", None),
        ("\u25c1think\u25b7Yes\u25c1/think\u25b7No", "No", None),
        ("<think>Yes, there is", None, None),
        ("<think>a</think>\n<think>Yes", None, None),
        ("<think></think>", None, None),
    ],
)
def test_what_an_answer_says(text, says, published):
    assert yes_or_no(text) == says
    assert published_yes_or_no(text) == published


def test_answers_not_asked_for_are_not_right():
    answers = (None, "no", "Not sure", "No", "Yes")
    assert right_answers(answers, "No").tolist() == [False, True, False, True, False]
    published = right_answers(answers, "No", published=True)
    assert published.tolist() == [False, False, True, True, False]


def test_the_scan_starts_at_the_full_image():
    def correction(*right, **options):
        return minimal_correction(AREA, np.array(right, bool), **options)

    assert correction(0, 1, 1, 0, 0) == 0.5, "the largest prefix that is right"
    assert correction(0, 0, 0, 0, 1) == 0, "the full image already"
    assert correction(1, 1, 1, 1, 1) == 0
    assert np.isnan(correction(0, 0, 0, 0, 0))


def test_the_published_scan_never_sees_the_blank_image():
    right = np.array([1, 0, 0, 0, 0], bool)
    assert minimal_correction(AREA, right) == 1
    assert np.isnan(minimal_correction(AREA, right, blank=False))
    right = np.array([1, 0, 1, 0, 0], bool)
    assert minimal_correction(AREA, right, blank=False) == 0.5


@pytest.mark.parametrize("blank", [True, False])
def test_corrections_equal_a_loop(blank):
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = rng.integers(1, 9)
        area = np.append(0, np.cumsum(rng.dirichlet(np.ones(n))))
        right = rng.random(n + 1) < 0.2
        expected = np.nan
        for k in range(n, -1 if blank else 0, -1):
            if right[k]:
                expected = 1 - area[k]
                break
        np.testing.assert_equal(minimal_correction(area, right, blank), expected)


def test_both_denominators_by_hand():
    corrections = np.array([0.0, 0.05, 0.3, np.nan, np.nan])
    assert average_minimal_correction(corrections) == pytest.approx((0.05 + 0.3 + 2) / 5)
    assert correction_success_rate(corrections) == 2 / 5
    assert correction_success_rate(corrections, published=True) == 2 / 3
    assert correction_success_rate(corrections, budget=0.3) == 3 / 5


def test_published_rates_need_the_published_denominator():
    # 156 of 194 is a published rate; items that never turn right do not change it.
    corrections = np.concatenate([np.full(156, 0.1), np.full(38, 0.2), np.full(55, np.nan)])
    assert correction_success_rate(corrections, published=True) == 156 / 194
    assert correction_success_rate(corrections) == 156 / 249


def test_a_tenth_in_float32_is_a_tenth():
    area = np.array([0, 0.9, 1], np.float32)
    correction = np.array([minimal_correction(area, np.array([False, True, False]))])
    assert correction[0] > 0.1
    assert correction_success_rate(correction) == 1
    assert correction_success_rate(correction, published=True) == 0


def test_no_items():
    assert np.isnan(average_minimal_correction(np.array([])))
    assert np.isnan(correction_success_rate(np.array([])))
    only = np.array([np.nan])
    assert average_minimal_correction(only) == 1
    assert correction_success_rate(only) == 0
    assert np.isnan(correction_success_rate(only, published=True))
