"""Searches for the order in which regions matter."""

from eagle_jax.search.greedy import Found as Found
from eagle_jax.search.greedy import greedy as greedy
from eagle_jax.search.greedy import greedy_lockstep as greedy_lockstep
