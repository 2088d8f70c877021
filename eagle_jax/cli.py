"""The command line: ``eagle-jax explain``, ``build``, ``convert`` and ``plan``."""

import argparse
import collections
import io
import os
import sys
from pathlib import Path
from typing import NoReturn

from eagle_jax.errors import InputError

_EXAMPLE = """\
example:
  eagle-jax explain cat.jpg --prompt "Is there a cat in the image?"
"""
_CONVERT_EXAMPLE = """\
example:
  eagle-jax convert Qwen/Qwen2.5-VL-3B-Instruct qwen-3b --dtype bfloat16
      then: eagle-jax explain street.jpg --prompt "Describe the image." --model qwen-3b
"""
_PLAN_EXAMPLES = """\
examples:
  eagle-jax plan --model Qwen/Qwen2.5-VL-7B-Instruct --image 640x480 --topology v6e:2x4
      memory, mesh, batch size and time on eight v6e chips; nothing is downloaded
  eagle-jax plan --model llava-hf/llava-1.5-7b-hf --topology h200
      the same on one GPU
"""
_BUILD_EXAMPLES = """\
examples:
  eagle-jax build coco_repope_random.json --images val2014 --model qwen-3b --out wrong.jsonl
      asks every question and keeps the wrong answers, each with the opposite word to score
  eagle-jax build instances_val2017.json --images val2017 --model qwen-3b --out objects.jsonl \\
      --count 300
      keeps captions that name an object that is in their picture once
      then: eagle-jax run objects.jsonl --model qwen-3b --out objects
"""
_EXPLAIN_EXAMPLES = """\
examples:
  eagle-jax explain
      explains a bundled picture with the bundled demo model
  eagle-jax explain cat.jpg --prompt "Is there a cat in the image?" --target Yes
      explains one word of the model's answer
  eagle-jax explain cat.jpg --prompt "Is there a dog in the image?" --target Yes --target-id No
      asks what speaks for the answer the model did not give
  eagle-jax explain street.jpg --prompt "Describe the image." \\
      --model Qwen/Qwen2.5-VL-3B-Instruct --regions 64 --out street
      explains a whole caption of a real model
"""
# Reasons why items are left out of a list that is built.
_LISTED = 10


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Args:
      arguments: without the program's name; None takes those of the process.

    Returns:
      Exit code: 0, 1 when some items of a list failed, 2 for input that cannot be used or
      does not fit in the device's memory, or 130 when interrupted.
    """
    # A terminal that cannot show a character of an answer shows its number.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # transformers serves the tokenizer alone here; that PyTorch is missing is as it should be.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    if not arguments:
        parser.print_help()
        return 0
    try:
        options = parser.parse_args(arguments)
        return options.run(options) or 0
    except InputError as error:
        print("eagle-jax:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print(
            "eagle-jax: the device is out of memory: give a smaller --batch-size, or a smaller "
            "image or model",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("eagle-jax: interrupted, nothing was written", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # One line, as for all other input; argparse would print the whole usage before it.
        raise InputError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="eagle-jax",
        description="Where a multimodal language model looked, and what it relied on.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    explain = commands.add_parser(
        "explain",
        help="explain one answer about one image",
        description="Finds which regions of an image an answer rests on, and draws it.",
        epilog=_EXPLAIN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain.set_defaults(run=_explain)
    add = explain.add_argument
    add("image", nargs="?", help="the picture; without one, a bundled storybook scene")
    add(
        "--prompt",
        type=_text,
        help="question or instruction (default for the bundled picture: a caption)",
    )
    add(
        "--model",
        default="demo",
        help='"demo", a Hugging Face folder, or a hub id (default: demo)',
    )
    add("--answer", type=_text, help="explain this answer instead of the model's own")
    add("--target", type=_text, help="a word or phrase of the answer (default: all of it)")
    add(
        "--target-id",
        type=_text,
        metavar="TEXT",
        help="score this token at the target instead of the answer's own",
    )
    add(
        "--regions",
        default="64",
        help='about so many SLICO regions, or "grid:8x8", "opencv:64" (default: 64)',
    )
    add("--search", default="exact", choices=["exact"], help="how to search (default: exact)")
    add("--dtype", choices=["float32", "bfloat16", "float16"], help="default: the checkpoint's")
    add("--batch-size", type=_positive, metavar="N", help="masked images per forward")
    add(
        "--out",
        default="explanation",
        type=Path,
        help="folder for figure.png and the saved attribution (default: explanation)",
    )
    _add_build(commands)
    _add_convert(commands)
    _add_plan(commands)
    return parser


def _add_plan(commands: argparse._SubParsersAction) -> None:
    plan = commands.add_parser(
        "plan",
        help="size a run: memory, mesh, batch size and time",
        description="Says what an explanation costs on accelerators, before they are rented.",
        epilog=_PLAN_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    plan.set_defaults(run=_plan)
    add = plan.add_argument
    add(
        "--model",
        default="demo",
        help='"demo", a folder with its json files, or the hub id of a published checkpoint '
        "(default: demo)",
    )
    add("--image", default="640x480", metavar="WxH", help="in pixels (default: 640x480)")
    add("--regions", default=64, type=_positive, metavar="N", help="default: 64")
    add("--targets", default=24, type=_positive, metavar="N", help="tokens (default: 24)")
    add(
        "--topology",
        default="v6e:2x4",
        help="v5e:2x2, v6e:2x4, ..., or a100, h100, h200, h200:8 (default: v6e:2x4)",
    )
    add("--quantize", choices=["int8"], help="weights and activations (default: bfloat16)")
    add(
        "--share",
        default=0.5,
        type=_number,
        help="of the chips' peak rate that the time assumes (default: 0.5)",
    )


def _add_build(commands: argparse._SubParsersAction) -> None:
    build = commands.add_parser(
        "build",
        help="make a list for a model from its own answers",
        description="Lets a model answer a list of questions, and writes what there is to "
        "explain in its answers as a new list: the wrong Yes and No answers, the words for "
        "objects, and all other answers whole.",
        epilog=_BUILD_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.set_defaults(run=_build)
    add = build.add_argument
    add("list", metavar="LIST", type=Path, help="a list that eagle-jax run can read")
    add(
        "--model",
        default="demo",
        help='"demo", a Hugging Face or converted folder, or a hub id (default: demo)',
    )
    add("--out", required=True, metavar="NEW.jsonl", type=Path, help="the new list")
    add("--images", metavar="DIR", type=Path, help="of the pictures (default: the list's own)")
    add("--kind", help="the format of LIST (default: by its content)")
    add("--count", type=_positive, metavar="N", help="stop when so many items are kept")
    add(
        "--keep",
        default="wrong",
        choices=["wrong", "all"],
        help="which Yes and No answers (default: wrong)",
    )
    add("--plurals", action="store_true", help="an object's plural names it as well")
    add(
        "--max-new-tokens",
        default=128,
        type=_positive,
        metavar="N",
        help="limit of an answer (default: 128)",
    )
    add("--dtype", choices=["float32", "bfloat16", "float16"], help="default: the checkpoint's")


def _add_convert(commands: argparse._SubParsersAction) -> None:
    convert = commands.add_parser(
        "convert",
        help="make a checkpoint that restores straight to its devices",
        description="Converts a Hugging Face checkpoint to Orbax, and checks what was written.",
        epilog=_CONVERT_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    convert.set_defaults(run=_convert)
    add = convert.add_argument
    add("source", metavar="SRC", help="a Hugging Face folder or hub id")
    add("destination", metavar="DST", type=Path, help="the new folder")
    add("--dtype", choices=["float32", "bfloat16", "float16"], help="default: the checkpoint's")


def _text(text: str) -> str:
    # Python smuggles bytes that are no UTF-8 into arguments as lone surrogates.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise argparse.ArgumentTypeError("the text is not valid UTF-8")
    return text


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _plan(options: argparse.Namespace) -> None:
    import jax

    # Nothing runs on a device: an accelerator of this machine stays free for others.
    jax.config.update("jax_platforms", "cpu")
    from eagle_jax.plan import plan

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


def _explain(options: argparse.Namespace) -> None:
    import eagle_jax
    from eagle_jax.images import read_image
    from eagle_jax.regions import segment
    from eagle_jax.storage import require_free

    image, prompt = options.image, options.prompt
    if image is None:
        image = eagle_jax.demo.IMAGE
        prompt = eagle_jax.demo.PROMPT if prompt is None else prompt
    elif prompt is None:
        raise InputError('--prompt is missing: say what to ask, as in --prompt "What is this?"')
    # All that can be refused without the model comes first: loading it may take minutes.
    require_free(options.out)
    pixels = read_image(image)
    labels = segment(pixels, options.regions)

    _cache_compilations()
    model = eagle_jax.load(options.model, dtype=options.dtype)
    attribution = eagle_jax.explain(
        model,
        pixels,
        prompt,
        answer=options.answer,
        target=options.target,
        target_ids=options.target_id,
        regions=labels,
        search=options.search,
        batch_size=options.batch_size,
        progress=sys.stderr.isatty(),
    )
    attribution.save(options.out, figure=True)
    print(attribution.summary())
    print(f"{'written':<12}{options.out / 'figure.png'} and the attribution beside it")


def _build(options: argparse.Namespace) -> int:
    import eagle_jax
    from eagle_jax.tasks import Item, read_list
    from eagle_jax.tasks.build import build_list, require_new

    entries = read_list(options.list, options.images, options.kind)
    require_new(options.out)
    if not any(isinstance(entry, Item) for entry in entries):
        raise InputError(
            f"none of the {len(entries)} entries of {options.list} can be used; "
            f"{entries[0].place}: {entries[0].reason}"
        )
    _cache_compilations()
    model = eagle_jax.load(options.model, dtype=options.dtype)
    built = build_list(
        model,
        entries,
        options.out,
        count=options.count,
        keep=options.keep,
        plurals=options.plurals,
        max_new_tokens=options.max_new_tokens,
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
        print("eagle-jax: interrupted; what was done is written", file=sys.stderr)
        return 130
    return 1 if built.failures or not built.items else 0


def _convert(options: argparse.Namespace) -> None:
    from eagle_jax.convert import convert

    size = convert(
        options.source, options.destination, options.dtype, progress=sys.stderr.isatty()
    )
    print(f"{'written':<12}{options.destination}: {size / 1e9:.2f} GB of weights, verified")


def _cache_compilations() -> None:
    """Compiled programs outlive the process, so the second run starts faster."""
    import jax

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = home / "eagle-jax" / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # Nowhere to keep them: each run compiles, and JAX need not warn of it.
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


if __name__ == "__main__":
    sys.exit(main())
