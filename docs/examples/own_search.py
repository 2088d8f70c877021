"""Your own search, compared with the exact search.

    python docs/examples/own_search.py

A search is a generator function: it yields sets of regions, is sent their scores and returns
its solution. `explain` takes it without registration. This search scores every region twice,
visible alone and hidden alone, and sorts the regions by F. It takes 4 n + 2 forwards where the
exact search takes n (n + 1), and misses regions that matter only together.
"""

import numpy as np

import eagle_jax
from eagle_jax.search import Curves, Round, Solution
from eagle_jax.search.sets import prefixes


def one_look(problem):
    """Sorts the regions by F of each alone."""
    alone = np.eye(problem.regions, dtype=bool)
    scores = yield Round(np.concatenate([alone, ~alone]))
    shown, hidden = np.split(scores, 2)
    value = problem.objective.value(shown, hidden)
    order = np.argsort(-value, kind="stable").astype(np.int32)

    sets = prefixes(order)  # row i has the first i regions visible
    scores = yield Round(np.concatenate([sets, ~sets]))
    return Solution(Curves(order, *np.split(scores, 2)))


model = eagle_jax.load("demo")
case = eagle_jax.ask(
    model, eagle_jax.demo.IMAGE, "Describe the image.", target="boat", regions="grid:4x4"
)
print("search    forwards  insertion  deletion  first regions")
for search in ("exact", one_look):
    attribution = eagle_jax.explain(case, search=search)
    print(
        f"{attribution.search:<10}{attribution.forwards:>8}{attribution.insertion_auc:>11.3f}"
        f"{attribution.deletion_auc:>10.3f}  {attribution.order[:4]}"
    )
