"""Explains what the demo model says about storybook scenes, and measures it against them.

Every scene is drawn from a seed together with the exact mask of each object, so the correct
explanation is known. One command draws the scenes, lets the model answer, searches, asks again
about the wrong answers with more and more regions hidden, and prints a table, which is the same
every time except for the cost. An interrupted run resumes when it is started again with the
same --folder. "pointing": the pixel deepest inside the first region is on the object.
"touching", the published rule: any pixel of that region is. "CSR corrected" is CSR@10% over
those wrong answers that are ever corrected.

    python benchmarks/storybook.py --folder storybook
    python benchmarks/storybook.py --captions 8 --colours 8 --mistakes 8      # a taste
"""

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from caption_words import image_decides, is_content_word
from jaxtyping import Float

import eagle_jax
from eagle_jax.demo.lists import SEED, Storybook, write_storybook
from eagle_jax.demo.scenes import PARTNERS, draw_scene
from eagle_jax.errors import InputError
from eagle_jax.explaining import run_list
from eagle_jax.lists import Item, read_list
from eagle_jax.metrics.hallucination import minimal_correction, right_answers, yes_or_no
from eagle_jax.metrics.localisation import pointing_game
from eagle_jax.metrics.statistics import Interval, auroc, bootstrap_interval
from eagle_jax.results.manifest import Settings
from eagle_jax.results.measures import measure
from eagle_jax.results.run_folder import ItemResult, read_results
from eagle_jax.results.storage import library_versions
from eagle_jax.search.correction import correct_by_bisection

# On the first twelve mistakes 16, 25 and 36 regions gave an AMCR of 0.25, 0.22 and 0.14 and a
# CSR@10% of 0.58, 0.75 and 0.83: a region has to be small against what is corrected. Twice the
# regions cost four times the forwards.
REGIONS = "36"
# Words that every caption begins with; the other function words tell how many objects there
# are, or how the next word begins.
_FRAME = ("The", "image", "shows")
_WORDS, _WRONG = "captions, an object's word", "wrong answers"
_AUROC = "reliance, AUROC of objects and colours over function words"
_MEASURES = {
    "insertion": "insertion_auc",
    "deletion": "deletion_auc",
    "pointing": "mask_pointing",
    "touching": "mask_touching",
    "AMCR": "correction",
    "CSR@10%": "success",
    "CSR corrected": "success_of_corrected",
}


class Line(NamedTuple):
    """A line of the table: a set of items, how many, and its measures by name."""

    title: str
    items: int
    values: dict[str, Interval]


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark and prints its table; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.folder is not None:
            return _run(options, options.folder)
        with tempfile.TemporaryDirectory() as folder:
            return _run(options, Path(folder))
    except InputError as error:
        print("benchmarks/storybook.py:", error, file=sys.stderr)
        return 2


def _results(out: Path, path: Path) -> list[ItemResult]:
    found = list(read_results(out))
    wanted = {item.name for item in read_list(path) if isinstance(item, Item)}
    if strange := [one.item.name for one in found if one.item.name not in wanted]:
        raise InputError(
            f"{out} holds {strange[0]} and is of other options: choose a new --folder"
        )
    return found


def _run(options: argparse.Namespace, folder: Path) -> int:
    began = datetime.datetime.now(datetime.UTC)
    model = eagle_jax.load("demo")
    book = write_storybook(
        folder, model, options.captions, options.colours, options.mistakes, options.seed
    )
    del model
    settings = Settings(regions=options.regions, search="exact")
    failures, runs = 0, folder / "runs"
    for name, path in book.lists.items():
        print(f"{name}: {book.items[name]} items", file=sys.stderr)
        report = run_list(read_list(path), runs / name, settings, progress=sys.stderr.isatty())
        failures += len(report.failures)
    results = {
        name: _results(folder / "runs" / name, path) for name, path in book.lists.items()
    }
    lines = table(results)
    notes = _notes(results)
    cost = _cost(results)
    print(page(lines, notes))
    print(_facts(options, book, cost, began, failures))
    if options.json is not None:
        record = {
            "lines": [
                {"title": line.title, "items": line.items}
                | {name: _json(value._asdict()) for name, value in line.values.items()}
                for line in lines
            ],
            "notes": _json(notes),
            "goals": [goal[:3] for goal in goals(lines, notes)],
            "left_out": book.left_out,
            "cost": cost,
            "versions": library_versions(),
            "began": began.isoformat(timespec="seconds"),
            "options": {name: str(value) for name, value in vars(options).items()},
        }
        options.json.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")
    return 1 if failures else 0


