"""Measures the demo model on scenes it has never seen, and collects its mistakes.

python -m eagle_jax.demo.evaluate
python -m eagle_jax.demo.evaluate --collect mistakes.json
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8
from tqdm import tqdm

from eagle_jax.demo.drawings import KINDS
from eagle_jax.demo.lessons import VISUAL_TOKENS, image_patches
from eagle_jax.demo.questions import (
    CAPTION_PROMPT,
    caption,
    colour_answer,
    colour_question,
    draw_presence,
    named,
    planted,
    presence_question,
    read_caption,
)
from eagle_jax.demo.scenes import CONFUSABLE, PARTNERS, Scene, draw_scene
from eagle_jax.metrics.hallucination import OPPOSITE

# Apart from the training scenes and from those that training watches its progress on.
TEST_SEED = 30_000_000
MISTAKES_SEED = 40_000_000
_CAPTION_TOKENS = 32


class Respondent(NamedTuple):
    """A model that answers several questions about one picture at once.

    Attributes:
      look: picture (168, 168, 3) -> its visual tokens.
      answer: visual tokens, questions of one length -> greedy answers.
      yes_no: visual tokens, presence questions of one length -> answers (the single most
        likely token) and the probability of Yes.
    """

    look: Callable[[UInt8[np.ndarray, "168 168 3"]], jax.Array]
    answer: Callable[[jax.Array, Sequence[str]], list[str]]
    yes_no: Callable[[jax.Array, Sequence[str]], tuple[list[str], Float[np.ndarray, " q"]]]


def make_respondent(model) -> Respondent:
    """Wraps what `eagle_jax.load` returns.

    Batches share one picture and one prompt length; nothing else is special about them: each
    question is a conversation of its own.
    """
    from eagle_jax.inputs.prompt import build_prompt
    from eagle_jax.models.layers.decoding import generate
    from eagle_jax.models.layers.rope import image_start

    network, tokenizer = model.network, model.tokenizer
    layout = network.layout((12, 12))
    end_ids = jnp.asarray(model.end_ids, jnp.int32)
    yes = tokenizer.encode("Yes")[0]

    @jax.jit
    def encode(network, image):
        return network.visual_tokens(image_patches(image[None]), layout)

    def embed(network, visual, ids, start):
        x = network.decoder.embed(ids)
        visual = jnp.broadcast_to(visual, (len(ids), *visual.shape[1:]))
        return jax.lax.dynamic_update_slice_in_dim(x, visual, start, axis=1)

    @jax.jit
    def first_token(network, visual, ids, positions, start):
        x = embed(network, visual, ids, start)
        hidden = network.hidden_states(x, positions, jnp.asarray([ids.shape[1] - 1]))
        logits = network.decoder.logits(hidden[:, 0])
        return logits.argmax(-1), jax.nn.softmax(logits)[:, yes]

    @jax.jit
    def continuation(network, visual, ids, positions, start):
        x = embed(network, visual, ids, start)
        return generate(
            network, x, positions, jnp.int32(ids.shape[1]), end_ids, _CAPTION_TOKENS
        )

    def prompts(questions):
        image_token = network.config.image_token_id
        rows = [build_prompt(tokenizer, q, VISUAL_TOKENS, image_token) for q in questions]
        ids = np.stack(rows).astype(np.int32)
        start = np.int32(image_start(ids[0], image_token))
        return ids, network.positions(ids[0], (12, 12)), start

    def answer(visual, questions):
        tokens = np.asarray(continuation(network, visual, *prompts(questions)))
        return [tokenizer.decode(row[row >= 0], skip_special_tokens=True) for row in tokens]

    def yes_no(visual, questions):
        tokens, probability = first_token(network, visual, *prompts(questions))
        return [tokenizer.decode([t]) for t in np.asarray(tokens)], np.asarray(probability)

    return Respondent(lambda image: encode(network, image), answer, yes_no)


def evaluate(respondent: Respondent, scenes: int, seed: int = TEST_SEED) -> dict[str, float]:
    """Greedy accuracy on held-out scenes.

    Args:
      respondent: from `make_respondent`.
      scenes: how many scenes; each gets four presence questions, half of whose answers are
        Yes, one colour question for each object and one request for a caption.
      seed: of the first scene.

    Returns:
      Shares from 0 to 1: "presence" and its parts by what was asked ("present", "absent
      partner", "absent confusable", "absent other"), "colour", "objects" (of those present,
      the kinds a caption names), "objects with colour", "extra" (objects named that are not
      there, of all named) and "whole caption".
    """
    tallies: dict[str, list[bool]] = {}

    def count(name: str, right: bool) -> None:
        tallies.setdefault(name, []).append(right)

    for number in tqdm(range(seed, seed + scenes), desc="held-out scenes", unit="scene"):
        scene = draw_scene(number)
        objects, rng = named(scene), np.random.default_rng(number)
        visual = respondent.look(scene.image)
        asked = [draw_presence(objects, rng) for _ in range(4)]
        answers, _ = respondent.yes_no(visual, [presence_question(kind) for kind, _ in asked])
        for (kind, present), said in zip(asked, answers, strict=True):
            right = said == ("Yes" if present else "No")
            count("presence", right)
            count(_sort_of_question(kind, present, scene), right)
        # All batches have four rows, so that a handful of programs serves every scene.
        about = [objects[i % len(objects)] for i in range(4)]
        answers = respondent.answer(visual, [colour_question(kind) for _, kind in about])
        for (colour, kind), said in zip(objects, answers, strict=False):
            count("colour", said == colour_answer(kind, colour))
        (said,) = respondent.answer(visual, [CAPTION_PROMPT])
        told = read_caption(said)
        for colour, kind in objects:
            count("objects", kind in [k for _, k in told])
            count("objects with colour", (colour, kind) in told)
        for _, kind in told:
            count("extra", kind not in [k for _, k in objects])
        count("whole caption", said == caption(objects))
    return {name: float(np.mean(tally)) for name, tally in tallies.items()}


def collect_mistakes(
    respondent: Respondent, each: int = 60, seed: int = MISTAKES_SEED
) -> dict[str, Any]:
    """Asks about every kind in scene after scene until enough answers were wrong.

    Returns:
      "wrong_yes" and "wrong_no", lists of dictionaries: `seed` (draws the scene and its masks
      again), `kind`, `question`, `label`, `answer`, `probability_yes`, `partner_present`
      (is the planted partner of the kind in the scene?), `confusable_present`, and for a
      wrong No `weak`, how the object is hard to see; and "rates": of the kinds that have a
      planted partner, how often an absent one got a Yes and a present one a No, with the
      partner in the scene and without.
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
        answers, probability = respondent.yes_no(respondent.look(scene.image), questions)
        for kind, question, said, chance in zip(
            KINDS, questions, answers, probability, strict=True
        ):
            partner = planted(kind, objects)
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


def _sort_of_question(kind: str, present: bool, scene: Scene) -> str:
    if present:
        return "present"
    kinds = {item.kind for item in scene.objects}
    if PARTNERS.get(kind) in kinds:
        return "absent partner"
    return "absent confusable" if CONFUSABLE[kind] in kinds else "absent other"


def _main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo", help="folder (default: the bundled one)")
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--collect", type=Path, help="collect wrong answers into this file")
    options = parser.parse_args()
    from eagle_jax.scoring.model import load

    respondent = make_respondent(load(options.model))
    if options.collect:
        mistakes = collect_mistakes(respondent)
        options.collect.write_text(json.dumps(mistakes, indent=1) + "\n")
        print(json.dumps(mistakes["rates"], indent=1))
        return
    for name, share in evaluate(respondent, options.scenes).items():
        print(f"{name:20} {share:7.2%}")


if __name__ == "__main__":
    _main()
