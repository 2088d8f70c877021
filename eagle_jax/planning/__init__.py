"""The cost of an explanation on hardware that one does not have: memory, mesh and time.

For the command `plan` and the benchmarks. Read `estimate` first, then `step`, which sizes a
run. `compilation` compiles for TPUs that this machine does not have; `program_memory` and
`flops` count where nothing can be compiled; `utilisation` says which fraction of their peak the
chips reach. `configs/` holds the published checkpoints without their weights.
"""

from eagle_jax.planning.estimate import Plan as Plan
from eagle_jax.planning.estimate import plan as plan
from eagle_jax.planning.published import published_models as published_models
