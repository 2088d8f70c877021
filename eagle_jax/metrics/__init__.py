"""Numbers that say how good an attribution is; functions of arrays, without files or models.

For every room. Read `faithfulness` first: areas under the curves. `localisation` holds maps
against boxes and masks, `hallucination` is about wrong answers and the regions behind them,
`reliance` and `word_classes` about picture and language, `statistics` about many pictures.
"""

from eagle_jax.metrics.faithfulness import deletion_auc as deletion_auc
from eagle_jax.metrics.faithfulness import highest_confidence as highest_confidence
from eagle_jax.metrics.faithfulness import insertion_auc as insertion_auc
from eagle_jax.metrics.hallucination import minimal_correction as minimal_correction
from eagle_jax.metrics.localisation import pointing_game as pointing_game
from eagle_jax.metrics.reliance import token_reliance as token_reliance
