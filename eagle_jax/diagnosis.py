"""Why a Yes or No is wrong: the search for the other answer, and the least that mends it."""

import dataclasses
import functools
import io
import json
import os
from typing import TYPE_CHECKING

import numpy as np

from eagle_jax.errors import InputError
from eagle_jax.explanation import explain
from eagle_jax.files import write_folder
from eagle_jax.inputs.answer import decode_answer
from eagle_jax.inputs.images import ImageSource, read_image
from eagle_jax.inputs.regions import Regions, segment
from eagle_jax.metrics.hallucination import (
    Label,
    minimal_correction,
    right_answers,
    yes_or_no,
)
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.storage import ANSWERS, encode, require_free
from eagle_jax.scoring.answers import generate, regenerate
from eagle_jax.scoring.model import Model
from eagle_jax.search.correction import correct_by_bisection, correct_by_scan
from eagle_jax.search.sets import prefixes

if TYPE_CHECKING:
    import matplotlib.figure

FIGURE = "diagnosis.png"


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
    """What made an answer wrong, and what has to go from the image to make it right.

    Attributes:
      prompt: the question.
      label: the right answer.
      before: the model's answer about the whole image.
      attribution: the search for the right answer; None where the model gave it.
      answers: answer k is given with the first k regions visible, k = 0 (blank image) to n,
        None for a k that was not asked; cut as `eagle_jax.scoring.answers.regenerate`
        does; None where the model was right.
      after: the whole answer with as little removed as makes it right; None where nothing
        does, or nothing had to.
    """

    prompt: str
    label: Label
    before: str
    attribution: Attribution | None = None
    answers: tuple[str | None, ...] | None = None
    after: str | None = None

    @property
    def right(self) -> bool:
        """Whether the model is right about the whole image."""
        return self.attribution is None

    @property
    def kept(self) -> int | None:
        """How many first regions of the order stay when the answer turns right; None: never."""
        if self.answers is None:
            return None
        corrected = np.flatnonzero(right_answers(self.answers, self.label))
        return int(corrected[-1]) if corrected.size else None

    @property
    def correction(self) -> float:
        """Share of the image that has to go: 0 for a right answer, NaN where nothing helps.

        References:
          EAGLE, arXiv 2509.22496, minimal correction region.
        """
        if self.attribution is None or self.answers is None:
            return 0.0
        right = right_answers(self.answers, self.label)
        return minimal_correction(self.attribution.area, right)

    def summary(self) -> str:
        """A few lines for people: the answers before and after, and what was removed."""
        lines = {"answer": " ".join(self.before.split()), "right is": self.label}
        if self.attribution is None:
            lines["verdict"] = "the model is right; there is nothing to correct"
        elif self.kept is None:
            lines["correction"] = "none: no removal of last regions makes the answer right"
        else:
            count = self.attribution.order.size - self.kept
            lines["correction"] = (
                f"{count} of {self.attribution.order.size} regions removed, "
                f"{self.correction:.1%} of the image"
            )
            lines["after"] = " ".join((self.after or "").split())
        if self.attribution is not None and self.answers is not None:
            asked = sum(answer is not None for answer in self.answers)
            lines["cost"] = (
                f"{self.attribution.forwards:,} forwards in {self.attribution.seconds:.1f} s, "
                f"then {asked} answers"
            )
        return "\n".join(f"{name:<12}{text}" for name, text in lines.items())

    def plot(self) -> "matplotlib.figure.Figure":
        """The figure of `eagle_jax.reports.diagnosis_figure.draw_diagnosis`.

        Raises:
          InputError: the model was right, so there is nothing to draw.
        """
        from eagle_jax.reports.diagnosis_figure import draw_diagnosis

        if self.attribution is None or self.answers is None:
            raise InputError("the model is right about the whole image: nothing to draw")
        return draw_diagnosis(self.attribution, self.answers, self.label, self.after)

    def save(self, folder: str | os.PathLike) -> None:
        """Writes attribution, answers and figure into a folder, all or nothing.

        The attribution can be read back with `Attribution.load`.

        Args:
          folder: missing, empty, or with an earlier diagnosis, which is replaced.

        Raises:
          InputError: the model was right, the folder holds something else, or it cannot be
            written.
        """
        picture = io.BytesIO()
        self.plot().savefig(picture, format="png", dpi=200)
        assert self.attribution is not None  # or `plot` would have refused
        record = {
            "prompt": self.prompt,
            "label": self.label,
            "before": self.before,
            "after": self.after,
            "kept": self.kept,
            "correction": None if self.kept is None else round(self.correction, 6),
            "answers": self.answers,
        }
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        files = encode(vars(self.attribution))
        files[ANSWERS] = text.encode("utf-8", "surrogatepass")
        files[FIGURE] = picture.getvalue()
        require_room(folder)
        write_folder(folder, files)


