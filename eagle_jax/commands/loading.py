"""The model of a command: how it is loaded, and at which size it sees images."""

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eagle_jax.scoring.model import Model


def add_pixel_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --min-pixels and --max-pixels."""
    for bound, less in (("min", "least"), ("max", "largest")):
        parser.add_argument(
            f"--{bound}-pixels",
            type=int,
            metavar="N",
            help=f"{less} number of pixels that an image is resized to, for models of Qwen "
            "(default: the checkpoint's)",
        )


def load_model(options: argparse.Namespace) -> "Model":
    """Loads the model of --model, as the other arguments of `add_model_arguments` say."""
    import eagle_jax

    model = eagle_jax.load(
        options.model,
        backend=options.backend,
        dtype=options.dtype,
        quantize=options.quantize,
        min_pixels=options.min_pixels,
        max_pixels=options.max_pixels,
    )
    if model.backend == "bridge":
        print(f"{model.name} runs by the bridge, as transformers' modules", file=sys.stderr)
    return model
