"""What the decoder's attention says: rolled out, or weighed by its gradient."""

import jax
import numpy as np

from eagle_jax.baselines.maps import Heat, frames_of, grids, painted
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.gradients import (
    attention_relevance,
    require_gradients,
    rolled_out_attention,
    whole_patches,
)


def rollout(case: Case) -> Heat:
    """Attention rollout through the decoder, from the targets' rows to the visual tokens.

    Args:
      case: what is explained.

    References:
      Abnar and Zuidema, arXiv 2005.00928.
    """
    tokens = _rollout(case.model.network, case.question.padded)
    return Heat(_painted(case, tokens), 1, 0)


def relevance(case: Case) -> Heat:
    """Gradient-weighted attention relevance through the decoder; one backward per target.

    Args:
      case: what is explained.

    Raises:
      InputError: the weights are int8.

    References:
      Chefer et al., arXiv 2103.15679.
    """
    require_gradients(case.model.network)
    tokens = _relevance(case.model.network, case.question.padded)
    return Heat(_painted(case, tokens), 1, len(case.positions))


def _painted(case: Case, tokens: jax.Array) -> np.ndarray:
    merge = case.question.plan.merge_size
    return painted(case, grids(frames_of(case), np.asarray(tokens), merge))


@jax.jit
def _rollout(network, question):
    return rolled_out_attention(network, question, whole_patches(question))


@jax.jit
def _relevance(network, question):
    return attention_relevance(network, question, whole_patches(question))
