"""The methods EAGLE is compared with, on one footing.

For everything above `results`. Read `methods` first, the table; `ranking` runs them. Those that
need probabilities alone ask for scores of sets of regions (`occlusion`, `rise`, `surrogates`)
and take any scorer; the others look into the network through `eagle_jax.scoring.gradients` and
make a map (`maps`).
"""

from eagle_jax.baselines.methods import METHODS as METHODS
from eagle_jax.baselines.methods import Method as Method
from eagle_jax.baselines.methods import methods as methods
from eagle_jax.baselines.ranking import Ranking as Ranking
from eagle_jax.baselines.ranking import rank_regions as rank_regions
