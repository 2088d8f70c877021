"""``eagle-jax convert``: a checkpoint that is restored directly to its devices."""

import argparse
import sys

from eagle_jax.commands.arguments import DTYPES, path

_EXAMPLES = """\
examples:
  eagle-jax convert Qwen/Qwen2.5-VL-3B-Instruct qwen-3b --dtype bfloat16
      then: eagle-jax explain street.jpg --prompt "Describe the image." --model qwen-3b
  eagle-jax convert Qwen/Qwen2.5-VL-7B-Instruct qwen-7b-int8 --quantize int8
      half the memory
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "convert",
        help="convert a checkpoint so that weights are read straight onto their devices",
        description="Converts a Hugging Face checkpoint to Orbax, and verifies the copy. "
        "Every --model argument takes the new folder.",
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add("source", metavar="SRC", help="Hugging Face folder, or hub id")
    add("destination", metavar="DST", type=path, help="new folder")
    add(
        "--dtype",
        choices=DTYPES,
        help="floating-point type of the weights (default: the checkpoint's)",
    )
    add(
        "--quantize",
        choices=["int8"],
        help="integer type of weights and activations (default: floating point)",
    )


def command(options: argparse.Namespace) -> None:
    """Runs the command."""
    import jax

    # As for plan: an accelerator of this machine stays free for other programs.
    jax.config.update("jax_platforms", "cpu")
    from eagle_jax.scoring.conversion import convert

    size = convert(
        options.source,
        options.destination,
        dtype=options.dtype,
        quantize=options.quantize,
        progress=sys.stderr.isatty(),
    )
    print(f"{'written':<12}{options.destination}: {size / 1e9:.2f} GB of weights, verified")
