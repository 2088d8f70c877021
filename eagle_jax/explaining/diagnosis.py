"""Why a Yes or No is wrong: what speaks for the mistake, and the least that corrects it."""

import dataclasses
import os
from typing import TYPE_CHECKING

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.explaining.corrections import removal_answers, require_all_regions
from eagle_jax.explaining.explanation import explain_case
from eagle_jax.explaining.ranking import Approach, check_approach
from eagle_jax.files import encoded, json_lines, write_folder
from eagle_jax.inputs.answer import Place
from eagle_jax.inputs.fill import DEFAULT_FILL, Fill
from eagle_jax.inputs.images import ImageSource, read_image
from eagle_jax.inputs.prompt import Dialogue, opens_thought
from eagle_jax.inputs.regions import DEFAULT_REGIONS, Regions
from eagle_jax.metrics.hallucination import (
    Label,
    kept_regions,
    minimal_correction,
    right_answers,
    yes_or_no,
)
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.storage import ANSWERS, encode, require_free
from eagle_jax.scoring.answers import (
    DEFAULT_MAX_NEW_TOKENS,
    answer_text,
    generate,
    regenerate,
)
from eagle_jax.scoring.case import AskSettings, Case, ask
from eagle_jax.scoring.model import Model
from eagle_jax.search import Limits, Objective
from eagle_jax.search.methods import DEFAULT_SEARCH, SearchFunction
from eagle_jax.search.sets import Curves, prefixes

if TYPE_CHECKING:
    import matplotlib.figure

FIGURE = "diagnosis.png"