def diagnose(
    model: Model,
    image: ImageSource,
    prompt: str,
    label: str,
    *,
    regions: Regions = 64,
    bisect: bool = False,
    search: str = "exact",
    budget: int | None = None,
    batch_size: int | None = None,
    max_new_tokens: int = 128,
    progress: bool = False,
) -> Diagnosis:
    """Asks a question whose answer is known, and finds out why the model gets it wrong.

    Where the model is wrong, a search orders the regions by what speaks for the right answer,
    scored in the place of the model's first word. The regions at the end of that order are
    what misled it: they are removed, the last first, until the model answers rightly.

    Args:
      model: from `eagle_jax.load`.
      image: a path, a PIL image, or an array of uint8 pixels.
      prompt: a question that is answered by Yes or No.
      label: the right answer, "Yes" or "No".
      regions: about so many SLICO regions, a form such as "grid:8x8", or an integer label
        map (H, W).
      bisect: ask again about few prefixes of the order instead of all, see
        `eagle_jax.search.correction.correct_by_bisection`.
      search: see `eagle_jax.explain`.
      budget: see `eagle_jax.explain`.
      batch_size: masked images at once; None chooses.
      max_new_tokens: limit of the answers before and after.
      progress: show progress bars.

    Returns:
      The diagnosis.

    Raises:
      InputError: something in the arguments cannot be used; the message says what to do.

    References:
      EAGLE, arXiv 2509.22496, hallucination diagnosis.
    """
    right = yes_or_no(label)
    if right is None or right.lower() != label.strip().lower():
        raise InputError(f'the label is {label!r}; it must be "Yes" or "No"')
    pixels = read_image(image)
    labels = segment(pixels, regions)
    answer_ids = generate(model, pixels, prompt, max_new_tokens=max_new_tokens)
    before = decode_answer(model.tokenizer, answer_ids)
    said = yes_or_no(before)
    if said == right:
        return Diagnosis(prompt, right, before)
    attribution = explain(
        model,
        pixels,
        prompt,
        answer=answer_ids,
        # An answer that says neither is steered from its first token on.
        target=(0,) if said is None else said,
        target_ids=(right,),
        regions=labels,
        search=search,
        budget=budget,
        batch_size=batch_size,
        progress=progress,
    )
    if attribution.order.size < attribution.regions:
        raise InputError(
            f"the search was cut short after {attribution.order.size} of {attribution.regions} "
            "regions, and a diagnosis needs all of them: give a larger budget, or the search "
            "surrogate"
        )
    ask = functools.partial(
        regenerate, model, pixels, labels, prompt, batch_size=batch_size, progress=progress
    )
    if bisect:
        answers = correct_by_bisection(
            ask,
            attribution.order,
            lambda text: yes_or_no(text) == right,
            attribution.insertion.mean(axis=1),
        )
    else:
        answers = correct_by_scan(ask, attribution.order)
    found = Diagnosis(prompt, right, before, attribution, answers)
    if found.kept is None:
        return found
    (after,) = regenerate(
        model,
        pixels,
        labels,
        prompt,
        prefixes(attribution.order)[found.kept][None],
        max_new_tokens=max_new_tokens,
        settle=(),
        batch_size=batch_size,
    )
    return dataclasses.replace(found, after=after)


def require_room(folder: str | os.PathLike) -> None:
    """Raise unless a diagnosis may be saved to `folder`; worth asking before a long search.

    Args:
      folder: must be missing, empty, or hold a diagnosis or attribution and nothing else.

    Raises:
      InputError: the folder holds something that saving would destroy.
    """
    require_free(folder, beside=(ANSWERS, FIGURE))
