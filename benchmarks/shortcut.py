"""Which methods find what a model really uses, which is a sign in a corner of the image.

The model "demo-shortcut" answers "Is there a cat in the image?" with Yes if a sign stands in a
corner, whether or not there is a cat (`benchmarks/plant_shortcut.py`). This habit is verified
first, by interventions on the same images. Then each method explains the Yes of scenes with a
sign, half of which show the object that the question names. A method finds the sign if the
pixel deepest inside its first region belongs to the sign. The measurements are kept in the
folder, so that an interrupted run resumes. The maps of the first item are drawn into
shortcut.png.

    python benchmarks/shortcut.py --folder shortcut
    python benchmarks/shortcut.py --items 20 --methods eagle:exact,tam,rise:samples=500

Since only the first region matters, the exact search of EAGLE runs only its first step, and no
curves are scored. Seconds are processor seconds.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from demo_accuracy import accuracies
from scipy.stats import binomtest
from trials import Trial, draw_trials

import eagle_jax
from eagle_jax.baselines.conversations import Estimate
from eagle_jax.baselines.methods import METHODS, full_options
from eagle_jax.demo.asking import see, yes_or_no
from eagle_jax.files import write_file
from eagle_jax.metrics.localisation import pointing_game, region_means
from eagle_jax.reports.comparison_figure import draw_comparison
from eagle_jax.scoring.case import Case
from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search import Limits, find_orders

SHORTCUT = "demo-shortcut"
RANKED = (
    "eagle:exact",
    "eagle:auto",
    "tam",
    "llava-cam",
    "rollout",
    "relevance",
    "leave-one-out",
    "occlusion",
    "random",
    "integrated-gradients",
    "lime:samples=200",
    "kernelshap:samples=200",
    "rise:samples=400",
    "igos++",
)
# Arguments of `Trial.image`: present, sign, moved; and whether the answer must be Yes.
INTERVENTIONS = {
    "sign and object": ((True, "sign", False), True),
    "sign, no object": ((False, "sign", False), True),
    "sign moved": ((False, "sign", True), True),
    "object, sign removed": ((True, None, False), False),
    "object, sign swapped": ((True, "decoy", False), False),
    "neither": ((False, None, False), False),
}
_SCENES = 300
_DRAWN = ("eagle", "tam", "llava-cam", "relevance")


def main(arguments: list[str] | None = None) -> int:
    """Measures what is missing and prints the tables; returns the exit code."""
    options = _parser().parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    path = options.folder / "measured.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    measured = [json.loads(line) for line in lines]
    done = {(one["item"], one["method"]) for one in measured}
    model = eagle_jax.load(SHORTCUT)
    trials = draw_trials(options.items)
    verified = options.folder / f"interventions-{options.items}.txt"
    if not verified.exists():
        write_file(verified, _verified(model, trials) + "\n")
    print(verified.read_text("utf-8"), flush=True)
    with path.open("a", encoding="utf-8") as lines:
        for number, trial in enumerate(trials):
            waiting = [one for one in options.methods if (number, one) not in done]
            if not waiting:
                continue
            present = number % 2 == 0
            case = eagle_jax.ask(
                model,
                trial.image(present),
                trial.question,
                answer="Yes",
                target="Yes",
                regions=options.regions,
            )
            for method in waiting:
                row = {"item": number, "present": present} | measure(case, method, trial)
                lines.write(json.dumps(row) + "\n")
                lines.flush()
                measured.append(row)
    print(page([one for one in measured if one["item"] < options.items], options.methods))
    draw(model, trials[1], options.regions, options.folder / "shortcut.png")
    return 0


def draw(model: eagle_jax.Model, trial: Trial, regions: int, path: Path) -> None:
    """The maps of some methods for a scene with the sign and without what is asked for."""
    case = eagle_jax.ask(
        model, trial.image(False), trial.question, answer="Yes", target="Yes", regions=regions
    )
    found = {method: eagle_jax.explain(case, method=method) for method in _DRAWN}
    draw_comparison(found).savefig(path, dpi=100)


def measure(case: Case, method: str, trial: Trial) -> dict[str, Any]:
    """A method's first region, and whether it is on the sign."""
    begin = time.process_time()
    first = first_region(case, method)
    seconds = time.process_time() - begin
    order = np.array([first], np.int32)
    hit = bool(pointing_game(case.labels, order, trial.sign_mask))
    return {"method": method, "first": first, "hit": hit, "seconds": seconds}


