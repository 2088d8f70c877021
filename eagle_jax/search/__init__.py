"""From a set function to the order in which regions matter, and its curves.

`methods` is the table of searches and runs them, `rounds` holds what they ask and return,
`exact` is the simplest search; a new search is a file like `exact` and a line in the table.
"""

from eagle_jax.search.limits import Limits as Limits
from eagle_jax.search.methods import SEARCHES as SEARCHES
from eagle_jax.search.methods import find_orders as find_orders
from eagle_jax.search.rounds import Objective as Objective
from eagle_jax.search.rounds import Progress as Progress
from eagle_jax.search.rounds import Round as Round
from eagle_jax.search.rounds import SearchResult as SearchResult
from eagle_jax.search.rounds import Solution as Solution
from eagle_jax.search.sets import Curves as Curves
from eagle_jax.search.sets import curves_along as curves_along
