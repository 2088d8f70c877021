"""Trials of the planted shortcut: what differs between their images, and what does not."""

import numpy as np
from trials import draw_trials


def test_trials_differ_in_one_object_and_in_the_sign():
    trials = draw_trials(4)
    for trial in trials:
        changed = (trial.without != trial.added).any(axis=-1)
        assert trial.object.any() and not (trial.object & ~changed).any()
        signed = (trial.image(True) != trial.added).any(axis=-1)
        assert not (signed & changed).any()
        assert signed[trial.sign_mask].mean() > 0.9
        assert not (
            trial.sign_mask & (trial.image(True, moved=True) != trial.added).any(-1)
        ).any()
    again = draw_trials(1)[0]
    np.testing.assert_array_equal(again.added, trials[0].added)
