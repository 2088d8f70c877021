"""Estimates as conversations: generators that ask for scores of sets."""

import numpy as np
from jaxtyping import Float64

from eagle_jax.search.conversations import Conversation as Conversation

# Yields sets of visible regions, is sent their scores, returns the importance of each region.
Estimate = Conversation[Float64[np.ndarray, "n"]]
