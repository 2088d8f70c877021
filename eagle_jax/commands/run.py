"""``eagle-jax run``: a whole list, resumable, on one process or many."""

import argparse
import sys
from pathlib import Path

from eagle_jax.commands.arguments import (
    add_device_arguments,
    add_list_arguments,
    add_method_arguments,
    add_model_arguments,
    add_regions_argument,
    add_search_arguments,
    cache_compilations,
    entries_of,
    number,
    positive,
    whole,
)
from eagle_jax.commands.processes import add_process_arguments, join_processes

_EXAMPLES = """\
examples:
  eagle-jax run questions.jsonl --model Qwen/Qwen2.5-VL-3B-Instruct --out results
      one line an item: {"image": "cat.jpg", "prompt": "Is there a cat in the image?"}
      the same command goes on where it was interrupted
  eagle-jax run Qwen2.5-VL-3B-coco-caption.json --images val2017 --out captions \\
      --model Qwen/Qwen2.5-VL-3B-Instruct --published-rules
      a list of the published evaluation, rounded as the published code does
  srun --ntasks 4 eagle-jax run questions.jsonl --out results --distributed
      four processes of a cluster (Slurm, Kubernetes and TPU pods are recognised)
  eagle-jax run storybook:words:20 --out words
      for a first try: words in captions of the demo model about drawn scenes
  then: eagle-jax evaluate results
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "run",
        help="explain every item of a list",
        description="Explains a list of questions about pictures, each into a small folder. "
        "What is finished stays finished; items that fail are named at the end.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add_list_arguments(parser)
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the results")
    add_model_arguments(parser)
    add_regions_argument(parser)
    add_method_arguments(parser)
    add_search_arguments(parser, None, "auto, with --published-rules exact")
    add(
        "--insight-weight",
        default=1.0,
        type=number,
        metavar="X",
        help="of what the chosen regions suffice for (default: 1)",
    )
    add(
        "--necessity-weight",
        default=1.0,
        type=number,
        metavar="X",
        help="of what is lost without them (default: 1)",
    )
    add(
        "--max-new-tokens",
        default=128,
        type=positive,
        metavar="N",
        help="limit of an answer the model gives itself (default: 128)",
    )
    add(
        "--regenerate",
        default="scan",
        choices=["scan", "bisect", "no"],
        help="answers to smaller and smaller pictures, for items with a label: with every "
        "prefix of the order, with few of them, or with none (default: scan)",
    )
    add(
        "--controls",
        default=0,
        type=whole,
        metavar="N",
        help="score N random and N area-matched orders beside each explanation (default: 0)",
    )
    add(
        "--published-rules",
        action="store_true",
        help="round pixels, logits and probabilities as the published code does; see also "
        "eagle-jax evaluate --published-rules",
    )
    add(
        "--batch-size",
        type=positive,
        metavar="N",
        help="masked images per forward (default: what fills the devices)",
    )
    add_device_arguments(parser)
    add_process_arguments(parser)


def command(options: argparse.Namespace) -> int:
    """Runs the command; 0 when every item of this process has a result, else 1."""
    from eagle_jax.results.manifest import Settings
    from eagle_jax.run import run_list

    entries = entries_of(options)
    settings = Settings(
        model=options.model,
        dtype=options.dtype,
        quantize=options.quantize,
        regions=options.regions,
        method=options.method,
        options=dict(options.option or ()),
        search=options.search or ("exact" if options.published_rules else "auto"),
        budget=options.budget,
        insight_weight=options.insight_weight,
        necessity_weight=options.necessity_weight,
        max_new_tokens=options.max_new_tokens,
        regenerate=options.regenerate,
        controls=options.controls,
        published_rounding=options.published_rules,
    )
    process = join_processes(options)
    cache_compilations()
    try:
        report = run_list(
            entries,
            options.out,
            settings,
            batch_size=options.batch_size,
            together=options.together,
            split_weights=options.split_weights,
            process=process,
            progress=sys.stderr.isatty(),
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; what was finished is kept in {options.out}, and the same command "
            "goes on from there"
        ) from None
    share = "" if process[1] == 1 else f" (process {process[0]} of {process[1]})"
    count = report.finished + len(report.failures)
    print(f"{'finished':<12}{report.finished} of {count} items{share}, {report.before} before")
    rate = report.forwards / report.seconds
    print(
        f"{'cost':<12}{report.forwards:,} forwards in {report.seconds:.0f} s, "
        f"{rate:.0f} forwards/s, loading and compiling included"
    )
    print(f"{'written':<12}{options.out}; next: eagle-jax evaluate {options.out}")
    for failure in report.failures:
        print(f"failed: {failure.place} ({failure.name}): {failure.reason}", file=sys.stderr)
    return 1 if report.failures else 0
