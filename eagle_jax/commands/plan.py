"""``eagle-jax plan``: what a run costs before it is paid for."""

import argparse

from eagle_jax.commands.arguments import number, positive

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
        help="size a run: memory, mesh, batch size and time",
        description="Says what an explanation costs on accelerators, before they are rented. "
        "With libtpu at hand the program is compiled for the TPUs, a minute or two; without, "
        "the figures are bundled predictions and estimates, and the plan says so.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add(
        "--model",
        default="demo",
        help='"demo", a folder with its json files, or the hub id of a published checkpoint '
        "(default: demo)",
    )
    add("--image", default="640x480", metavar="WxH", help="in pixels (default: 640x480)")
    add("--regions", default=64, type=positive, metavar="N", help="of the image (default: 64)")
    add(
        "--targets",
        default=24,
        type=positive,
        metavar="N",
        help="tokens to explain (default: 24)",
    )
    add(
        "--topology",
        default="v6e:2x4",
        help="v5e:2x2, v6e:2x4, ..., or a100, h100, h200, h200:8 (default: v6e:2x4)",
    )
    add("--quantize", choices=["int8"], help="weights and activations (default: bfloat16)")
    add(
        "--share",
        type=number,
        help="of the chips' peak rate that the time assumes (default: what the compiler "
        "predicts)",
    )


def command(options: argparse.Namespace) -> None:
    """Runs the command."""
    import jax

    # Nothing runs on a device: an accelerator of this machine stays free for others.
    jax.config.update("jax_platforms", "cpu")
    from eagle_jax.planning.estimate import plan

    found = plan(
        options.model,
        image=options.image,
        regions=options.regions,
        topology=options.topology,
        targets=options.targets,
        quantize=options.quantize,
        share=options.share,
    )
    print(found.page())
