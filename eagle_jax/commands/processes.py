"""Runs on several processes: the arguments, how the processes connect, and what they share."""

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from eagle_jax.commands import leaving
from eagle_jax.commands.arguments import positive, whole
from eagle_jax.commands.devices import prepare_devices, require_backend
from eagle_jax.errors import InputError, reason

if TYPE_CHECKING:
    from eagle_jax.lists import Broken, Item

# Default number of items of a storybook list.
_ITEMS = 100


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


def begin_processes(
    options: argparse.Namespace,
) -> "tuple[list[Item | Broken], tuple[int, int]]":
    """The entries of LIST, and the index and number of processes, once they are connected.

    A storybook list is drawn first, beside --out, by process 0; the other processes wait.
    """
    from eagle_jax.lists import read_list

    drawn = re.fullmatch(r"storybook:(\w+)(?::(\d+))?", str(options.list))
    if not drawn:
        entries = read_list(options.list, options.images, options.format, options.columns)
        process = join_processes(options)
        prepare_devices()
        return entries, process
    from eagle_jax.demo.lists import draw_list, list_path
    from eagle_jax.results.manifest import wait_for

    name, count = drawn[1], int(drawn[2] or _ITEMS)
    out = Path(os.path.abspath(options.out))
    folder = out.parent / f"{out.name}-{name}-{count}"
    path = list_path(name, count, folder)
    # The processes must be connected before a model runs.
    process = join_processes(options)
    prepare_devices()
    if process[0] == 0:
        draw_list(name, count, folder)
    wait_for(path)
    return read_list(path), process


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
    leaving.keep_signals()
    require_backend()
    return jax.process_index(), jax.process_count()