def table(results: dict[str, list[ItemResult]]) -> list[Line]:
    """The measures of each set, and of parts of it that differ.

    Args:
      results: by name of the set, see `eagle_jax.demo.lists.SETS`.
    """
    lines = []
    if sentences := results.get("captions"):
        lines.append(_line("captions, every token", sentences))
    if words := results.get("words"):
        alone = [one for one in words if _partner(one) is None]
        paired = [one for one in words if _partner(one) is not None]
        lines.append(_line(_WORDS, words))
        lines.append(_line("  without its planted partner", alone))
        lines.append(_line("  beside its planted partner", paired))
    if hues := results.get("colours"):
        lines.append(_line("colour questions, the colour", hues))
    if mistakes := results.get("mistakes"):
        lines.append(_line(_WRONG, mistakes))
        for said in ("Yes", "No"):
            part = [one for one in mistakes if one.item.answer == said]
            lines.append(_line(f"  wrong {said}", part))
    return [line for line in lines if line.items]


def page(lines: list[Line], notes: dict[str, Any]) -> str:
    """The table as text."""
    head = "".join(f"{name:>14}" for name in _MEASURES)
    rows = [f"{'':<32}{'items':>6}{head}"]
    for line in lines:
        cells = ""
        for name in _MEASURES:
            value = line.values.get(name)
            cells += f"{'' if value is None else f'{value.mean:.3f}':>14}"
        rows.append(f"{line.title:<32}{line.items:>6}{cells}")
        spread = ""
        for name in _MEASURES:
            value = line.values.get(name)
            known = value is not None and value.count > 1
            spread += f"{f'{value.low:.3f}-{value.high:.3f}' if known else '':>14}"
        if spread.strip():
            rows.append(f"{'':<38}{spread}")
    rows += ["", *(f"{name:<66}{_shown(value):>8}" for name, value in notes.items())]
    for name, value, wanted, higher in goals(lines, notes):
        reached = value >= wanted if higher else value <= wanted
        bound = f"at {'least' if higher else 'most'} {wanted:.2f}"
        rows.append(f"{f'goal: {name} {bound}':<66}{'reached' if reached else 'missed':>8}")
    return "\n".join(row.rstrip() for row in rows)


def goals(lines: list[Line], notes: dict[str, Any]) -> list[tuple[str, float, float, bool]]:
    """What the benchmark should show: name, value, wanted value, whether more is better."""
    by_title = {line.title: line.values for line in lines}
    found = [
        ("pointing game, object words", by_title.get(_WORDS, {}).get("pointing"), 0.95, True),
        ("AUROC of reliance", notes.get(_AUROC), 0.95, True),
        ("AMCR of wrong answers", by_title.get(_WRONG, {}).get("AMCR"), 0.10, False),
        ("CSR@10% of wrong answers", by_title.get(_WRONG, {}).get("CSR@10%"), 0.80, True),
    ]
    return [
        (name, value.mean if isinstance(value, Interval) else value, wanted, higher)
        for name, value, wanted, higher in found
        if value is not None
    ]


def reliance_by_word(sentences: list[ItemResult]) -> dict[str, Float[np.ndarray, "words"]]:
    """Raw reliance of all tokens of some captions: content, frame and other function words."""
    found: dict[str, list[float]] = {"content": [], "frame": [], "other": []}
    for one in sentences:
        attribution = one.attribution
        for token, value in zip(attribution.tokens, attribution.reliance, strict=True):
            frame = "frame" if token.strip() in _FRAME else "other"
            found["content" if is_content_word(token) else frame].append(float(value))
    return {name: np.array(values) for name, values in found.items()}


def bisection(result: ItemResult) -> tuple[float, float, int]:
    """What a scan and a bisection of the same answers say.

    Returns:
      Minimal correction by scan and by bisection, NaN for none, and how many answers the
      bisection asks for.
    """
    attribution, answers, label = result.attribution, result.answers, result.item.label
    assert answers is not None and label is not None
    quick = correct_by_bisection(
        lambda visible: [str(answers[int(row.sum())]) for row in visible],
        attribution.order,
        lambda text: yes_or_no(text) == label,
        attribution.insertion.mean(axis=1),
    )
    return (
        minimal_correction(attribution.area, right_answers(answers, label)),
        minimal_correction(attribution.area, right_answers(quick, label)),
        sum(answer is not None for answer in quick),
    )


