"""Several images through one program, whose batches hold sets of all of them."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float32

from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.scoring.batches import score_sets
from eagle_jax.scoring.question import kind_of, stack_questions
from eagle_jax.scoring.reuse import reuses
from eagle_jax.scoring.scorer import (
    MaskedImageScorer,
    Scorer,
    finite,
    padded_regions,
    padded_sets,
)


def lockstep_kind(scorer: MaskedImageScorer) -> Hashable:
    """What two scorers of one model must have in common to share batches."""
    return kind_of(scorer.question.padded), padded_regions(scorer.regions), scorer.batch_size


class Lockstep:
    """Scores sets of several images in the same batches.

    Late in a search an image has few sets left to score, which fill a batch only together with
    sets of other images. Scorers that are not a `MaskedImageScorer`, or of different kinds, are
    called one after the other instead. So are scorers that reuse what the sets of one image
    share, which saves more than full batches do.
    """

    def __init__(self, scorers: Sequence[Scorer], together: int | None = None):
        """Stacks the questions of scorers that can share batches.

        Args:
          scorers: scorers of one model; at least one.
          together: number of images that the program is compiled for, so that a smaller last
            group needs no program of its own; None for the number of scorers.
        """
        self._scorers = tuple(scorers)
        self._masked = [scorer for scorer in scorers if isinstance(scorer, MaskedImageScorer)]
        kinds = set(map(lockstep_kind, self._masked))
        alike = len(self._masked) == len(scorers) and len(kinds) == 1
        chained = any(reuses(scorer.network, scorer.question.plan) for scorer in self._masked)
        self._shared = alike and not chained and max(len(scorers), together or 1) > 1
        if self._shared:
            questions = [scorer.question.padded for scorer in self._masked]
            self._together = max(len(questions), together or 0)
            spare = self._together - len(questions)
            self._questions = stack_questions(questions + questions[:1] * spare)

    def __call__(
        self, sets: Mapping[int, Bool[np.ndarray, "_ _"]]
    ) -> dict[int, Float32[np.ndarray, "_ _"]]:
        """Scores sets of some of the images.

        Args:
          sets: for the number of each of these scorers its sets, one row per masked image, True
            for a visible region.

        Returns:
          The target probabilities, for the same numbers.

        Raises:
          InputError: a probability is not finite.
        """
        if not self._shared:
            return {i: np.asarray(self._scorers[i](sets[i]), np.float32) for i in sets}
        first = self._masked[0]
        capacity = 2 * padded_regions(first.regions) * self._together
        rows = np.concatenate([padded_sets(image_sets) for image_sets in sets.values()])
        which = np.repeat([*sets], [len(image_sets) for image_sets in sets.values()])
        chunks = []
        for start in range(0, len(rows), capacity):
            chunk = slice(start, start + capacity)
            count = len(rows[chunk])
            scores = score_sets(
                first.network,
                self._questions,
                padded_sets(rows[chunk], capacity),
                np.int32(count),
                np.pad(which[chunk], (0, capacity - count)).astype(np.int32),
                batch_size=first.batch_size,
                mesh=mesh_of(first.network),
            )
            chunks.append(np.asarray(scores)[:count])
        scores = np.concatenate(chunks)
        columns = {i: len(self._masked[i].tokens) for i in sets}
        return {
            i: finite(
                scores[which == i][:, : columns[i]],
                sets[i],
                first.network,
                self._masked[i].question,
            )
            for i in sets
        }
