"""The measures of a run: one row per item, their means, and two runs against each other."""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from eagle_jax.errors import InputError, reason
from eagle_jax.files import write_file
from eagle_jax.metrics.reliance import perception_auroc
from eagle_jax.metrics.statistics import (
    Interval,
    Paired,
    bootstrap_interval,
    paired_difference,
)
from eagle_jax.metrics.word_classes import CLASSES, WordClass
from eagle_jax.results.failures import read_failures
from eagle_jax.results.measures import KINDS, MEASURES, Kind, Row, measure
from eagle_jax.results.run_folder import ITEMS, read_result


class ClassReliance(NamedTuple):
    """Reliance of the words of a class.

    Attributes:
      raw: mean of the words' raw values. Words of one answer depend on each other, so each
        answer counts once, with the mean of its words.
      scaled: the same on the scale of each answer, 0 to 1.
      words: number of words.
    """

    raw: Interval
    scaled: Interval
    words: int


class Group(NamedTuple):
    """Items of one kind.

    Attributes:
      rows: their measures, by name.
      measures: mean and interval of each measure that any of them has.
      classes: reliance by word class.
      auroc: how well raw reliance separates content words, colours and numbers from
        function words and marks; NaN where one side is missing.
    """

    rows: tuple[Row, ...]
    measures: dict[str, Interval]
    classes: dict[WordClass, ClassReliance]
    auroc: float


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The measures of a run.

    Attributes:
      out: folder of the run.
      published_rules: whether they follow the published evaluation where it differs.
      groups: the items by kind; kinds without items are missing.
      damaged: name of and reason for each result that could not be read.
      failed: name of and reason for each item that the run has no result of.
    """

    out: Path
    published_rules: bool
    groups: dict[Kind, Group]
    damaged: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values; numbers that do not exist are None."""
        return _plain(
            {
                "out": str(self.out),
                "published_rules": self.published_rules,
                "groups": {
                    kind: {
                        "items": len(group.rows),
                        "measures": {
                            name: value._asdict() for name, value in group.measures.items()
                        },
                        "word_classes": {
                            name: {
                                "raw": found.raw._asdict(),
                                "scaled": found.scaled._asdict(),
                                "words": found.words,
                            }
                            for name, found in group.classes.items()
                        },
                        "perception_auroc": group.auroc,
                        "rows": [
                            {
                                "name": row.name,
                                "prompt": row.prompt,
                                "values": row.values,
                                "words": [word._asdict() for word in row.words],
                            }
                            for row in group.rows
                        ],
                    }
                    for kind, group in self.groups.items()
                },
                "damaged": dict(self.damaged),
                "failed": dict(self.failed),
            }
        )


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two runs over the same items.

    Attributes:
      first: the run in question.
      second: its baseline.
      differences: first less second, by kind and measure, over the items that both have.
      unpaired: items that only one of them has, or that are another question in each.
    """

    first: Evaluation
    second: Evaluation
    differences: dict[Kind, dict[str, Paired]]
    unpaired: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything but the rows as JSON values; numbers that do not exist are None."""
        return _plain(
            {
                "baseline": str(self.second.out),
                "differences": {
                    kind: {name: value._asdict() for name, value in found.items()}
                    for kind, found in self.differences.items()
                },
                "unpaired": list(self.unpaired),
            }
        )


def evaluate(
    out: str | os.PathLike, *, published_rules: bool = False, progress: bool = False
) -> Evaluation:
    """Computes the measures of every result of a run.

    Args:
      out: folder of the run.
      published_rules: what the published evaluation does otherwise, see
        `eagle_jax.results.measures.measure`.
      progress: show a progress bar.

    Returns:
      The measures; results that cannot be read are named in it and left out.

    Raises:
      InputError: the folder holds no result that can be read.
    """
    out = Path(out)
    folder = out / ITEMS
    if not folder.is_dir():
        raise InputError(f"{out} holds no run: give the --out folder of eagle-jax run")
    # Folders that begin with a dot are unfinished. The others count even when what tells a
    # finished one is missing: that is damage.
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    rows, damaged = [], []
    for name in tqdm(names, unit="item", desc="evaluation", disable=not progress):
        try:
            rows.append(measure(read_result(out, name), published_rules))
        except InputError as error:
            damaged.append((name, reason(error)))
    if not rows:
        first = f"; the first is damaged: {damaged[0][1]}" if damaged else ""
        raise InputError(f"{out} holds no result to evaluate{first}")
    return Evaluation(
        out=out,
        published_rules=published_rules,
        groups={
            kind: group
            for kind in KINDS
            if (group := _group([row for row in rows if row.kind == kind])).rows
        },
        damaged=tuple(damaged),
        failed=tuple(one for one in read_failures(out) if one[0] not in names),
    )


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Compares two runs item by item.

    Args:
      first: the run in question.
      second: its baseline, evaluated by the same rules.

    Raises:
      InputError: they have no item in common, or were evaluated by different rules.
    """
    if first.published_rules != second.published_rules:
        raise InputError("one run is evaluated by published rules and the other is not")
    questions = [
        {(row.kind, row.name, row.prompt): row for g in one.groups.values() for row in g.rows}
        for one in (first, second)
    ]
    common = questions[0].keys() & questions[1].keys()
    if not common:
        raise InputError(f"{first.out} and {second.out} have no item in common")
    differences = {}
    for kind in KINDS:
        keys = sorted(key for key in common if key[0] == kind)
        ours, theirs = (_columns(those[key] for key in keys) for those in questions)
        if keys:
            differences[kind] = {
                name: paired_difference(ours[name], theirs[name])
                for name in ours
                if name in theirs and not np.isnan(ours[name] - theirs[name]).all()
            }
    unpaired = {key[1] for key in questions[0].keys() ^ questions[1].keys()}
    return Comparison(first, second, differences, tuple(sorted(unpaired)))


def write_json(
    path: Path, evaluation: Evaluation, comparison: Comparison | None = None
) -> None:
    """Writes all numbers, rows included, to a file.

    Args:
      path: of the file.
      evaluation: of the run.
      comparison: with its baseline, if there is one.

    Raises:
      InputError: the file cannot be written.
    """
    record = evaluation.to_json()
    if comparison is not None:
        record["comparison"] = comparison.to_json()
    text = json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_file(path, text.encode("utf-8", "surrogatepass"))


def _group(rows: Sequence[Row]) -> Group:
    classes = {}
    for kind in CLASSES:
        answers = [[word for word in row.words if word.word_class == kind] for row in rows]
        answers = [words for words in answers if words]
        if answers:
            raw = [np.mean([word.highest for word in words]) for words in answers]
            scaled = [np.mean([word.scaled for word in words]) for words in answers]
            classes[kind] = ClassReliance(
                bootstrap_interval(np.array(raw, np.float64)),
                bootstrap_interval(np.array(scaled, np.float64)),
                sum(map(len, answers)),
            )
    return Group(
        rows=tuple(rows),
        measures={name: bootstrap_interval(v) for name, v in _columns(rows).items()},
        classes=classes,
        auroc=perception_auroc([word for row in rows for word in row.words]),
    )


def _columns(rows: Iterable[Row]) -> dict[str, np.ndarray]:
    """One array per measure that any of the rows has, NaN where a row has it not."""
    rows = list(rows)
    return {
        name: np.array([row.values.get(name, math.nan) for row in rows], np.float64)
        for name in MEASURES
        if any(name in row.values for row in rows)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
