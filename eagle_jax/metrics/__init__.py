"""Measures of how good an attribution is, as functions of arrays, without files or models.

For every room. Read `faithfulness` first: areas under the insertion and deletion curves.
`localisation` compares a map with boxes and object masks, `hallucination` measures corrections
of wrong answers, `reliance` and `word_classes` compare the image with the language prior, and
`statistics` averages over many images.
"""

from eagle_jax.metrics.faithfulness import deletion_auc as deletion_auc
from eagle_jax.metrics.faithfulness import highest_confidence as highest_confidence
from eagle_jax.metrics.faithfulness import insertion_auc as insertion_auc
from eagle_jax.metrics.hallucination import minimal_correction as minimal_correction
from eagle_jax.metrics.localisation import pointing_game as pointing_game
from eagle_jax.metrics.reliance import token_reliance as token_reliance
