"""Explaining: an answer, a wrong answer, or every item of a list.

Used by `comparison`, `live` and the commands. Read `explanation` first: `explain`. `diagnosis`
finds why a Yes or No is wrong. `loop` explains a list: `preparation` turns its items into
cases, `corrections` asks the model again with regions hidden, and `resuming` reads what earlier
runs left in the folder.
"""

from eagle_jax.explaining.loop import RunSummary as RunSummary
from eagle_jax.explaining.loop import run_list as run_list
from eagle_jax.explaining.mesh import local_mesh as local_mesh
