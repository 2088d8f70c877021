"""Cost of the searches, and what their orders lose against the exact search.

Questions of four kinds about storybook scenes, from seeds on which nothing was tuned, and
random checkpoints of every family, which have no structure to exploit. Every search explains
every item; the loss of a search is 1 - sum(D) / sum(D of exact), where D is insertion AUC minus
deletion AUC, with a bootstrap interval over the items. The measurements are kept in
measured.jsonl in the folder, so that an interrupted run resumes. The tables are those of
docs/searches.md.

    python benchmarks/searches.py --folder searches --items 25
    python benchmarks/searches.py --folder searches --items 8 --regions 36 --searches exact auto
    python benchmarks/searches.py --folder searches --items 0 --random 3 --regions 36

A search may have a budget, as a fraction of the forwards of exact: surrogate@0.17.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import eagle_jax
from eagle_jax.demo.lists import SEED, write_storybook
from eagle_jax.inputs.images import read_image
from eagle_jax.lists import Item, read_list
from eagle_jax.metrics.hallucination import minimal_correction, right_answers, yes_or_no
from eagle_jax.metrics.localisation import pointing_game
from eagle_jax.scoring.answers import regenerate
from eagle_jax.search import Limits, find_orders
from eagle_jax.search.correction import correct_by_bisection
from eagle_jax.search.sets import area_between

SEARCHES = ("exact", "surrogate", "auto", "surrogate@0.17", "bidirectional", "lazy")
# The recorded mistakes are few; the first of them served to tune the surrogate.
TUNED_MISTAKES = 12
_LOSS = "loss in % [95 % interval]"
FAMILIES = ("qwen2.5-vl", "qwen2-vl", "qwen3-vl", "llava", "internvl")


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


class Question(NamedTuple):
    """An item that is searched, and what is known of it."""

    kind: str
    name: str
    case: Any
    mask: np.ndarray | None = None
    label: str | None = None


def main(arguments: list[str] | None = None) -> int:
    """Measures what is missing, prints tables and draws them; returns the exit code."""
    options = _parser().parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "measured.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    measured = [json.loads(line) for line in lines]
    done = {(one["name"], one["regions"], one["search"]) for one in measured}
    with path.open("a", encoding="utf-8") as lines:
        for regions in options.regions:
            for question in _questions(options, regions, done):
                for search in options.searches:
                    if (question.name, regions, search) in done:
                        continue
                    row = {"regions": regions} | measure(question, search)
                    lines.write(json.dumps(row) + "\n")
                    lines.flush()
                    measured.append(row)
    print("\n\n".join(page(one) for one in _parts(measured)))
    draw(measured, options.folder / "searches.png")
    return 0


def measure(question: Question, search: str) -> dict[str, Any]:
    """One search for one item: its cost and the measures of its order."""
    case, (name, _, share) = question.case, search.partition("@")
    n = case.scorer.regions
    limits = Limits(budget=int(float(share) * n * (n + 1))) if share else Limits()
    begin = time.perf_counter()
    (found,) = find_orders([case.scorer], name, limits=limits)
    seconds = time.perf_counter() - begin
    area = np.bincount(case.labels.ravel(), minlength=n) / case.labels.size
    curves = found.curves
    row = {
        "kind": question.kind,
        "name": question.name,
        "search": search,
        "n": n,
        "forwards": found.forwards,
        "rounds": found.rounds,
        "seconds": seconds,
        "area": area_between(curves, area),
        "first": curves.order[:5].tolist(),
    }
    if question.mask is not None:
        row["pointing"] = float(pointing_game(case.labels, curves.order, question.mask))
    if question.label is not None:
        answers = correct_by_bisection(
            lambda visible: regenerate(
                case.model, case.image, case.labels, case.prompt, visible
            ),
            curves.order,
            lambda text: yes_or_no(text) == question.label,
            curves.insertion.mean(1),
        )
        taken = np.append(0, np.cumsum(area[curves.order]))
        correction = minimal_correction(taken, right_answers(answers, question.label))
        row["correction"] = 1.0 if np.isnan(correction) else float(correction)
    return row


def page(measured: list[dict[str, Any]]) -> str:
    """The Markdown tables of one source of items and one number of regions."""
    pairs = _pairs(measured)
    kinds = [*dict.fromkeys(row["kind"] for row in measured)]
    head = ("search", "items", "forwards", "% of exact", "rounds", "seconds", _LOSS)
    head += ("largest loss of an item in %", "first five shared", "pointing", "AMCR", "CSR@10%")
    rows = []
    for search, both in pairs.items():
        own = [row for row, _ in both]
        shared = [len({*row["first"]} & {*exact["first"]}) for row, exact in both]
        corrected = [row["correction"] <= 0.1 for row in own if "correction" in row]
        rows.append(
            (
                f"`{search}`",
                str(len(own)),
                f"{_mean(own, 'forwards'):,.0f}",
                f"{_share(own):.1%}",
                f"{_mean(own, 'rounds'):.1f}",
                f"{_mean(own, 'seconds'):.1f}",
                _with_interval(both),
                f"{max(loss([pair]) for pair in both):.1f}",
                f"{np.mean(shared):.1f}",
                _number(_mean(own, "pointing")),
                _number(_mean(own, "correction")),
                _number(float(np.mean(corrected)) if corrected else np.nan),
            )
        )
    parts = [f"### {_title(measured)}", _markdown(head, rows)]
    if len(kinds) > 1 and len(pairs) > 1:
        by_kind = [
            (f"`{search}`", *(_with_interval(_of_kind(both, kind)) for kind in kinds))
            for search, both in pairs.items()
            if search != "exact"
        ]
        parts.append(_markdown((_LOSS, *kinds), by_kind))
    return "\n\n".join(parts)


def loss(pairs: list[tuple[dict, dict]]) -> float:
    """Loss of a search against exact over some items, in per cent."""
    return 100 * (1 - sum(a["area"] for a, _ in pairs) / sum(b["area"] for _, b in pairs))


def interval(pairs: list[tuple[dict, dict]]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the loss over the items."""
    areas = np.array([(a["area"], b["area"]) for a, b in pairs])
    rng = np.random.default_rng(0)
    sums = areas[rng.integers(len(areas), size=(10_000, len(areas)))].sum(1)
    low, high = np.quantile(100 * (1 - sums[:, 0] / sums[:, 1]), [0.025, 0.975])
    return float(low), float(high)


