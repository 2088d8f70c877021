"""Measures the demo model on scenes it has never seen, and collects its mistakes.

python benchmarks/demo_accuracy.py
python benchmarks/demo_accuracy.py --model demo-shortcut --scenes 300
python benchmarks/demo_accuracy.py --collect mistakes.json
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from demo_training.presence import CONFUSABLE, draw_presence
from tqdm import tqdm

import eagle_jax
from eagle_jax.demo.asking import answer, see, yes_or_no
from eagle_jax.demo.drawings import KINDS
from eagle_jax.demo.questions import (
    CAPTION_PROMPT,
    Named,
    caption,
    colour_answer,
    colour_question,
    named,
    presence_question,
    read_caption,
)
from eagle_jax.demo.scenes import PARTNERS, Scene, draw_scene
from eagle_jax.metrics.hallucination import OPPOSITE

# Training uses other scenes, and so does the watch over its progress.
TEST_SEED = 30_000_000
MISTAKES_SEED = 40_000_000


def main() -> int:
    """Runs the benchmark and prints its figures; returns the exit code."""
    options = _parser().parse_args()
    model = eagle_jax.load(options.model)
    if options.collect:
        mistakes = collect_mistakes(model)
        options.collect.write_text(json.dumps(mistakes, indent=1) + "\n")
        print(json.dumps(mistakes["rates"], indent=1))
        return 0
    for name, fraction in accuracies(model, options.scenes).items():
        print(f"{name:20} {fraction:7.2%}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="demo", help='"demo", "demo-shortcut" or a folder (default: demo)')
    add(
        "--scenes",
        type=int,
        default=1000,
        metavar="N",
        help="number of held-out scenes (default: 1000)",
    )
    add(
        "--collect",
        type=Path,
        metavar="FILE",
        help="file for wrong answers, which are collected instead",
    )
    return parser


def accuracies(model: eagle_jax.Model, scenes: int, seed: int = TEST_SEED) -> dict[str, float]:
    """Greedy accuracy on held-out scenes.

    Args:
      model: from `eagle_jax.load`.
      scenes: number of scenes; each gets four presence questions, half of whose answers are
        Yes, one colour question for each object and one request for a caption.
      seed: seed of the first scene.

    Returns:
      Fractions: right answers to presence questions, all ("presence") and by the kind that was
      asked for ("present", "absent partner", "absent confusable", "absent other"), right
      answers to colour questions ("colour"), objects whose kind the caption names ("objects"),
      objects that it names with their colour ("objects with colour"), named objects that are
      not there ("extra"), and captions without an error ("whole caption").
    """
    tallies: dict[str, list[bool]] = {}

    def count(name: str, right: bool) -> None:
        tallies.setdefault(name, []).append(right)

    for number in tqdm(range(seed, seed + scenes), desc="held-out scenes", unit="scene"):
        scene = draw_scene(number)
        objects, rng = named(scene), np.random.default_rng(number)
        visual = see(model, scene.image)
        asked = [draw_presence(objects, rng) for _ in range(4)]
        answers, _ = yes_or_no(model, visual, [presence_question(kind) for kind, _ in asked])
        for (kind, present), said in zip(asked, answers, strict=True):
            right = said == ("Yes" if present else "No")
            count("presence", right)
            count(_sort_of_question(kind, present, scene), right)
        # All batches have four rows, so that a handful of programs serves every scene.
        about = [objects[i % len(objects)] for i in range(4)]
        answers = answer(model, visual, [colour_question(kind) for _, kind in about])
        for (colour, kind), said in zip(objects, answers, strict=False):
            count("colour", said == colour_answer(kind, colour))
        (said,) = answer(model, visual, [CAPTION_PROMPT])
        mentioned = read_caption(said)
        for colour, kind in objects:
            count("objects", kind in [k for _, k in mentioned])
            count("objects with colour", (colour, kind) in mentioned)
        for _, kind in mentioned:
            count("extra", kind not in [k for _, k in objects])
        count("whole caption", said == caption(objects))
    return {name: float(np.mean(tally)) for name, tally in tallies.items()}


def collect_mistakes(
    model: eagle_jax.Model, each: int = 60, seed: int = MISTAKES_SEED
) -> dict[str, Any]:
    """Asks about every kind in scene after scene until enough answers were wrong.

    Returns:
      "wrong_yes" and "wrong_no", lists of dictionaries: `seed` (draws the scene and its masks
      again), `kind`, `question`, `label`, `answer`, `probability_yes`, `partner_present`
      (is the planted partner of the kind in the scene?), `confusable_present`, and for a
      wrong No `weak`, why the object is hard to see; and "rates": among the kinds that have a
      planted partner, the fraction of wrong answers about absent and about present kinds, with
      the partner in the scene and without.
    """
    wrong: dict[str, list[dict[str, Any]]] = {"wrong_yes": [], "wrong_no": []}
    tallies: dict[str, list[bool]] = {}
    first = seed
    bar = tqdm(desc="mistakes", total=2 * each)
    questions = [presence_question(kind) for kind in KINDS]
    while any(len(found) < each for found in wrong.values()):
        scene = draw_scene(seed)
        objects = named(scene)
        present = {item.kind: item for item in scene.objects}
        answers, probability = yes_or_no(model, see(model, scene.image), questions)
        for kind, question, said, chance in zip(
            KINDS, questions, answers, probability, strict=True
        ):
            partner = _planted(kind, objects)
            label = "Yes" if kind in present else "No"
            if kind in PARTNERS:
                name = f"wrong {said if said != label else OPPOSITE[label]}"
                name += " with partner" if partner else " without partner"
                tallies.setdefault(name, []).append(said != label)
            if said == label:
                continue
            entry = {
                "seed": seed,
                "kind": kind,
                "question": question,
                "label": label,
                "answer": said,
                "probability_yes": round(float(chance), 4),
                "partner_present": partner,
                "confusable_present": CONFUSABLE[kind] in present,
            }
            if kind in present:
                item = present[kind]
                entry["weak"] = [w for w in ("faint", "hidden", "small") if getattr(item, w)]
            found = wrong["wrong_no" if kind in present else "wrong_yes"]
            if len(found) < each:
                found.append(entry)
                bar.update()
        seed += 1
    bar.close()
    rates: dict[str, float] = {"scenes": seed - first}
    for name, tally in sorted(tallies.items()):
        rates[name] = round(float(np.mean(tally)), 4)
        rates[f"{name}, asked"] = len(tally)
    return {**wrong, "rates": rates}


def _planted(kind: str, objects: Named) -> bool:
    return PARTNERS.get(kind) in {present for _, present in objects}


def _sort_of_question(kind: str, present: bool, scene: Scene) -> str:
    if present:
        return "present"
    kinds = {item.kind for item in scene.objects}
    if PARTNERS.get(kind) in kinds:
        return "absent partner"
    return "absent confusable" if CONFUSABLE[kind] in kinds else "absent other"


if __name__ == "__main__":
    sys.exit(main())
