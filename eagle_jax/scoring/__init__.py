"""A loaded model, and the set function that scores masked images.

Used by `search` and everything above. Read `set_function` first: pure functions from sets of
visible regions to probabilities. `case` asks a question, `scorer` is the set function as an
object, `batches` its compiled program, `answers` lets the model answer, `model` loads one, and
`conversion` writes a checkpoint that loads faster.
"""

from eagle_jax.scoring.case import Case as Case
from eagle_jax.scoring.case import ask as ask
from eagle_jax.scoring.model import Model as Model
from eagle_jax.scoring.model import load as load
from eagle_jax.scoring.scorer import Scorer as Scorer
from eagle_jax.scoring.set_function import score as score
