"""Which share of its peak a chip will reach, and how that is known."""

import json
from importlib import resources
from typing import Any, NamedTuple

from eagle_jax.planning.published import published_config
from eagle_jax.planning.step import Step

# Where nothing is known of a model or a chip.
ASSUMED_SHARE = 0.5


class Share(NamedTuple):
    """A share of a chip's peak.

    Attributes:
      value: above 0 and at most 1.
      basis: how it is known, for people.
    """

    value: float
    basis: str


def bundled_predictions() -> list[dict[str, Any]]:
    """What `benchmarks/stages.py --json` wrote for the checkpoints that ship."""
    file = resources.files("eagle_jax.planning") / "predictions.json"
    return json.loads(file.read_text("utf-8"))


def known_share(step: Step) -> Share:
    """The share that is known of a step without compiling it.

    Args:
      step: what is planned. A folder with the configuration of a checkpoint that ships counts
        as that checkpoint.

    Returns:
      The prediction for the checkpoint on this kind of chip, whatever the image and the number
      of chips; an assumption where there is none.
    """
    kind = step.topology[0]
    for found in bundled_predictions():
        if (
            found["hardware"].partition(":")[0] == kind
            and found["precision"] == step.precision
            and published_config(found["model"]) == step.network.config
        ):
            return Share(
                found["share"],
                f"the compiler's prediction of {found['date']} for {found['hardware']} and "
                f"{found['image']} pixels",
            )
    return Share(ASSUMED_SHARE, f"an assumption: no prediction for this model on {kind}")
