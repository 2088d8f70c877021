"""Several methods on one list, judged alike: same targets, same partition, same fill.

Used by the command `compare` and by `eagle_jax.compare_methods`. Read `comparing` first: it
runs the methods. `judging` inserts and deletes regions in the order of each explanation, and
`columns` makes means and paired differences.
"""

from eagle_jax.comparison.columns import Column as Column
from eagle_jax.comparison.columns import Cost as Cost
from eagle_jax.comparison.comparing import Comparison as Comparison
from eagle_jax.comparison.comparing import compare_methods as compare_methods
from eagle_jax.comparison.judging import GRANULARITIES as GRANULARITIES
from eagle_jax.comparison.judging import Perturbation as Perturbation
from eagle_jax.comparison.judging import judge as judge
