"""Several images through one program: the sets of all of them share its batches."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float32

from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.question import kind_of, stack_questions
from eagle_jax.scoring.reuse import reuses
from eagle_jax.scoring.scorer import MaskedImageScorer, Scorer, padded_regions


def lockstep_kind(scorer: MaskedImageScorer) -> Hashable:
    """What two scorers of one model must have in common to share batches."""
    return kind_of(scorer.question.padded), padded_regions(scorer.regions), scorer.batch_size


class Lockstep:
    """Scores sets of several images at once.

    Late in a search few sets are left to ask for and a batch is no longer full; with several
    images it is filled with the sets of the others. Scorers of other kinds, or that are no
    `MaskedImageScorer`, are simply asked one after the other, and so are those that reuse what
    sets of one image share: that is worth more than a full batch.
    """

    def __init__(self, scorers: Sequence[Scorer], together: int | None = None):
        """Stacks the questions of scorers that can share batches.

        Args:
          scorers: of one model; at least one.
          together: number of images the program is compiled for, so that a smaller last group
            needs no program of its own; None for as many as there are.
        """
        self._scorers = tuple(scorers)
        self._masked = [one for one in scorers if isinstance(one, MaskedImageScorer)]
        kinds = set(map(lockstep_kind, self._masked))
        alike = len(self._masked) == len(scorers) and len(kinds) == 1
        apart = any(reuses(one.network, one.question.plan) for one in self._masked)
        self._shared = alike and not apart and max(len(scorers), together or 1) > 1
        if self._shared:
            questions = [scorer.question.padded for scorer in self._masked]
            self._together = max(len(questions), together or 0)
            spare = self._together - len(questions)
            self._questions = stack_questions(questions + questions[:1] * spare)

    def __call__(
        self, sets: Mapping[int, Bool[np.ndarray, "_ _"]]
    ) -> dict[int, Float32[np.ndarray, "_ _"]]:
        """Scores some sets of some of the images.

        Args:
          sets: for numbers of scorers, one row per masked image, True for a visible region.

        Returns:
          The target probabilities, for the same numbers.
        """
        if not self._shared:
            scores = {i: self._scorers[i](one) for i, one in sets.items()}
            return {i: np.asarray(one, np.float32) for i, one in scores.items()}
        first = self._masked[0]
        width = padded_regions(first.regions)
        capacity = 2 * width * self._together
        rows = np.concatenate(
            [np.pad(one, ((0, 0), (0, width - one.shape[1]))) for one in sets.values()]
        )
        which = np.repeat([*sets], [len(one) for one in sets.values()])
        scores = []
        for start in range(0, len(rows), capacity):
            part = slice(start, start + capacity)
            spare = (0, capacity - len(rows[part]))
            found = score_sets(
                first.network,
                self._questions,
                np.pad(rows[part], (spare, (0, 0))),
                np.int32(len(rows[part])),
                np.pad(which[part], spare).astype(np.int32),
                batch_size=first.batch_size,
                mesh=mesh_of(first.network),
            )
            scores.append(np.asarray(found)[: len(rows[part])])
        scores = np.concatenate(scores)
        return {i: scores[which == i][:, : len(self._masked[i].tokens)] for i in sets}
