"""A loaded model, asked with parts of a picture hidden: probabilities and answers.

For `search` and everything above it. Read `set_function` first, the heart: sets of visible
regions to probabilities, as pure functions. `case` is the one way to ask, `scorer` the set
function as an object, `answers` what a model says, `model` how one is loaded.
"""

from eagle_jax.scoring.case import Case as Case
from eagle_jax.scoring.case import ask as ask
from eagle_jax.scoring.model import Model as Model
from eagle_jax.scoring.model import load as load
from eagle_jax.scoring.scorer import Scorer as Scorer
from eagle_jax.scoring.set_function import score as score
