"""``eagle-jax plan``: the cost of an explanation before hardware is rented."""

import argparse

from eagle_jax.commands.arguments import number, positive
from eagle_jax.commands.loading import add_pixel_arguments

_EXAMPLES = """\
examples:
  eagle-jax plan --model Qwen/Qwen2.5-VL-7B-Instruct --image 640x480 --topology v6e:2x4
      memory, mesh, batch size and time on eight v6e chips; nothing is downloaded
  eagle-jax plan --model llava-hf/llava-1.5-7b-hf --topology h200
      the same on one GPU
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "plan",
        help="estimate memory, mesh, batch size and time of an explanation",
        description="Estimates the cost of an explanation on accelerators before they are "
        "rented. Where libtpu is installed, the program is compiled for TPUs, which takes a "
        "minute or two; without libtpu, and for GPUs, the figures are estimates and bundled "
        "predictions. The output says which.",
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add(
        "--model",
        default="demo",
        help='checkpoint: "demo", a folder with config.json and preprocessor_config.json, or '
        "the hub id of a published checkpoint (default: demo)",
    )
    add(
        "--image",
        default="640x480",
        metavar="WxH",
        help="width and height of the image in pixels (default: 640x480)",
    )
    add(
        "--regions",
        default=64,
        type=positive,
        metavar="N",
        help="number of regions of the image (default: 64)",
    )
    add(
        "--targets",
        default=24,
        type=positive,
        metavar="N",
        help="number of answer tokens to explain (default: 24)",
    )
    add(
        "--topology",
        default="v6e:2x4",
        help="kind and number of chips: v5e:2x2, v6e:2x4, ..., or a100, h100, h200, with :N "
        "for N GPUs of one host (default: v6e:2x4)",
    )
    add(
        "--quantize",
        choices=["int8"],
        help="precision of weights and activations (default: bfloat16)",
    )
    add_pixel_arguments(parser)
    add(
        "--utilisation",
        type=number,
        metavar="FRACTION",
        help="fraction of the chips' peak FLOP/s to assume for the time (default: the "
        "compiler's prediction, or 0.5)",
    )


def command(options: argparse.Namespace) -> None:
    """Runs the command."""
    import jax

    # Nothing runs on a device: an accelerator of this machine stays free for other programs.
    jax.config.update("jax_platforms", "cpu")
    from eagle_jax.planning.estimate import plan

    print(
        plan(
            options.model,
            image=options.image,
            regions=options.regions,
            topology=options.topology,
            targets=options.targets,
            quantize=options.quantize,
            min_pixels=options.min_pixels,
            max_pixels=options.max_pixels,
            utilisation=options.utilisation,
        )
    )
