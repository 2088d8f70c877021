"""Which fraction of its peak a chip will reach, and how that is known."""

import json
import math
from importlib import resources
from typing import Any, NamedTuple

from eagle_jax.planning.compilation import Compiled
from eagle_jax.planning.published import published_config
from eagle_jax.planning.step import Step
from eagle_jax.planning.utilisation.hlo import parse
from eagle_jax.planning.utilisation.program_time import program_seconds

# Where nothing is known of a model or a chip.
ASSUMED = 0.5


class Utilisation(NamedTuple):
    """A fraction of a chip's peak rate, counting only the operations that are needed.

    Attributes:
      fraction: above 0 and at most 1.
      basis: how it is known, for people.
    """

    fraction: float
    basis: str


def predict_utilisation(step: Step, compiled: Compiled | None = None) -> Utilisation:
    """The utilisation that a step will reach.

    Args:
      step: the step that is planned. A folder with the configuration of a checkpoint that
        ships counts as that checkpoint.
      compiled: its program for a TPU, compiled as for a run; None if there is none.

    Returns:
      The compiler's prediction for the program; without a program, the bundled prediction for
      the checkpoint and the kind of chip, whatever the image and the number of chips; an
      assumption where there is none.
    """
    if compiled is not None:
        seconds = program_seconds(parse(compiled.program.as_text()), step.chip, step.peak)
        needed = step.flops * step.batch_size / math.prod(step.mesh)
        basis = "the compiler's prediction for this program"
        return Utilisation(needed / (step.peak * seconds), basis)
    kind = step.topology[0]
    for prediction in bundled_predictions():
        if (
            prediction["hardware"].partition(":")[0] == kind
            and prediction["precision"] == step.precision
            and published_config(prediction["model"]) == step.network.config
        ):
            return Utilisation(
                prediction["utilisation"],
                f"the compiler's prediction of {prediction['date']} for "
                f"{prediction['hardware']} and {prediction['image']} pixels",
            )
    return Utilisation(ASSUMED, f"an assumption: no prediction for this model on {kind}")


def bundled_predictions() -> list[dict[str, Any]]:
    """Predictions for the checkpoints that ship, written by `benchmarks/stages.py --bundle`."""
    file = resources.files("eagle_jax.planning.utilisation") / "predictions.json"
    return json.loads(file.read_text("utf-8"))