def first_region(case: Case, method: str) -> int:
    """The region that a method, written "name" or "name:option=value", puts first."""
    name, _, told = method.partition(":")
    if name == "eagle":
        limits = Limits(top_k=1) if told == "exact" else Limits()
        return int(find_orders([case.scorer], told, limits=limits)[0].curves.order[0])
    chosen = METHODS[name]
    option, _, value = told.partition("=")
    options = full_options(name, {option: int(value)} if told else {})
    if chosen.estimate is not None:
        return int(np.argmax(_answered(chosen.estimate(case.scorer, **options), case.scorer)))
    assert chosen.look is not None
    return int(np.argmax(region_means(case.labels, chosen.look(case, **options).heat)))


def _answered(estimate: Estimate, scorer: Scorer) -> np.ndarray:
    try:
        asked = next(estimate)
        while True:
            asked = estimate.send(scorer(asked))
    except StopIteration as end:
        return end.value


def _verified(model, trials: list[Trial]) -> str:
    """The answers of both models after each intervention, and their accuracy otherwise."""
    models = model, eagle_jax.load("demo")
    lines = [f"{len(trials)} trials{'Yes':>26}{'as planted':>14}{'Yes of the demo model':>25}"]
    for name, (intervention, yes) in INTERVENTIONS.items():
        planted, demo = (
            np.mean([_says_yes(asked, trial, intervention) for trial in trials])
            for asked in models
        )
        right = planted if yes else 1 - planted
        lines.append(f"{name:<24}{planted:>10.1%}{right:>14.1%}{demo:>25.1%}")
    lines += ["", f"{_SCENES} held-out scenes without signs{'shortcut':>12}{'demo':>8}"]
    planted, demo = (accuracies(asked, _SCENES) for asked in models)
    for name in ("colour", "objects", "objects with colour", "extra", "presence"):
        lines.append(f"{name:<30}{planted[name]:>14.1%}{demo[name]:>8.1%}")
    return "\n".join(lines)


def _says_yes(model, trial: Trial, intervention: tuple[bool, str | None, bool]) -> bool:
    (answer,), _ = yes_or_no(model, see(model, trial.image(*intervention)), [trial.question])
    return answer == "Yes"


def page(measured: list[dict[str, Any]], methods: list[str]) -> str:
    """The table of methods."""
    lines = [
        f"{'first region on the sign':<26}{'items':>7}{'rate':>8}{'95 % interval':>17}"
        f"{'object there':>14}{'not there':>11}{'CPU s':>8}"
    ]
    for method in methods:
        own = [one for one in measured if one["method"] == method]
        if not own:
            continue
        hits = np.array([one["hit"] for one in own])
        present = np.array([one["present"] for one in own])
        low, high = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
        seconds = np.median([one["seconds"] for one in own])
        shares = "".join(
            f"{hits[those].mean():>{width}.1%}" if those.any() else f"{'-':>{width}}"
            for those, width in ((present, 14), (~present, 11))
        )
        interval = f"{low:.1%} - {high:.1%}"
        lines.append(
            f"{method:<26}{len(own):>7}{hits.mean():>8.1%}{interval:>17}{shares}{seconds:>8.2f}"
        )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--folder",
        type=Path,
        default=Path("shortcut"),
        help="folder of the measurements (default: shortcut)",
    )
    add("--items", type=int, default=100, help="number of scenes with a sign (default: 100)")
    add("--regions", type=int, default=36, help="approximate number of regions (default: 36)")
    add(
        "--methods",
        type=lambda text: text.split(","),
        default=list(RANKED),
        help=f"methods, separated by commas (default: {','.join(RANKED)})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
