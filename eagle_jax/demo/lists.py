"""Lists about storybook scenes, where the right explanation is known to the pixel."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from eagle_jax.demo import MISTAKES
from eagle_jax.demo.asking import answer, see, yes_or_no
from eagle_jax.demo.questions import (
    CAPTION_PROMPT,
    colour_answer,
    colour_question,
    read_caption,
)
from eagle_jax.demo.scenes import Scene, SceneObject, draw_scene
from eagle_jax.errors import InputError, one_line
from eagle_jax.files import encoded, write_file
from eagle_jax.lists.items import Item
from eagle_jax.lists.lines import write_list
from eagle_jax.scoring.model import Model, load

SEED = 60_000_000
"""Seed of the first scene: the demo model was neither trained nor tested on these scenes."""

SETS: tuple[str, ...] = ("captions", "words", "colours", "mistakes")
"""Names of the lists, each `<name>.jsonl`."""

# Captions and colour questions are about different scenes.
_APART = 1_000_000


class Storybook(NamedTuple):
    """The lists that were written, and how many questions were asked in vain.

    Attributes:
      lists: path of each list of `SETS` that has items.
      items: number of items of each list.
      left_out: number of captions that name no object of their scene, of colour questions
        with a wrong answer, and of recorded mistakes that the model did not make.
    """

    lists: dict[str, Path]
    items: dict[str, int]
    left_out: dict[str, int]


def write_storybook(
    folder: Path,
    model: Model,
    captions: int = 200,
    colours: int = 200,
    mistakes: int | None = None,
    seed: int = SEED,
) -> Storybook:
    """Draws scenes, lets the model answer, and writes lists of answers to explain.

    The same arguments give the same files. The lists are:

    - captions: the model's caption, every token a target;
    - words: the same captions, one word for an object of the scene as the target, with the
      object's mask and box;
    - colours: right answers to the question for an object's colour, the colour's word as the
      target, with the object's mask and box;
    - mistakes: recorded wrong answers of the demo model to "Is there ...?", the other answer
      as the target, with the mask and box of an object that was overlooked.

    Args:
      folder: folder of lists, images and masks; made if missing.
      model: from `eagle_jax.load`; it must read storybook scenes as the demo model does.
      captions: number of captions, and number of words.
      colours: number of colour questions.
      mistakes: number of mistakes, wrong Yes and wrong No in turns; None for all.
      seed: seed of the first scene.

    Returns:
      Where the lists are and what was left out.

    Raises:
      InputError: a number is negative, or the file system refuses.
    """
    if min(captions, colours, mistakes or 0) < 0:
        raise InputError("captions, colours and mistakes must not be negative")
    folder = Path(folder)
    for name in ("pictures", "masks"):
        with one_line(f"cannot make {folder / name}", OSError):
            (folder / name).mkdir(parents=True, exist_ok=True)
    captioned, words, nameless = _captions(folder, model, captions, seed)
    coloured, wrong = _colours(folder, model, colours, seed + _APART)
    mistaken, avoided = _mistakes(folder, model, mistakes)
    items = dict(zip(SETS, (captioned, words, coloured, mistaken), strict=True))
    lists = {name: folder / f"{name}.jsonl" for name in SETS if items[name]}
    for name, path in lists.items():
        write_list(path, items[name])
    return Storybook(
        lists=lists,
        items={name: len(items[name]) for name in lists},
        left_out={"captions": nameless, "colours": wrong, "mistakes": avoided},
    )


def draw_list(name: str, count: int, folder: Path) -> Path:
    """Draws a list of the storybook as the demo model answers, unless the list exists already.

    Args:
      name: one of `SETS`.
      count: number of items; there are no more mistakes than are recorded.
      folder: folder of the list, its images and masks; made if missing.

    Returns:
      The list's path.

    Raises:
      InputError: there is no such list, the number is not positive, or the file system refuses.
    """
    path = list_path(name, count, folder)
    if not path.exists():
        counts = {"captions": 0, "colours": 0, "mistakes": 0}
        counts["captions" if name == "words" else name] = count
        write_storybook(folder, load("demo"), **counts)
    return path


def list_path(name: str, count: int, folder: Path) -> Path:
    """The path of a list that `draw_list` draws, whether it exists or not.

    Args:
      name: one of `SETS`.
      count: number of items, at least 1.
      folder: folder of the list.

    Raises:
      InputError: there is no such list, or the number is not positive.
    """
    if name not in SETS:
        raise InputError(f"the storybook has the lists {', '.join(SETS)}; {name!r} is none")
    if count < 1:
        raise InputError(f"a list has at least 1 item, not {count}")
    return folder / f"{name}.jsonl"


def _captions(
    folder: Path, model: Model, count: int, seed: int
) -> tuple[list[Item], list[Item], int]:
    captions, words, nameless = [], [], 0
    scenes = map(draw_scene, itertools.count(seed))
    while len(words) < count:
        scene = next(scenes)
        (caption,) = answer(model, see(model, scene.image), [CAPTION_PROMPT])
        kinds = [kind for _, kind in read_caption(caption)]
        # A kind named twice would leave open which of its words is meant.
        named = [item for item in scene.objects if kinds.count(item.kind) == 1]
        if not named:
            nameless += 1
            continue
        chosen = _choose(named, scene)
        image = _image(folder, scene)
        item = Item(f"caption-{scene.seed}", "", image, CAPTION_PROMPT, caption)
        captions.append(item)
        word = dataclasses.replace(item, name=f"word-{scene.seed}", target=chosen.kind)
        words.append(_about(folder, word, chosen))
    return captions, words, nameless


def _colours(folder: Path, model: Model, count: int, seed: int) -> tuple[list[Item], int]:
    items, wrong = [], 0
    scenes = map(draw_scene, itertools.count(seed))
    while len(items) < count:
        scene = next(scenes)
        chosen = _choose(scene.objects, scene)
        question = colour_question(chosen.kind)
        (said,) = answer(model, see(model, scene.image), [question])
        if said != colour_answer(chosen.kind, chosen.colour):
            wrong += 1
            continue
        image = _image(folder, scene)
        item = Item(f"colour-{scene.seed}", "", image, question, said, target=chosen.colour)
        items.append(_about(folder, item, chosen))
    return items, wrong


def _mistakes(folder: Path, model: Model, count: int | None) -> tuple[list[Item], int]:
    recorded = json.loads(MISTAKES.read_text(encoding="utf-8"))
    pairs = zip(recorded["wrong_yes"], recorded["wrong_no"], strict=True)
    items, avoided = [], 0
    for entry in itertools.chain.from_iterable(pairs):
        if len(items) == count:
            break
        scene = draw_scene(entry["seed"])
        (said,), _ = yes_or_no(model, see(model, scene.image), [entry["question"]])
        if said != entry["answer"]:
            avoided += 1
            continue
        item = Item(
            name=f"wrong-{entry['answer'].lower()}-{scene.seed}-{entry['kind']}",
            place="",
            image=_image(folder, scene),
            prompt=entry["question"],
            answer=said,
            target=(0,),
            target_ids=(entry["label"],),
            label=entry["label"],
            category=entry["kind"],
        )
        overlooked = [item for item in scene.objects if item.kind == entry["kind"]]
        items.append(_about(folder, item, overlooked[0]) if overlooked else item)
    return items, avoided


def _choose(objects: Sequence[SceneObject], scene: Scene) -> SceneObject:
    return objects[int(np.random.default_rng(scene.seed).integers(len(objects)))]


def _about(folder: Path, item: Item, chosen: SceneObject) -> Item:
    mask = folder / "masks" / f"{item.name}.png"
    _save(chosen.mask, mask)
    return dataclasses.replace(item, category=chosen.kind, boxes=(chosen.box,), mask=mask)


def _image(folder: Path, scene: Scene) -> Path:
    path = folder / "pictures" / f"{scene.seed}.png"
    _save(scene.image, path)
    return path


def _save(pixels: np.ndarray, path: Path) -> None:
    # All or nothing: several processes may draw the same.
    write_file(path, encoded(Image.fromarray(pixels).save, format="png"))
