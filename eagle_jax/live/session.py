"""State of a server: a model with the latest images, questions and explanations."""

import dataclasses
import itertools
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from eagle_jax.baselines import Ranking
from eagle_jax.errors import InputError
from eagle_jax.explaining.explanation import Approach, conclude, rank_case
from eagle_jax.inputs.images import ImageSource, read_image
from eagle_jax.results.attribution import Attribution
from eagle_jax.scoring.case import AskSettings, Case, ask
from eagle_jax.scoring.model import Model
from eagle_jax.search import Curves, Progress, SearchResult
from eagle_jax.search.conversations import answer_alone
from eagle_jax.search.methods import chosen_search
from eagle_jax.search.sets import ends

# Number of images, of questions and of explanations that are kept.
_KEPT = 16


class Cancelled(Exception):
    """The user cancelled the search."""


class Session:
    """A model with the latest images, questions about them, and explanations.

    Each has a number. Only the latest few of each are kept.
    """

    def __init__(
        self,
        model: Model,
        approach: Approach = Approach(),  # noqa: B008
        asking: AskSettings = AskSettings(),  # noqa: B008
    ):
        """Begins a session.

        Args:
          model: from `eagle_jax.load`.
          approach: EAGLE's search and its limits.
          asking: how questions are asked.
        """
        self.model = model
        self._approach, self._asking = approach, asking
        self._numbers = itertools.count(1)
        self._images: OrderedDict[int, np.ndarray] = OrderedDict()
        self._questions: OrderedDict[int, tuple[Case, np.ndarray]] = OrderedDict()
        self._explanations: OrderedDict[int, Attribution] = OrderedDict()

    def add_image(self, source: ImageSource | bytes) -> int:
        """Reads an image as the command line does.

        Args:
          source: a path, or the content of an image file.

        Returns:
          The number of the image.

        Raises:
          InputError: the source is not an image.
        """
        if not isinstance(source, bytes):
            return self._keep(self._images, read_image(source))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image"
            path.write_bytes(source)
            try:
                return self._keep(self._images, read_image(path))
            except InputError as error:
                raise InputError(str(error).replace(str(path), "the image")) from error

    def question(self, image: int, prompt: str) -> tuple[int, Attribution]:
        """Lets the model answer, and scores the answer with the blank and the full image.

        Args:
          image: number of the image.
          prompt: question or instruction.

        Returns:
          The number of the question, and an attribution whose order is still empty.

        Raises:
          InputError: the image has been discarded, or the prompt cannot be used.
        """
        case = ask(
            self.model,
            _kept(self._images, image, "image"),
            prompt,
            **self._asking._asdict(),
        )
        scores = case.scorer(ends(case.scorer.regions))
        number = self._keep(self._questions, (case, scores))
        return number, self._begun(case, scores)

    def explain(
        self,
        question: int,
        positions: Sequence[int] | None,
        on_step: Callable[[Attribution, int | None], Any],
        cancelled: Event,
    ) -> tuple[int, Attribution]:
        """Explains tokens of an answer.

        Args:
          question: number of the question.
          positions: positions of the tokens in the answer; None for all tokens.
          on_step: called after each round with the partial result and with the number of
            masked images that the whole search will score, None if unknown.
          cancelled: event that ends the search at its next round.

        Returns:
          The number of the explanation, and the explanation.

        Raises:
          InputError: the question has been discarded, or the answer has no such positions.
          Cancelled: the search was cancelled.
        """
        begin = time.perf_counter()
        whole, scores = _kept(self._questions, question, "question")
        if positions is None:
            case = whole
        else:
            case = ask(
                self.model,
                whole.image,
                whole.prompt,
                answer=whole.answer_ids,
                target=list(positions),
                **self._asking._replace(regions=whole.labels, fill=whole.fill)._asdict(),
            )
            scores = scores[:, case.positions]
        begun = self._begun(case, scores)

        def on_progress(progress: Progress) -> None:
            (curves,) = progress.curves
            so_far = {} if curves is None else curves._asdict()
            so_far |= {"forwards": progress.forwards, "seconds": time.perf_counter() - begin}
            on_step(dataclasses.replace(begun, **so_far), progress.planned)

        asking = rank_case(
            case, self._approach, on_progress=on_progress, interrupted=cancelled.is_set
        )
        ranking = answer_alone(case.scorer, asking)
        if cancelled.is_set():
            raise Cancelled
        seconds = time.perf_counter() - begin
        attribution = conclude(case, self._approach, ranking, seconds)
        return self._keep(self._explanations, attribution), attribution

    def explanation(self, number: int) -> Attribution:
        """The explanation with a number.

        Raises:
          InputError: the explanation has been discarded.
        """
        return _kept(self._explanations, number, "explanation")

    def _begun(self, case: Case, scores: np.ndarray) -> Attribution:
        """An attribution with an empty order, from the scores of the blank and full image."""
        name, _ = chosen_search(self._approach.search)
        curves = Curves(np.zeros(0, np.int32), scores[:1], scores[1:])
        result = SearchResult(curves, forwards=len(scores), rounds=1, search=name)
        return conclude(case, self._approach, Ranking(result), seconds=0.0)

    def _keep(self, kept: OrderedDict[int, Any], value: Any) -> int:
        number = next(self._numbers)
        kept[number] = value
        if len(kept) > _KEPT:
            kept.popitem(last=False)
        return number


def _kept(kept: OrderedDict[int, Any], number: int, what: str) -> Any:
    if number not in kept:
        raise InputError(
            f"this {what} has been discarded (only the latest {_KEPT} are kept): start again "
            "with the image"
        )
    return kept[number]
