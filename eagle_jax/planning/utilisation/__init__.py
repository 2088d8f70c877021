"""Which fraction of their peak chips will reach: what the time of a plan is made of.

`predict_utilisation` is the door of this room. Programs compiled for TPUs carry the compiler's
estimates of cycles, which `program_time` adds up; `predictions.json` holds what that gave for
the published checkpoints.
"""

from eagle_jax.planning.utilisation.prediction import (
    predict_utilisation as predict_utilisation,
)