@checked
@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
    """What made an answer wrong, and which regions to remove to make it right.

    Attributes:
      prompt: the question.
      label: the right answer.
      before: the model's answer about the whole image.
      attribution: the explanation of the right answer; None if the model gave the right one.
      answers: answer k is given with the first k regions visible, k = 0 (blank image) to n,
        None for a k that was not asked; shortened as by
        `eagle_jax.scoring.answers.regenerate`; None if the model was right.
      after: the whole answer with the fewest regions removed that make it right; None if no
        removal does, or the model was right.
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
        """Number of leading regions kept when the answer turns right; None if it never does."""
        if self.answers is None:
            return None
        return kept_regions(right_answers(self.answers, self.label))

    @property
    def correction(self) -> float:
        """Fraction of the image to remove: 0 for a right answer, NaN if no removal helps.

        References:
          EAGLE, arXiv 2509.22496, minimal correction region.
        """
        if self.attribution is None or self.answers is None:
            return 0.0
        right = right_answers(self.answers, self.label)
        return minimal_correction(self.attribution.area, right)

    def summary(self) -> str:
        """A few lines of text: the answers before and after, and what was removed."""
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

    @checked
    def save(self, folder: str | os.PathLike) -> None:
        """Writes attribution, answers and figure into a folder, all or nothing.

        `Attribution.load` reads the attribution.

        Args:
          folder: a folder that is missing, empty, or holds an earlier diagnosis, which is
            replaced.

        Raises:
          InputError: the model was right, the folder holds something else, or it cannot be
            written.
        """
        figure = encoded(self.plot().savefig, format="png", dpi=200)
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
        files = encode(vars(self.attribution))
        files |= {ANSWERS: json_lines(record), FIGURE: figure}
        require_replaceable(folder)
        write_folder(folder, files)


@checked
def diagnose(
    model: Model,
    image: ImageSource,
    prompt: str,
    label: str,
    *,
    regions: Regions = DEFAULT_REGIONS,
    fill: Fill = DEFAULT_FILL,
    max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS,
    batch_size: int | None = None,
    published_rounding: bool = False,
    system: str | None = None,
    thinking: str | None = None,
    search: str | SearchFunction = DEFAULT_SEARCH,
    budget: int | None = None,
    seconds: float | None = None,
    top_k: int | None = None,
    stop: float | None = None,
    insight_weight: float = 1.0,
    necessity_weight: float = 1.0,
    bisect: bool = False,
    progress: bool = False,
) -> Diagnosis:
    """Asks a question whose answer is known, and finds out why the model gets it wrong.

    Where the model is wrong, a search orders the regions by what speaks for the right answer,
    scored in place of the model's first word. The regions at the end of that order are what
    misled the model: they are removed, the last first, until the model answers rightly.

    Args:
      model: from `eagle_jax.load`.
      image: a path, a PIL image, or an array of uint8 pixels (H, W, 3).
      prompt: a question that is answered by Yes or No.
      label: the right answer, "Yes" or "No".
      regions: about this number of SLICO regions, a form such as "grid:8x8", or an integer
        label map (H, W).
      fill: what is shown in place of hidden and removed regions: "black", "mean", "blur", or
        an image of the same size.
      max_new_tokens: largest number of tokens of the answers before and after the correction.
      batch_size: masked images per batch, and answers decoded at once; None chooses.
      published_rounding: round scores as the published code does, as in `eagle_jax.ask`.
      system: system message in front of the conversation; None for the chat template's own.
      thinking: "off" or "on" passes the chat template's switch for thoughts, if it has one.
      search: name of a search, or a search function, as in `eagle_jax.explain`.
      budget: largest number of masked images to score; None for no limit.
      seconds: time after which the search ends; None for no limit.
      top_k: number of leading regions to determine exactly; None for all.
      stop: fraction of the full image's score at which the order may end; None for all regions.
      insight_weight: lambda 1 of the paper, weight of sufficiency.
      necessity_weight: lambda 2 of the paper, weight of necessity.
      bisect: ask again at a few steps of the order instead of all, see
        `eagle_jax.search.correction.correct_by_bisection`.
      progress: show progress bars.

    Returns:
      The diagnosis.

    Raises:
      InputError: an argument cannot be used, or a limit ended the search before the order had
        all regions; the message says what to do.

    References:
      EAGLE, arXiv 2509.22496, hallucination diagnosis.
    """
    right = yes_or_no(label)
    if right is None or right.lower() != label.strip().lower():
        raise InputError(f'the label is {label!r}; it must be "Yes" or "No"')
    approach = Approach(
        search=search,
        objective=Objective(insight_weight, necessity_weight),
        limits=Limits(budget, seconds, top_k, stop),
    )
    check_approach(approach)
    pixels = read_image(image)
    dialogue = Dialogue(system, thinking)
    answer_ids = generate(
        model, pixels, prompt, max_new_tokens=max_new_tokens, **dialogue._asdict()
    )
    inside = opens_thought(model.tokenizer, dialogue)
    before = answer_text(model, answer_ids, inside)
    said = yes_or_no(before)
    if said == right:
        return Diagnosis(prompt, right, before)
    asking = AskSettings(
        regions, fill, max_new_tokens, batch_size, published_rounding, system, thinking
    )
    case = ask(
        model,
        pixels,
        prompt,
        answer=answer_ids,
        # An answer that says neither Yes nor No is steered from its first token on.
        target=Place.FIRST if said is None else said,
        target_ids=(right,),
        **asking._asdict(),
    )
    attribution = explain_case(case, approach, progress)
    require_all_regions(
        attribution.order, attribution.regions, approach.limits, "a diagnosis needs"
    )
    curves = Curves(attribution.order, attribution.insertion, attribution.deletion)
    answers = removal_answers(
        case,
        curves,
        right,
        bisect=bisect,
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        progress=progress,
    )
    diagnosis = Diagnosis(prompt, right, before, attribution, answers)
    if diagnosis.kept is None:
        return diagnosis
    return dataclasses.replace(diagnosis, after=_answer_after(case, diagnosis, asking))


def _answer_after(case: Case, diagnosis: Diagnosis, asking: AskSettings) -> str:
    """The whole answer with the fewest regions removed that make it right."""
    assert diagnosis.attribution is not None
    visible = prefixes(diagnosis.attribution.order)[diagnosis.kept]
    (after,) = regenerate(
        case.model,
        case.image,
        case.labels,
        case.prompt,
        visible[None],
        fill=case.fill,
        max_new_tokens=asking.max_new_tokens,
        settle=(),
        batch_size=asking.batch_size,
        system=asking.system,
        thinking=asking.thinking,
    )
    return after


def require_replaceable(folder: str | os.PathLike) -> None:
    """Raises unless a diagnosis may be saved to a folder; to be called before a long search.

    Args:
      folder: must be missing, empty, or hold a diagnosis or attribution and nothing else.

    Raises:
      InputError: the folder holds something that saving would destroy.
    """
    require_free(folder, beside=(ANSWERS, FIGURE))
