"""What was found, and how it lies on disk.

For the verbs at the root of the package, `reports` and the commands. Read `attribution` first:
one explanation, saved by `storage`. `run_folder` holds those of a whole list beside the
`manifest` of its settings, `measures` are their numbers, and `published` and `published_run`
write them as the published code does.
"""

from eagle_jax.results.attribution import Attribution as Attribution
from eagle_jax.results.manifest import Settings as Settings
from eagle_jax.results.measures import ItemMeasures as ItemMeasures
from eagle_jax.results.measures import measure as measure
from eagle_jax.results.run_folder import ItemResult as ItemResult
from eagle_jax.results.run_folder import read_results as read_results
