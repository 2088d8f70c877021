"""Several images through one program: their searches share the batches of every step."""

from collections.abc import Hashable, Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float32

from eagle_jax.models.checkpoints.sharding import mesh_of
from eagle_jax.scoring.question import kind_of, stack_questions
from eagle_jax.scoring.scorer import MaskedImageScorer, best_region


def lockstep_kind(scorer: MaskedImageScorer) -> Hashable:
    """What two scorers of one model must have in common to go in lockstep."""
    width = scorer.padded(np.zeros(scorer.regions, bool)).size
    return kind_of(scorer.question), width, scorer.batch_size


class Lockstep:
    """Greedy steps of several searches at once.

    Late in a search few candidates are left and a batch is no longer full; with several
    images it is filled with the candidates of the others.

    Attributes:
      scorers: the scorers, in the order in which they were given.
    """

    def __init__(self, scorers: Sequence[MaskedImageScorer], room: int | None = None):
        """Stacks the questions of some scorers.

        Args:
          scorers: of one model and one kind, see `lockstep_kind`; at least one.
          room: number of images the program is compiled for, so that a smaller last group
            needs no program of its own; None for as many as there are.
        """
        self.scorers = tuple(scorers)
        spare = 0 if room is None else room - len(self.scorers)
        questions = [scorer.question for scorer in self.scorers]
        self._questions = stack_questions(questions + questions[:1] * spare)
        self._spare = spare

    def step(
        self,
        chosen: Sequence[Bool[np.ndarray, "_"]],
        insight_weight: float,
        necessity_weight: float,
    ) -> list[tuple[int, Float32[np.ndarray, "_"], Float32[np.ndarray, "_"]] | None]:
        """Finds for each image the region whose addition raises F most.

        Args:
          chosen: for each image the regions taken so far, shape (regions,).
          insight_weight: lambda 1.
          necessity_weight: lambda 2.

        Returns:
          For each image what `MaskedImageScorer.step` returns; None where all are taken.
        """
        first = self.scorers[0]
        pairs = list(zip(self.scorers, chosen, strict=True))
        taken = np.stack([scorer.padded(one) for scorer, one in pairs])
        left = np.stack([scorer.padded(~one) for scorer, one in pairs])
        taken, left = (np.pad(sets, ((0, self._spare), (0, 0))) for sets in (taken, left))
        found = jax.device_get(
            best_region(
                first.network,
                self._questions,
                taken,
                left,
                np.float32(insight_weight),
                np.float32(necessity_weight),
                batch_size=first.batch_size,
                mesh=mesh_of(first.network),
            )
        )
        steps = []
        for (scorer, one), region, inserted, removed in zip(pairs, *found, strict=False):
            targets = len(scorer.tokens)
            step = int(region), inserted[:targets], removed[:targets]
            steps.append(None if one.all() else step)
        return steps
