"""The measures of a run: of each item, their means, and the difference of two runs."""

import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError, reason
from eagle_jax.files import json_lines, local_path, write_file
from eagle_jax.metrics.reliance import perception_auroc
from eagle_jax.metrics.statistics import Interval, Paired, bootstrap_interval, paired_difference
from eagle_jax.metrics.word_classes import CLASSES, WordClass
from eagle_jax.results.failures import read_failures
from eagle_jax.results.measures import KINDS, MEASURES, ItemMeasures, Kind, measure
from eagle_jax.results.run_folder import read_result, result_names


class ClassReliance(NamedTuple):
    """Reliance of the words of a word class.

    Attributes:
      raw: mean of the raw reliance. Words of the same answer depend on each other, so each
        answer counts once, with the mean of its words.
      scaled: mean of the reliance scaled to 0 to 1 within each answer.
      words: number of words.
    """

    raw: Interval
    scaled: Interval
    words: int


class GroupMeasures(NamedTuple):
    """The measures of all items of one kind.

    Attributes:
      rows: measures of each item, sorted by the item's name.
      measures: mean and confidence interval of each measure that any item has.
      classes: reliance by word class.
      auroc: area under the ROC curve of raw reliance as a test for content words, colours and
        numbers against function words and punctuation; NaN where one side is missing.
    """

    rows: tuple[ItemMeasures, ...]
    measures: dict[str, Interval]
    classes: dict[WordClass, ClassReliance]
    auroc: float


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The measures of a run.

    Attributes:
      out: folder of the run.
      published_measures: whether the measures follow the published evaluation.
      groups: measures by kind of item; kinds without items are missing.
      damaged: name and reason of each result that could not be read.
      failed: name and reason of each item without a result.
    """

    out: Path
    published_measures: bool
    groups: dict[Kind, GroupMeasures]
    damaged: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]

    @property
    def rows(self) -> list[ItemMeasures]:
        """The measures of all items, kind by kind."""
        return [row for group in self.groups.values() for row in group.rows]

    def to_json(self) -> dict[str, Any]:
        """All measures as JSON values; NaN becomes None."""
        return _plain(
            {
                "out": str(self.out),
                "published_measures": self.published_measures,
                "groups": {
                    kind: {
                        "items": len(group.rows),
                        "measures": group.measures,
                        "word_classes": group.classes,
                        "perception_auroc": group.auroc,
                        "rows": [
                            {
                                "name": row.name,
                                "prompt": row.prompt,
                                "values": row.values,
                                "words": row.words,
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
class RunDifference:
    """The difference between two runs over the same items.

    Attributes:
      first: the run to judge.
      second: the baseline.
      differences: first minus second by kind and measure, over the items in both runs.
      unpaired: names of items that are in only one run, or ask different questions in the two.
    """

    first: Evaluation
    second: Evaluation
    differences: dict[Kind, dict[str, Paired]]
    unpaired: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All but the measures of single items as JSON values; NaN becomes None."""
        return _plain(
            {
                "baseline": str(self.second.out),
                "differences": self.differences,
                "unpaired": self.unpaired,
            }
        )


@checked
def evaluate(
    out: str | os.PathLike, *, published_measures: bool = False, progress: bool = False
) -> Evaluation:
    """Computes the measures of every result of a run.

    Args:
      out: folder of the run.
      published_measures: compute the measures as the published evaluation does, see
        `eagle_jax.results.measures.measure`.
      progress: show a progress bar.

    Returns:
      The measures, without damaged results, which are named in `Evaluation.damaged`.

    Raises:
      InputError: the folder holds no result that can be read.
    """
    out = local_path(out)
    # A folder without its record is a damaged result.
    names, rows, damaged = result_names(out), [], []
    for name in tqdm(names, unit="item", desc="evaluation", disable=not progress):
        try:
            rows.append(measure(read_result(out, name), published_measures))
        except InputError as error:
            damaged.append((name, reason(error)))
    if not rows:
        first = f"; the first is damaged: {damaged[0][1]}" if damaged else ""
        raise InputError(f"{out} holds no result to evaluate{first}")
    return Evaluation(
        out=out,
        published_measures=published_measures,
        groups={
            kind: group
            for kind in KINDS
            if (group := _group([row for row in rows if row.kind == kind])).rows
        },
        damaged=tuple(damaged),
        failed=tuple(failure for failure in read_failures(out) if failure[0] not in names),
    )


def compare_runs(first: Evaluation, second: Evaluation) -> RunDifference:
    """Compares two runs item by item.

    Args:
      first: the run to judge.
      second: the baseline, with the same `published_measures`.

    Raises:
      InputError: the runs have no item in common, or only one has published measures.
    """
    if first.published_measures != second.published_measures:
        raise InputError(
            "only one of the two runs has published measures: evaluate both in the same way"
        )
    questions = [
        {(row.kind, row.name, row.prompt): row for row in evaluation.rows}
        for evaluation in (first, second)
    ]
    common = questions[0].keys() & questions[1].keys()
    if not common:
        raise InputError(f"{first.out} and {second.out} have no item in common")
    differences = {}
    for kind in KINDS:
        keys = sorted(key for key in common if key[0] == kind)
        ours, theirs = (_columns(rows[key] for key in keys) for rows in questions)
        if keys:
            differences[kind] = {
                name: paired_difference(ours[name], theirs[name])
                for name in ours
                if name in theirs and not np.isnan(ours[name] - theirs[name]).all()
            }
    unpaired = {key[1] for key in questions[0].keys() ^ questions[1].keys()}
    return RunDifference(first, second, differences, tuple(sorted(unpaired)))


def write_json(
    path: Path, evaluation: Evaluation, comparison: RunDifference | None = None
) -> None:
    """Writes all measures of a run to a JSON file, item by item.

    Args:
      path: the file, which is replaced.
      evaluation: the measures of the run.
      comparison: the difference from a baseline, or None.

    Raises:
      InputError: the file cannot be written.
    """
    record = evaluation.to_json()
    if comparison is not None:
        record["comparison"] = comparison.to_json()
    write_file(path, json_lines(record))


def _group(rows: Sequence[ItemMeasures]) -> GroupMeasures:
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
    return GroupMeasures(
        rows=tuple(rows),
        measures={name: bootstrap_interval(v) for name, v in _columns(rows).items()},
        classes=classes,
        auroc=perception_auroc([word for row in rows for word in row.words]),
    )


def _columns(rows: Iterable[ItemMeasures]) -> dict[str, np.ndarray]:
    """An array for each measure that any item has, NaN for items without the measure."""
    rows = list(rows)
    return {
        name: np.array([row.values.get(name, math.nan) for row in rows], np.float64)
        for name in MEASURES
        if any(name in row.values for row in rows)
    }


def _plain(value: Any) -> Any:
    """Named tuples as objects, and NaN as None, at any depth."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
