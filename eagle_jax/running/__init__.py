"""Runs: every item of a list explained into a folder, resumed after any interruption.

Used by `diagnosis`, `comparison` and the command `run`. Read `loop` first: `run_list`.
`preparation` turns items into cases, `corrections` asks the model again with regions removed,
`resuming` reads what earlier runs left in the folder.
"""

from eagle_jax.running.loop import RunSummary as RunSummary
from eagle_jax.running.loop import run_list as run_list
from eagle_jax.running.mesh import local_mesh as local_mesh