def draw(measured: list[dict[str, Any]], path: Path) -> None:
    """Draws the loss over the fraction of forwards, a panel for each table."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    parts = _parts(measured)
    figure, axes = plt.subplots(
        1, len(parts), figsize=(3.6 * len(parts), 3.6), squeeze=False, layout="constrained"
    )
    for axis, rows in zip(axes[0], parts, strict=True):
        for number, (search, pairs) in enumerate(_pairs(rows).items()):
            share, middle = 100 * _share([one for one, _ in pairs]), loss(pairs)
            low, high = interval(pairs)
            spread = [[max(middle - low, 0)], [max(high - middle, 0)]]
            colour = f"C{number}"
            axis.errorbar(share, middle, yerr=spread, fmt="o", capsize=3, color=colour)
            above = search in ("exact", "surrogate@0.17", "lazy")
            axis.annotate(
                search,
                (share, high if above else low),
                (0, 4 if above else -4),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                color=colour,
                fontsize=8,
            )
        axis.margins(y=0.12)
        axis.axhline(0, color="0.6", linewidth=0.8, zorder=0)
        axis.set(xscale="log", xlim=(2, 200), xlabel="forwards, % of exact")
        axis.set_xticks([2, 5, 10, 20, 50, 100], [2, 5, 10, 20, 50, 100])
        axis.minorticks_off()
        axis.set_title(_title(rows), fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("loss of insertion - deletion AUC, %")
    figure.savefig(path, dpi=110)


def _parts(measured) -> list[list[dict[str, Any]]]:
    keys = [(one["kind"] == "random", one["regions"]) for one in measured]
    parts = [
        [row for row, own in zip(measured, keys, strict=True) if own == key]
        for key in sorted(set(keys))
    ]
    return [rows for rows in parts if _pairs(rows)]


def _pairs(measured) -> dict[str, list[tuple[dict, dict]]]:
    """What each search measured on the items that exact explained too, beside exact."""
    exact = {one["name"]: one for one in measured if one["search"] == "exact"}
    pairs: dict[str, list[tuple[dict, dict]]] = {}
    for search in SEARCHES:
        own = [one for one in measured if one["search"] == search and one["name"] in exact]
        if own:
            pairs[search] = [(one, exact[one["name"]]) for one in own]
    return pairs


def _title(rows) -> str:
    source = "Random checkpoints" if rows[0]["kind"] == "random" else "Storybook"
    return f"{source}, {rows[0]['regions']} regions"


def _markdown(head, rows) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(one)} |" for one in lines)


def _of_kind(pairs, kind: str) -> list[tuple[dict, dict]]:
    return [pair for pair in pairs if pair[0]["kind"] == kind]


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _with_interval(pairs) -> str:
    if not pairs:
        return ""
    low, high = interval(pairs)
    return f"{loss(pairs):.2f} [{low:.2f}, {high:.2f}]"


def _share(rows) -> float:
    return float(np.mean([one["forwards"] / (one["n"] * (one["n"] + 1)) for one in rows]))


def _mean(rows, name: str) -> float:
    values = [one[name] for one in rows if name in one]
    return float(np.mean(values)) if values else np.nan


def _questions(options, regions: int, done) -> Iterator[Question]:
    def wanted(name: str) -> bool:
        return any((name, regions, search) not in done for search in options.searches)

    if options.items:
        model = eagle_jax.load("demo", dtype="float32")
        book = write_storybook(
            options.folder / "storybook",
            model,
            options.items,
            options.items,
            TUNED_MISTAKES + options.items,
            SEED,
        )
        lists = {kind: read_list(path) for kind, path in book.lists.items()}
        lists["mistakes"] = lists["mistakes"][TUNED_MISTAKES:]
        # In turns, so that whatever is measured first is a fair sample.
        for row in zip(*lists.values(), strict=False):
            for kind, item in zip(lists, row, strict=True):
                if isinstance(item, Item) and wanted(item.name):
                    yield _asked(model, kind, item, regions)
    for number in range(options.random * len(FAMILIES)):
        family, seed = FAMILIES[number % len(FAMILIES)], number // len(FAMILIES)
        if wanted(f"{family}-{seed}"):
            yield _random(options.folder, family, seed, regions)


def _asked(model, kind: str, item: Item, regions: int) -> Question:
    image = read_image(item.image)
    case = eagle_jax.ask(
        model,
        image,
        item.prompt,
        answer=item.answer,
        target=item.target,
        target_ids=item.target_ids,
        regions=regions,
    )
    label = item.label if kind == "mistakes" else None
    mask = None if kind == "mistakes" else item.object_mask(*image.shape[:2])
    return Question(kind, item.name, case, mask, label)


def _random(folder: Path, family: str, seed: int, regions: int) -> Question:
    """A question to a tiny checkpoint of random weights, about an image of random blocks."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from families import FAMILIES as MAKERS

    place = folder / "checkpoints" / f"{family}-{seed}"
    if not place.exists():
        MAKERS[family].make(place, 100 + seed)
    model = eagle_jax.load(place, dtype="float32")
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((14, 14, 1))).astype(np.uint8)
    side = round(regions**0.5)
    case = eagle_jax.ask(
        model,
        image,
        "Is there a cat in the image?",
        regions=f"grid:{side}x{side}",
        max_new_tokens=7,
    )
    return Question("random", f"{family}-{seed}", case)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Help)
    add = parser.add_argument
    add("--folder", type=Path, default=Path("searches"), help="folder of the measurements")
    add("--items", type=int, default=25, help="number of storybook items of each kind")
    add("--random", type=int, default=0, help="number of random checkpoints of each family")
    add("--regions", type=int, nargs="+", default=[64], help="approximate numbers of regions")
    add("--searches", nargs="+", default=SEARCHES, help="names of the searches to compare")
    return parser


if __name__ == "__main__":
    sys.exit(main())
