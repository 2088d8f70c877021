"""What an explanation costs on hardware that one does not have: memory, mesh and time.

For the command `plan` and the benchmarks. Read `estimate` first. `compilation` compiles for
TPUs that are not there, `program_memory` and `flops` count where nothing can be compiled, and
`configs/` holds the published checkpoints without their weights.
"""

from eagle_jax.planning.estimate import Plan as Plan
from eagle_jax.planning.estimate import plan as plan
from eagle_jax.planning.estimate import published_models as published_models
