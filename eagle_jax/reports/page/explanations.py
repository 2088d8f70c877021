"""What a page shows: an attribution, and what is known beside it."""

import json
from pathlib import Path
from typing import NamedTuple

from eagle_jax.argument_types import checked
from eagle_jax.errors import one_line
from eagle_jax.files import local_path
from eagle_jax.inputs.images import ImageSource
from eagle_jax.metrics.hallucination import LABELS, Label, yes_or_no
from eagle_jax.results.attribution import Attribution
from eagle_jax.results.run_folder import ITEM, ItemResult, read_result
from eagle_jax.results.storage import ANSWERS
from eagle_jax.search.sets import Curves


@checked
class Explanation(NamedTuple):
    """An attribution and what is known beside it.

    Attributes:
      name: title among several explanations.
      attribution: attribution with its image.
      label: right answer to a question that is answered by Yes or No.
      answers: answer k is given with the first k regions visible, None for each k without an
        answer; None as a whole when answers were not regenerated.
      after: whole corrected answer, with as little removed as possible; None shows the
        corrected answer in `answers`.
      controls: curves along orders that do not depend on the answer, by name, from
        `eagle_jax.search.controls`.
    """

    name: str
    attribution: Attribution
    label: Label | None = None
    answers: tuple[str | None, ...] | None = None
    after: str | None = None
    controls: dict[str, Curves] | None = None


@checked
def read_explanation(folder: Path, image: ImageSource | None = None) -> Explanation:
    """Reads a saved attribution, a diagnosis, or one result of a run.

    Args:
      folder: folder of `Attribution.save` or `Diagnosis.save`, or ``items/NAME`` of a run.
      image: explained image, if it was not saved beside the attribution.

    Raises:
      InputError: the folder holds none of these, a file in it is damaged, or the image is
        missing.
    """
    folder = local_path(folder).resolve()
    if (folder / ITEM).is_file():
        return explanation_of(read_result(folder.parents[1], folder.name), image)
    attribution = Attribution.load(folder)
    if image is not None:
        attribution = attribution.with_image(image)
    attribution.require_image(folder)
    explanation, path = Explanation(folder.name, attribution), folder / ANSWERS
    return _with_answers(explanation, path) if path.exists() else explanation


def explanation_of(result: ItemResult, image: ImageSource | None = None) -> Explanation:
    """The explanation of one result of a run.

    Args:
      result: result of a run.
      image: explained image; None reads the image that the run used.

    Raises:
      InputError: the image cannot be read, or has another size.
    """
    item = result.item
    return Explanation(
        name=item.name,
        attribution=result.attribution.with_image(item.image if image is None else image),
        label=yes_or_no(item.label or ""),
        answers=result.answers,
        controls=result.controls,
    )


def _with_answers(explanation: Explanation, path: Path) -> Explanation:
    errors = OSError, ValueError, LookupError, TypeError, RecursionError
    with one_line(f"{path} is damaged", *errors):
        record = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
        label, after, answers = record["label"], record["after"], record["answers"]
        texts = [after, *answers]
        fits = isinstance(answers, list) and label in LABELS
        if not fits or not all(isinstance(text, str | None) for text in texts):
            raise ValueError("label must be Yes or No, the answers texts")
        expected = explanation.attribution.order.size + 1
        if len(answers) != expected:
            raise ValueError(f"it holds {len(answers)} answers; expected {expected}")
    return explanation._replace(label=label, answers=tuple(answers), after=after)
