"""Attributions and runs on disk, and their measures.

Used by `reports`, `explaining` and everything above. Read `attribution` first: an explanation,
saved by `storage`. `run_folder` holds the explanations of a list and `manifest` its settings;
`measures` computes the numbers of an item and `evaluation` those of a run; `published` and
`published_run` write the file layout of the published code.
"""

from eagle_jax.results.attribution import Attribution as Attribution
from eagle_jax.results.manifest import Settings as Settings
from eagle_jax.results.measures import ItemMeasures as ItemMeasures
from eagle_jax.results.measures import measure as measure
from eagle_jax.results.run_folder import ItemResult as ItemResult
from eagle_jax.results.run_folder import read_results as read_results
