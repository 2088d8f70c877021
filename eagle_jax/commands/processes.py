"""Taking part in a cluster: the arguments, and how processes find each other."""

import argparse

from eagle_jax.commands.arguments import positive, whole
from eagle_jax.errors import InputError, reason


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --distributed, --coordinator, --processes and --process."""
    several = parser.add_argument_group("more than one process")
    several.add_argument(
        "--distributed",
        action="store_true",
        help="take part in a cluster that JAX recognises by itself",
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="where the first listens")
    several.add_argument("--processes", type=positive, metavar="N", help="how many there are")
    several.add_argument("--process", type=whole, metavar="I", help="which this is, from 0")


def join_processes(options: argparse.Namespace) -> tuple[int, int]:
    """Number of this process and of all, once they have found each other."""
    named = (options.coordinator, options.processes, options.process)
    if options.distributed and any(one is not None for one in named):
        raise InputError(
            "--distributed finds out by itself what --coordinator, --processes and --process "
            "say; give the one or the others"
        )
    if not options.distributed:
        if all(one is None for one in named):
            return 0, 1
        if any(one is None for one in named):
            raise InputError("--coordinator, --processes and --process go together")
        if options.process >= options.processes:
            raise InputError(
                f"--process is {options.process}; it must be from 0 to {options.processes - 1}"
            )
    import jax

    try:
        jax.distributed.initialize(*named)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the processes do not find each other: {reason(error, 200)}"
        ) from error
    return jax.process_index(), jax.process_count()
