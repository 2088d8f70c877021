"""``eagle-jax build``: a list made from a model's own answers."""

import argparse
import collections
import sys

from eagle_jax.commands import leaving
from eagle_jax.commands.arguments import (
    add_answer_length_argument,
    add_dialogue_arguments,
    add_list_format_arguments,
    add_model_arguments,
    path,
    positive,
)
from eagle_jax.commands.devices import prepare_devices
from eagle_jax.commands.loading import load_model
from eagle_jax.errors import InputError

_EXAMPLES = """\
examples:
  eagle-jax build coco_repope_random.json --images val2014 --model qwen-3b --out wrong.jsonl
      asks every question, and keeps the wrong answers with the right word as the label
  eagle-jax build instances_val2017.json --images val2017 --model qwen-3b --out objects.jsonl \\
      --count 300
      keeps captions that mention an object which is in the image exactly once
      then: eagle-jax run objects.jsonl --model qwen-3b --out objects
"""
# Number of reasons for leaving items out that are printed.
_LISTED = 10


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command's parser."""
    parser = commands.add_parser(
        "build",
        help="make a list of questions from a model's own answers",
        description="Lets a model answer a list of questions, and writes a new list of what to "
        "explain in its answers: the wrong Yes and No answers, the words for objects, and all "
        "other answers as a whole.",
        epilog=_EXAMPLES,
    )
    parser.set_defaults(run=command)
    add = parser.add_argument
    add("list", metavar="LIST", type=path, help="list that eagle-jax run can read")
    add_model_arguments(parser)
    add("--out", required=True, metavar="NEW.jsonl", type=path, help="file of the new list")
    add_list_format_arguments(parser)
    add(
        "--count",
        type=positive,
        metavar="N",
        help="number of items to keep before the command stops (default: no limit)",
    )
    add(
        "--keep",
        default="wrong",
        choices=["wrong", "all"],
        help="Yes and No answers to keep: only wrong answers, or all (default: %(default)s)",
    )
    add("--plurals", action="store_true", help="count the plural of an object as a mention")
    add_answer_length_argument(parser)
    add_dialogue_arguments(parser)


def command(options: argparse.Namespace) -> int:
    """Runs the command."""
    from eagle_jax.files import require_new_file
    from eagle_jax.lists import Broken, read_list
    from eagle_jax.lists.build import build_list

    entries = read_list(options.list, options.images, options.format, options.columns)
    require_new_file(options.out)
    broken = [entry for entry in entries if isinstance(entry, Broken)]
    if len(broken) == len(entries):
        raise InputError(
            f"none of the {len(entries)} entries of {options.list} can be used; "
            f"{broken[0].place}: {broken[0].reason}"
        )
    leaving.expect(
        lambda: (
            "interrupted; the items so far are written"
            if options.out.exists()
            else leaving.NOTHING
        )
    )
    prepare_devices()
    model = load_model(options)
    built = build_list(
        model,
        entries,
        options.out,
        count=options.count,
        keep=options.keep,
        plurals=options.plurals,
        max_new_tokens=options.max_new_tokens,
        system=options.system,
        thinking=options.thinking,
        progress=sys.stderr.isatty(),
    )
    for failure in built.failures:
        print(f"{failure.place}: {failure.reason}", file=sys.stderr)
    reasons = collections.Counter(left.reason for left in built.left_out).most_common()
    for reason, count in reasons[:_LISTED]:
        print(f"{'left out':<12}{count}: {reason}")
    if rest := sum(count for _, count in reasons[_LISTED:]):
        print(f"{'left out':<12}{rest}: for {len(reasons) - _LISTED} other reasons")
    if built.failures:
        print(f"{'failed':<12}{len(built.failures)}, named above")
    kept = f"{len(built.items)} of {len(entries)} items"
    print(f"{'written':<12}{f'{options.out}: {kept}' if built.items else 'nothing'}")
    if built.interrupted:
        print("eagle-jax: interrupted; the items so far are written", file=sys.stderr)
        return 130
    return 1 if built.failures or not built.items else 0
