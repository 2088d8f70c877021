"""Lists about storybook scenes, where the right explanation is known to the pixel."""

import dataclasses
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from eagle_jax.demo import MISTAKES
from eagle_jax.demo.drawings import COLOURS, KINDS
from eagle_jax.demo.evaluate import Respondent, make_respondent
from eagle_jax.demo.questions import (
    CAPTION_PROMPT,
    colour_answer,
    colour_question,
    read_caption,
)
from eagle_jax.demo.scenes import Scene, SceneObject, draw_scene
from eagle_jax.errors import InputError, one_line
from eagle_jax.files import write_file
from eagle_jax.lists.items import Item
from eagle_jax.lists.lines import write_list
from eagle_jax.scoring.model import Model, load

SEED = 60_000_000
"""Of the first scene: apart from those the demo model was trained, tested and watched on."""

SETS: tuple[str, ...] = ("captions", "words", "colours", "mistakes")
"""The lists, each `<name>.jsonl`."""

# Captions and colour questions are about different scenes.
_APART = 1_000_000


class Storybook(NamedTuple):
    """What was written, and what was asked and not kept.

    Attributes:
      lists: the list of each of `SETS` that has items.
      items: how many items each of them has.
      left_out: how many scenes had a caption that names no object of theirs, how many colour
        questions were answered wrongly, and how many recorded mistakes the model did not make.
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
    """Draws scenes, lets the model answer, and writes lists of what is to be explained.

    The same arguments give the same files. The lists are:

    - captions: the model's own caption, every token of it;
    - words: the same captions, of each one word for an object that is in the scene, with the
      object's mask and box;
    - colours: right answers to the question for an object's colour, of each the colour's
      word, with the object's mask and box;
    - mistakes: recorded wrong answers of the demo model to "Is there ...?", the other answer
      as the target, with the mask and box of an object that was overlooked.

    Args:
      folder: for lists, pictures and masks; made if missing.
      model: from `eagle_jax.load`; one that reads storybook scenes as the demo does.
      captions: how many captions, and words of them.
      colours: how many colour questions.
      mistakes: how many mistakes, wrong Yes and wrong No in turns; None for all.
      seed: of the first scene.

    Returns:
      Where the lists are and what was left out.

    Raises:
      InputError: a number is negative, or the file system refuses.
    """
    if min(captions, colours, mistakes or 0) < 0:
        raise InputError("captions, colours and mistakes must not be negative")
    folder = Path(folder)
    for part in ("pictures", "masks"):
        _make(folder / part)
    respondent = make_respondent(model)
    sentences, words, silent = _captions(folder, respondent, captions, seed)
    hues, wrong = _colours(folder, respondent, colours, seed + _APART)
    errors, avoided = _mistakes(folder, respondent, mistakes)
    items = dict(zip(SETS, (sentences, words, hues, errors), strict=True))
    lists = {name: folder / f"{name}.jsonl" for name in SETS if items[name]}
    for name, path in lists.items():
        write_list(path, items[name])
    return Storybook(
        lists=lists,
        items={name: len(items[name]) for name in lists},
        left_out={"captions": silent, "colours": wrong, "mistakes": avoided},
    )


def draw_list(name: str, count: int, folder: Path) -> Path:
    """One list of the storybook, as the demo model answers; drawn if it is not there yet.

    Args:
      name: one of `SETS`.
      count: how many items; of mistakes at most as many as are recorded.
      folder: of the list, its pictures and masks; made if missing.

    Returns:
      The list's path.

    Raises:
      InputError: there is no such list, the number is not positive, or the file system refuses.
    """
    if name not in SETS:
        raise InputError(f"the storybook has the lists {', '.join(SETS)}; {name!r} is none")
    if count < 1:
        raise InputError(f"a list has at least 1 item, not {count}")
    path = folder / f"{name}.jsonl"
    if not path.exists():
        wanted = {one: 0 for one in SETS if one != "words"}
        wanted["captions" if name == "words" else name] = count
        write_storybook(folder, load("demo"), **wanted)
    return path


def is_content_word(token: str) -> bool:
    """Whether a token names a colour or a kind of object; all others are function words.

    Which colour and which kind only the picture says. Of the function words the frame ("The
    image shows") is always the same, while "and", commas and "a" tell how many objects there
    are, and "an" the initial of what follows.
    """
    return token.strip() in COLOURS or token.strip() in KINDS


def picture_decides(tokens: Sequence[str]) -> list[bool]:
    """For each token of a caption, whether the words before it leave a choice.

    The grammar of captions forces the frame, the end, the full stop behind the last of
    several objects, and "orange" behind "an"; everything else only the picture can decide:
    colours and kinds, but also "a" or "an", and a comma, "and" or a full stop behind an object.

    Args:
      tokens: of a whole caption, in its order.
    """
    words = [token.strip() for token in tokens]
    decides = []
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if word in COLOURS:
            # An article leaves the colours with such an initial.
            vowel = [colour[0] in "aeiou" for colour in COLOURS]
            decides.append(vowel.count(before == "an") > 1)
        elif word == ".":
            decides.append("and" not in words[:place])
        else:
            decides.append(word in KINDS or word in ("a", "an", ",", "and"))
    return decides


def _captions(
    folder: Path, respondent: Respondent, count: int, seed: int
) -> tuple[list[Item], list[Item], int]:
    sentences, words, skipped = [], [], 0
    for scene in _scenes(seed):
        if len(words) == count:
            break
        (said,) = respondent.answer(respondent.look(scene.image), [CAPTION_PROMPT])
        told = [kind for _, kind in read_caption(said)]
        # A kind named twice would leave open which of its words is meant.
        found = [item for item in scene.objects if told.count(item.kind) == 1]
        if not found:
            skipped += 1
            continue
        chosen = _choose(found, scene)
        picture = _picture(folder, scene)
        name = f"caption-{scene.seed}"
        sentences.append(Item(name, "", picture, CAPTION_PROMPT, answer=said))
        words.append(
            _about(
                folder,
                Item(f"word-{scene.seed}", "", picture, CAPTION_PROMPT, said, chosen.kind),
                chosen,
            )
        )
    return sentences, words, skipped


def _colours(
    folder: Path, respondent: Respondent, count: int, seed: int
) -> tuple[list[Item], int]:
    items, wrong = [], 0
    for scene in _scenes(seed):
        if len(items) == count:
            break
        chosen = _choose(scene.objects, scene)
        asked = colour_question(chosen.kind)
        (said,) = respondent.answer(respondent.look(scene.image), [asked])
        if said != colour_answer(chosen.kind, chosen.colour):
            wrong += 1
            continue
        name, picture = f"colour-{scene.seed}", _picture(folder, scene)
        item = Item(name, "", picture, asked, answer=said, target=chosen.colour)
        items.append(_about(folder, item, chosen))
    return items, wrong


def _mistakes(
    folder: Path, respondent: Respondent, count: int | None
) -> tuple[list[Item], int]:
    recorded = json.loads(MISTAKES.read_text(encoding="utf-8"))
    pairs = zip(recorded["wrong_yes"], recorded["wrong_no"], strict=True)
    entries = [entry for pair in pairs for entry in pair]
    items, avoided = [], 0
    for entry in entries:
        if len(items) == count:
            break
        scene = draw_scene(entry["seed"])
        (said,), _ = respondent.yes_no(respondent.look(scene.image), [entry["question"]])
        if said != entry["answer"]:
            avoided += 1
            continue
        item = Item(
            name=f"wrong-{entry['answer'].lower()}-{scene.seed}-{entry['kind']}",
            place="",
            image=_picture(folder, scene),
            prompt=entry["question"],
            answer=said,
            target=(0,),
            target_ids=(entry["label"],),
            label=entry["label"],
            category=entry["kind"],
        )
        overlooked = [one for one in scene.objects if one.kind == entry["kind"]]
        items.append(_about(folder, item, overlooked[0]) if overlooked else item)
    return items, avoided


def _scenes(seed: int) -> Iterator[Scene]:
    while True:
        yield draw_scene(seed)
        seed += 1


def _choose(objects: list[SceneObject] | tuple[SceneObject, ...], scene: Scene) -> SceneObject:
    return objects[int(np.random.default_rng(scene.seed).integers(len(objects)))]


def _about(folder: Path, item: Item, chosen: SceneObject) -> Item:
    mask = folder / "masks" / f"{item.name}.png"
    _save(chosen.mask, mask)
    return dataclasses.replace(item, category=chosen.kind, boxes=(chosen.box,), mask=mask)


def _picture(folder: Path, scene: Scene) -> Path:
    path = folder / "pictures" / f"{scene.seed}.png"
    _save(scene.image, path)
    return path


def _save(pixels: np.ndarray, path: Path) -> None:
    # All or nothing: several processes may draw the same.
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    write_file(path, content.getvalue())


def _make(folder: Path) -> None:
    with one_line(f"cannot make {folder}", OSError):
        folder.mkdir(parents=True, exist_ok=True)
