"""The command line: errors in one line, exit codes, and the commands by name."""

import signal
import sys
from typing import TYPE_CHECKING

from eagle_jax.commands import leaving
from eagle_jax.errors import InputError, reason

if TYPE_CHECKING:
    import argparse

_EXAMPLE = """\
example:
  eagle-jax explain cat.jpg --prompt "Is there a cat in the image?"
      explains the model's answer; eagle-jax COMMAND --help describes each command
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
      arguments: arguments without the name of the program; None for those of the process, which
        then also ends at once, with one line, when it is interrupted or terminated.

    Returns:
      Exit code: 0; 1 if some items of a list failed, or the output could not be written; 2 if
      the input or the device cannot be used, or the input does not fit in the memory of the
      device; 130 if the command was interrupted, 143 if it was terminated, 129 if its terminal
      was closed; 141 if the reader of the standard output went away.
    """
    if arguments is None:
        leaving.watch_signals()
        arguments = sys.argv[1:]
    try:
        leaving.expect(leaving.NOTHING)
        leaving.open_streams()
        code = _run(arguments)
    except SystemExit:
        # After --help.
        if code := leaving.finish(0):
            return code
        raise
    except BaseException as error:
        code = _exit_code(error)
    return leaving.finish(code)


def _run(arguments: list[str]) -> int:
    # Not at the top: an interrupt while the rest is imported is answered by `main`.
    import os

    # transformers is used only for the tokenizer, and need not warn that PyTorch is missing.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    # XLA's errors come as exceptions; what it writes beside them is for its developers.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parser = _parser()
    if not arguments:
        parser.print_help()
        return 0
    options = parser.parse_args(arguments)
    return options.run(options) or 0


def _exit_code(error: BaseException) -> int:
    """Says what an error means, in one line; a fault of the program is raised again."""
    if isinstance(error, KeyboardInterrupt):
        return leaving.interrupted()
    if isinstance(error, InputError):
        leaving.say(reason(error))
    elif isinstance(error, MemoryError):
        leaving.say("this machine is out of memory: give a smaller image or a smaller model")
    elif isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error):
        leaving.say(
            "the device is out of memory: give a smaller --batch-size, a smaller image or a "
            "smaller model"
        )
    elif isinstance(error, OSError):
        if (code := leaving.lost_output(error)) is not None:
            return code
        if isinstance(error, BrokenPipeError):
            return 128 + signal.SIGPIPE
        leaving.say(reason(error))
        return 1
    else:
        raise error
    return 2


def _parser() -> "argparse.ArgumentParser":
    from eagle_jax.commands import (
        build,
        compare,
        convert,
        diagnose,
        evaluate,
        explain,
        export,
        plan,
        report,
        run,
        serve,
    )
    from eagle_jax.commands.parsers import Parser, Version

    parser = Parser(
        prog="eagle-jax",
        description="Explains on which regions of an image a multimodal language model relies "
        "when it generates an answer.",
        epilog=_EXAMPLE,
    )
    parser.add_argument(
        "--version", action=Version, nargs=0, help="show the version of the program, and exit"
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (
        explain,
        diagnose,
        build,
        run,
        evaluate,
        compare,
        report,
        serve,
        export,
        convert,
        plan,
    ):
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
