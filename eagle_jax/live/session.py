"""What a server knows: a model, and the latest pictures, questions and findings."""

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

from eagle_jax.errors import InputError
from eagle_jax.explanation import Approach, conclude
from eagle_jax.inputs.images import ImageSource, read_image
from eagle_jax.inputs.regions import Regions
from eagle_jax.results.attribution import Attribution
from eagle_jax.scoring.case import Case, ask
from eagle_jax.scoring.model import Model
from eagle_jax.search import Limits, Objective, Progress

# How many of each kind are kept for those who come back to them.
_KEPT = 16


class Cancelled(Exception):
    """The search was ended before it was done."""


class Session:
    """A model with the latest pictures, questions about them and findings.

    Everything has a number; the oldest of more than a few are forgotten.
    """

    def __init__(
        self,
        model: Model,
        search: str = "auto",
        budget: int | None = None,
        regions: Regions = 64,
        max_new_tokens: int = 128,
    ):
        """Begins a session.

        Args:
          model: from `eagle_jax.load`.
          search: a name of `eagle_jax.search.SEARCHES`.
          budget: most masked images that a search scores; None for as many as it takes.
          regions: see `eagle_jax.ask`.
          max_new_tokens: limit of an answer.
        """
        self.model = model
        self._search, self._budget = search, budget
        self._regions, self._longest = regions, max_new_tokens
        self._numbers = itertools.count(1)
        self._pictures: OrderedDict[int, np.ndarray] = OrderedDict()
        self._questions: OrderedDict[int, tuple[Case, np.ndarray]] = OrderedDict()
        self._findings: OrderedDict[int, Attribution] = OrderedDict()

    def add_picture(self, source: ImageSource | bytes) -> int:
        """Reads a picture by the rules of the command line.

        Args:
          source: a path, or the content of an image file.

        Returns:
          Its number.

        Raises:
          InputError: it is none.
        """
        if not isinstance(source, bytes):
            return self._keep(self._pictures, read_image(source))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "picture"
            path.write_bytes(source)
            try:
                return self._keep(self._pictures, read_image(path))
            except InputError as error:
                raise InputError(str(error).replace(str(path), "the picture")) from error

    def question(self, picture: int, prompt: str) -> tuple[int, Attribution]:
        """Lets the model answer, and scores the answer with a blank and the whole picture.

        Args:
          picture: number of the picture.
          prompt: what to ask.

        Returns:
          The number of the question, and an attribution without any step.

        Raises:
          InputError: the picture is forgotten, or the prompt cannot be asked.
        """
        image = _kept(self._pictures, picture, "picture")
        case = ask(
            self.model,
            image,
            prompt,
            regions=self._regions,
            max_new_tokens=self._longest,
        )
        ends = case.scorer(np.array([[False], [True]]).repeat(case.scorer.regions, axis=1))
        number = self._keep(self._questions, (case, ends))
        return number, self._begun(case, ends)

    def explain(
        self,
        question: int,
        positions: Sequence[int] | None,
        tell: Callable[[Attribution, int | None], Any],
        cancelled: Event,
    ) -> tuple[int, Attribution]:
        """Searches for what some tokens of an answer rest on.

        Args:
          question: number of the question.
          positions: of the tokens in the answer; None for all.
          tell: called after each round with what is found so far, and with the number of
            masked images that it will take, None where that cannot be said.
          cancelled: ends the search at its next round when it is set.

        Returns:
          The number of the finding, and the finding.

        Raises:
          InputError: the question is forgotten, or there are no such positions.
          Cancelled: the search was cancelled.
        """
        begin = time.perf_counter()
        whole, ends = _kept(self._questions, question, "question")
        if positions is None:
            case = whole
        else:
            case = ask(
                self.model,
                whole.image,
                whole.prompt,
                answer=whole.answer_ids,
                target=list(positions),
                regions=whole.labels,
            )
            ends = ends[:, case.positions]
        begun = self._begun(case, ends)
        approach = Approach("eagle", {}, self._search, Objective(), Limits(self._budget))

        def on_progress(progress: Progress) -> None:
            (curves,) = progress.curves
            so_far = {} if curves is None else curves._asdict()
            so_far |= {"forwards": progress.forwards, "seconds": time.perf_counter() - begin}
            tell(dataclasses.replace(begun, **so_far), progress.planned)

        (found,) = approach.find([case], on_progress=on_progress, interrupted=cancelled.is_set)
        if cancelled.is_set():
            raise Cancelled
        seconds = time.perf_counter() - begin
        attribution = conclude(case, approach, *found, seconds)
        return self._keep(self._findings, attribution), attribution

    def finding(self, number: int) -> Attribution:
        """A finding of earlier.

        Raises:
          InputError: it is forgotten.
        """
        return _kept(self._findings, number, "finding")

    def _begun(self, case: Case, ends: np.ndarray) -> Attribution:
        """An attribution without any step, from the scores of the blank and whole picture."""
        return Attribution(
            image=case.image,
            labels=case.labels,
            order=np.zeros(0, np.int32),
            insertion=ends[:1],
            deletion=ends[1:],
            prompt=case.prompt,
            answer=case.answer,
            answer_ids=case.answer_ids,
            answer_tokens=case.answer_tokens,
            positions=case.positions,
            token_ids=case.token_ids,
            tokens=case.scorer.tokens,
            insight_weight=1.0,
            necessity_weight=1.0,
            model=case.model.name,
            forwards=len(ends),
            seconds=0.0,
            options={"search": self._search},
        )

    def _keep(self, kept: OrderedDict[int, Any], value: Any) -> int:
        number = next(self._numbers)
        kept[number] = value
        if len(kept) > _KEPT:
            kept.popitem(last=False)
        return number


def _kept(kept: OrderedDict[int, Any], number: int, what: str) -> Any:
    if number not in kept:
        raise InputError(f"this {what} is forgotten: only the latest {_KEPT} are kept")
    return kept[number]