def _line(title: str, results: list[ItemResult]) -> Line:
    rows = [measure(one).values for one in results]
    for row, one in zip(rows, results, strict=True):
        if "mask_pointing" in row:
            row["mask_touching"] = measure(one, published_measures=True).values["mask_pointing"]
    values = {}
    for name, key in _MEASURES.items():
        numbers = np.array([row[key] for row in rows if key in row], np.float64)
        numbers = numbers[~np.isnan(numbers)]
        # A pointing game over those few of a set that have a mask would mislead.
        if numbers.size and (not key.startswith("mask") or numbers.size == len(rows)):
            values[name] = bootstrap_interval(numbers)
    return Line(title, len(results), values)


def _partner(result: ItemResult):
    """The planted partner of the explained object, if the scene shows it."""
    scene = draw_scene(int(result.item.image.stem))
    kind = PARTNERS.get(result.item.category or "")
    return next((one for one in scene.objects if one.kind == kind), None)


def _notes(results: dict[str, list[ItemResult]]) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    if sentences := results.get("captions"):
        found = reliance_by_word(sentences)
        function = np.concatenate([found["frame"], found["other"]])
        notes[_AUROC] = auroc(found["content"], function)
        notes["  over the frame (The image shows)"] = auroc(found["content"], found["frame"])
        notes["  over other function words (a, an, commas, and, full stop, end)"] = auroc(
            found["content"], found["other"]
        )
        notes["  words that the image decides over words that the grammar forces"] = _decided(
            sentences
        )
        for name, values in found.items():
            notes[f"  mean reliance, {name}"] = float(values.mean()) if values.size else None
    beside = [one for one in results.get("words", []) if _partner(one) is not None]
    if beside:
        notes["object's word beside its partner: the partner is pointed at"] = float(
            np.mean(
                [
                    pointing_game(
                        one.attribution.labels, one.attribution.order, _partner(one).mask
                    )
                    for one in beside
                ]
            )
        )
    if mistakes := results.get("mistakes"):
        pairs = [bisection(one) for one in mistakes]
        same = [a == b or (a != a and b != b) for a, b, _ in pairs]
        notes["never corrected"] = sum(a != a for a, _, _ in pairs)
        notes["bisection agrees with the scan"] = float(np.mean(same))
        notes["  AMCR by bisection"] = float(np.mean([1 if b != b else b for _, b, _ in pairs]))
        notes["  answers asked, mean"] = float(np.mean([asked for _, _, asked in pairs]))
    return notes


def _decided(sentences: list[ItemResult]) -> float:
    values = np.concatenate([one.attribution.reliance for one in sentences])
    open_ = np.concatenate([image_decides(one.attribution.tokens) for one in sentences])
    return auroc(values[open_].astype(np.float64), values[~open_].astype(np.float64))


def _cost(results: dict[str, list[ItemResult]]) -> dict[str, float]:
    every = [one.attribution for found in results.values() for one in found]
    forwards = sum(one.forwards for one in every)
    seconds = sum(one.seconds for one in every)
    regions = float(np.mean([one.order.size for one in every]))
    return {"forwards": forwards, "seconds": seconds, "regions": regions}


def _facts(options, book: Storybook, cost: dict[str, float], began, failures: int) -> str:
    device = jax.devices()[0]
    versions = ", ".join(f"{name} {value}" for name, value in library_versions().items())
    left = ", ".join(f"{count} {name}" for name, count in book.left_out.items())
    lines = {
        "scenes": f"seed {options.seed}; left out: {left}",
        "searches": f"{cost['forwards']:,} forwards in {cost['seconds']:,.0f} s, "
        f"{cost['forwards'] / cost['seconds']:.0f} forwards/s, "
        f"{cost['regions']:.1f} regions on average",
        "machine": f"{device.device_kind} ({device.platform}), {os.cpu_count()} CPU cores, "
        f"{platform.machine()}, Python {platform.python_version()}",
        "versions": versions,
        "date": f"{began:%Y-%m-%d %H:%M} UTC",
    }
    if failures:
        lines["failures"] = str(failures)
    return "\n".join(["", *(f"{name:<12}{text}" for name, text in lines.items())])


def _json(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: value if value == value else None for name, value in numbers.items()}


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--captions", type=int, default=200, help="number of captions and words (default: 200)")
    add("--colours", type=int, default=200, help="number of colour questions (default: 200)")
    add("--mistakes", type=int, help="number of recorded wrong answers (default: all)")
    add("--regions", default=REGIONS, help=f"approximate number (default: {REGIONS})")
    add("--seed", type=int, default=SEED, help=f"seed of the first scene (default: {SEED})")
    add("--folder", type=Path, help="folder of lists and results (default: temporary)")
    add("--json", type=Path, metavar="FILE", help="file for all numbers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
