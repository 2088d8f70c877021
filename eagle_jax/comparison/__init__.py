"""Several methods on one list, judged alike: same targets, same partition, same fill.

For the commands and the package's face. `comparing` runs the methods, `judging` inserts and
deletes along what each found, `columns` makes means and differences of it.
"""

from eagle_jax.comparison.columns import Column as Column
from eagle_jax.comparison.columns import Cost as Cost
from eagle_jax.comparison.comparing import Comparison as Comparison
from eagle_jax.comparison.comparing import compare_methods as compare_methods
from eagle_jax.comparison.judging import GRANULARITIES as GRANULARITIES
from eagle_jax.comparison.judging import Perturbation as Perturbation
from eagle_jax.comparison.judging import judge as judge
