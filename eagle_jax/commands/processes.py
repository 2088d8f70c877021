"""Runs on several processes: the arguments, and how the processes find each other."""

import argparse

from eagle_jax.commands.arguments import positive, whole
from eagle_jax.errors import InputError, reason


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --distributed, --coordinator, --processes and --process."""
    several = parser.add_argument_group("more than one process")
    several.add_argument(
        "--distributed",
        action="store_true",
        help="join a cluster that JAX recognises by itself (Slurm, Kubernetes, TPU pods)",
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    several.add_argument("--processes", type=positive, metavar="N", help="number of processes")
    several.add_argument(
        "--process", type=whole, metavar="I", help="index of this process, from 0"
    )


def join_processes(options: argparse.Namespace) -> tuple[int, int]:
    """Index of this process and number of processes, once they are connected."""
    named = (options.coordinator, options.processes, options.process)
    if options.distributed and any(value is not None for value in named):
        raise InputError(
            "give either --distributed, or --coordinator, --processes and --process, not both"
        )
    if not options.distributed:
        if all(value is None for value in named):
            return 0, 1
        if any(value is None for value in named):
            raise InputError(
                "--coordinator, --processes and --process go together: give all three"
            )
        if options.process >= options.processes:
            raise InputError(
                f"--process is {options.process}; it must be from 0 to {options.processes - 1}"
            )
    import jax

    try:
        jax.distributed.initialize(*named)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the processes cannot connect to each other: {reason(error, 200)}"
        ) from error
    return jax.process_index(), jax.process_count()
