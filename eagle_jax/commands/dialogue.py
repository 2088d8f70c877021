"""Arguments for what stands around a question: the system message, and thoughts."""

import argparse


def add_dialogue_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --system and --thinking."""
    from eagle_jax.inputs.prompt import THINKING

    parser.add_argument(
        "--system",
        type=text,
        metavar="TEXT",
        help="system message in front of the conversation (default: the chat template's own)",
    )
    parser.add_argument(
        "--thinking",
        choices=THINKING,
        help="thoughts of the model before its answer, switched on or off where its chat "
        "template has a switch (default: as in the template)",
    )


def text(argument: str) -> str:
    """Any text."""
    # Python keeps bytes that are not UTF-8 in arguments as lone surrogates.
    if any("\ud800" <= character <= "\udfff" for character in argument):
        raise argparse.ArgumentTypeError("the text is not valid UTF-8")
    return argument
