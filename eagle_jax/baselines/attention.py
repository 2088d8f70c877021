"""Maps of the decoder's attention: attention rollout, and gradient-weighted relevance."""

import jax
import numpy as np

from eagle_jax.baselines.maps import Heat, frames_of, grids, painted
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.gradients import (
    attention_relevance,
    require_gradients,
    rolled_out_attention,
)


def rollout(case: Case) -> Heat:
    """Attention rollout through the decoder, from the rows of the targets to the visual tokens.

    Args:
      case: the case to explain.

    References:
      Abnar and Zuidema, arXiv 2005.00928.
    """
    tokens = rolled_out_attention(case.model.network, case.question.padded)
    return Heat(_painted(case, tokens), 1, 0)


def relevance(case: Case) -> Heat:
    """Gradient-weighted attention relevance through the decoder; one backward pass per target.

    Args:
      case: the case to explain.

    Raises:
      InputError: the weights are int8.

    References:
      Chefer et al., arXiv 2103.15679.
    """
    require_gradients(case.model.network)
    tokens = attention_relevance(case.model.network, case.question.padded)
    return Heat(_painted(case, tokens), 1, len(case.positions))


def _painted(case: Case, tokens: jax.Array) -> np.ndarray:
    merge = case.question.plan.merge_size
    return painted(case, grids(frames_of(case), np.asarray(tokens), merge))
