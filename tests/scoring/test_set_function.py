"""The pure functions: what JAX's transformations make of them, and how soft masks differ."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import questions

from eagle_jax.errors import InputError
from eagle_jax.inputs.patches import masked_patches, soft_patches
from eagle_jax.scoring.model import load
from eagle_jax.scoring.set_function import log_score, log_score_patches, score

REGIONS = 5
# Multiples of a token's 28 pixels are not resized, others are.
PLAIN, RESIZED = (56, 84), (60, 78)
# Unoptimised machine code for the same arithmetic: these programs run once or twice.
