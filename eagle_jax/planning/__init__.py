"""What an explanation costs on hardware that one does not have: memory, mesh and time.

For the command `plan` and the benchmarks. Read `estimate` first, then `step`, what is planned.
`compilation` compiles for TPUs that are not there and `stages` reads where the time of such a
program goes; `program_memory`, `flops` and `predictions` serve where nothing can be compiled.
`configs/` holds the published checkpoints without their weights.
"""

from eagle_jax.planning.estimate import Plan as Plan
from eagle_jax.planning.estimate import plan as plan
from eagle_jax.planning.published import published_models as published_models
