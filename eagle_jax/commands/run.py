"""``eagle-jax run``: a whole list, resumable, on one process or several."""

import argparse
import sys
from typing import TYPE_CHECKING

from eagle_jax.commands import leaving
from eagle_jax.commands.arguments import (
    add_batch_size_argument,
    add_device_arguments,
    add_limit_arguments,
    add_list_arguments,
    add_method_arguments,
    add_model_arguments,
    add_partitions_argument,
    add_question_arguments,
    add_regenerate_argument,
    add_search_arguments,
    path,
    settings_of,
    whole,
)
from eagle_jax.commands.devices import device_text
from eagle_jax.commands.processes import add_process_arguments, begin_processes

if TYPE_CHECKING:
    from eagle_jax.explaining import RunSummary

_EXAMPLES = """\
examples:
  eagle-jax run questions.jsonl --model Qwen/Qwen2.5-VL-3B-Instruct --out results
      the list has a line for each item, such as
      {"image": "cat.jpg", "prompt": "Is there a cat in the image?"};
      after an interruption the same command resumes
  eagle-jax run Qwen2.5-VL-3B-coco-caption.json --images val2017 --out captions \\
      --model Qwen/Qwen2.5-VL-3B-Instruct --published-rounding --search exact
      a list of the published evaluation, searched and rounded as the published code does
  srun --ntasks 4 eagle-jax run questions.jsonl --out results --distributed
      four processes of a cluster (Slurm, Kubernetes and TPU pods are recognised)
  eagle-jax run storybook:words:20 --out words
      20 words in captions of the demo model about drawn scenes, for a first try
  then: eagle-jax evaluate results
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "run",
        help="explain every item of a list",
        description="Explains a list of questions about images, each into a small folder. "
        "Finished items are not explained again when the same command is repeated; items that "
        "fail are named at the end, and the exit code is then 1.",
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add_list_arguments(parser)
    add("--out", required=True, type=path, metavar="DIR", help="folder for the results")
    add_model_arguments(parser)
    add_question_arguments(parser)
    add_partitions_argument(parser)
    add_method_arguments(parser)
    add_search_arguments(parser)
    add_limit_arguments(parser)
    add_regenerate_argument(parser)
    add(
        "--controls",
        default=0,
        type=whole,
        metavar="N",
        help="number of random orders, and of area-matched orders, to score beside each "
        "explanation (default: %(default)s)",
    )
    add(
        "--published-rounding",
        action="store_true",
        help="round pixels, logits and probabilities as the published code does; with "
        "--search exact the whole search is the published one",
    )
    add_batch_size_argument(parser)
    add_device_arguments(parser)
    add_process_arguments(parser)


def command(options: argparse.Namespace) -> int:
    """Runs the command; 0 if every item of this process has a result, otherwise 1."""
    from eagle_jax.explaining import run_list

    settings = settings_of(options)
    entries, process = begin_processes(options)
    leaving.expect(
        f"interrupted; finished items are kept in {options.out}, and the same command resumes"
    )
    summary = run_list(
        entries,
        options.out,
        settings,
        batch_size=options.batch_size,
        together=options.together,
        split_weights=options.split_weights,
        process=process,
        progress=sys.stderr.isatty(),
    )
    part = "" if process[1] == 1 else f" (process {process[0]} of {process[1]})"
    count = summary.finished + len(summary.failures)
    print(f"{'finished':<12}{summary.finished} of {count} items{part}, {summary.before} before")
    rate = summary.forwards / summary.seconds
    print(
        f"{'cost':<12}{summary.forwards:,} forwards in {summary.seconds:.0f} s, "
        f"{rate:.0f} forwards/s, loading and compiling included"
    )
    _print_speed(summary)
    print(f"{'device':<12}{device_text()}")
    print(f"{'written':<12}{options.out}; next: eagle-jax evaluate {options.out}")
    for failure in summary.failures:
        print(f"failed: {failure.place} ({failure.name}): {failure.reason}", file=sys.stderr)
    return 1 if summary.failures else 0


def _print_speed(summary: "RunSummary") -> None:
    """Says how fast the items were, and what the devices waited for."""
    spent, total = summary.devices, sum(summary.devices)
    if total == 0:
        return
    rate = 3600 * (summary.finished - summary.before) / total
    print(
        f"{'speed':<12}{rate:,.0f} items an hour; masked images were scored during "
        f"{spent.scoring / total:.0%} of the time, searches and answers took "
        f"{spent.searching / total:.0%} beside that, reading and asking "
        f"{spent.preparing / total:.0%}"
    )
