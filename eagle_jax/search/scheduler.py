"""Many conversations at once: the devices get full batches while the host advances searches.

Every conversation in flight puts its next sets into a queue. A batch is filled from whoever
waits, as long as one program can score it, see `MaskedImageScorer.batch_key`; batches of
different programs take turns. While the devices compute, threads of the host advance the
conversations whose scores have come back, and prepare those that begin next. A conversation
that ends is replaced at once. What a conversation is sent does not depend on the others.
"""

import collections
import dataclasses
import functools
import os
import queue
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from eagle_jax.scoring.scorer import Scorer
from eagle_jax.search.conversations import Conversation, advance

# Batches that the devices have at once: one that they compute, and the next.
_IN_FLIGHT = 2
# Conversations that are prepared before their turn.
_AHEAD = 4


class DeviceTime(NamedTuple):
    """Time in seconds, divided by what the devices did.

    Attributes:
      scoring: masked images were being scored.
      searching: nothing was scored, because the host advanced conversations.
      preparing: nothing was scored, because the host prepared conversations.
    """

    scoring: float = 0.0
    searching: float = 0.0
    preparing: float = 0.0


class Task(NamedTuple):
    """A conversation, and the set function that answers it.

    A failure to score its sets is raised inside the conversation.
    """

    scorer: Scorer
    conversation: Conversation


def answer_together(
    begins: Iterable[Callable[[], Task | None]],
    together: int,
    after_round: Callable[[int], Any] = lambda forwards: None,
) -> DeviceTime:
    """Answers conversations until all have ended.

    Args:
      begins: functions that prepare a conversation each, called in threads of the host, a few
        of them ahead of time. None is a conversation that does not take place.
      together: number of conversations in flight at once, and for which programs are compiled.
      after_round: called in this thread after each round of a conversation with the number of
        masked images that were scored for it.

    Returns:
      What the devices did, and what they waited for.

    Raises:
      Exception: what a conversation raises, or a function of `begins`.
    """
    scheduler = _Scheduler(together, after_round)
    scheduler.run(iter(begins))
    return DeviceTime(**scheduler.spent)


@dataclasses.dataclass(eq=False)
class _Request:
    """Sets of one round of a conversation, of which some are scored already."""

    task: Task
    lane: "_Lane"
    sets: np.ndarray
    begun: int = 0
    chunks: list[np.ndarray] = dataclasses.field(default_factory=list)
    failed: bool = False


# Rows of a request that are part of a batch.
_Part = tuple[_Request, np.ndarray]


class _Lane:
    """The queue of requests that one program can score in the same batches."""

    def __init__(self, batches: Any, full: int, most: int | None):
        self.batches, self.full, self.most = batches, full, most
        self.users, self.waiting = 0, 0
        self._requests: collections.deque[_Request] = collections.deque()

    def add(self, request: _Request) -> None:
        self._requests.append(request)
        self.waiting += len(request.sets)

    def drop(self, request: _Request) -> None:
        if request in self._requests:
            self._requests.remove(request)
            self.waiting -= len(request.sets) - request.begun

    def take(self) -> list[_Part]:
        """The next batch: sets of the requests that have waited longest."""
        parts: list[_Part] = []
        left = self.most
        while self._requests and left != 0:
            request = self._requests[0]
            sets = request.sets[request.begun :][:left]
            request.begun += len(sets)
            if request.begun == len(request.sets):
                self._requests.popleft()
            parts.append((request, sets))
            self.waiting -= len(sets)
            # Without shared batches a batch is what one request asks for.
            left = 0 if left is None else left - len(sets)
        return parts


class _Alone:
    """The batches of a scorer that shares none."""

    def begin(self, parts: Sequence[tuple[Any, np.ndarray]]) -> Callable[[], list[np.ndarray]]:
        ((scorer, sets),) = parts
        begin = getattr(scorer, "begin", None)
        fetch = functools.partial(scorer, sets) if begin is None else begin(sets)
        return lambda: [np.asarray(fetch(), np.float32)]

    def leave(self, scorer: Scorer) -> None:
        pass


class _Scheduler:
    """The loop in the main thread, and what it knows; threads report to it by events."""

    def __init__(self, together: int, after_round: Callable[[int], Any]):
        self._together, self._after_round = together, after_round
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lanes: dict[Hashable, _Lane] = {}
        self._ready: collections.deque[Task] = collections.deque()
        self._preparing = self._live = self._advancing = self._flying = 0
        self._noted = time.perf_counter()
        self.spent = dict.fromkeys(DeviceTime._fields, 0.0)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        # Beside each other: a reader that takes a second must not keep searches waiting.
        self._readers = ThreadPoolExecutor(cores, "prepare")
        self._workers = ThreadPoolExecutor(min(together, cores), "search")
        # Results come back in the order in which batches were begun.
        self._collector = ThreadPoolExecutor(1, "collect")

    def run(self, begins: Iterator[Callable[[], Task | None]]) -> None:
        pools = self._readers, self._workers, self._collector
        try:
            while True:
                self._prepare(begins)
                while self._ready and self._live < self._together:
                    self._open(self._ready.popleft())
                self._dispatch()
                if not (self._preparing or self._live):
                    return
                self._next_event()()
                while not self._events.empty():
                    self._events.get()()
        finally:
            for pool in pools:
                pool.shutdown(cancel_futures=True)

    def _next_event(self) -> Callable[[], None]:
        """The next event; the time since the event before counts for what it was spent on."""
        waiting_for = "searching" if self._advancing else "preparing"
        event = self._events.get()
        now = time.perf_counter()
        self.spent["scoring" if self._flying else waiting_for] += now - self._noted
        self._noted = now
        return event

    def _in(self, pool: ThreadPoolExecutor, work: Callable[[], Callable[[], None]]) -> None:
        """Runs work in a thread; what it returns runs in the main thread."""

        def run() -> None:
            try:
                event = work()
            except BaseException as error:
                event = functools.partial(_raise, error)
            self._events.put(event)

        pool.submit(run)

    def _prepare(self, begins: Iterator[Callable[[], Task | None]]) -> None:
        while self._preparing + len(self._ready) < _AHEAD:
            begin = next(begins, None)
            if begin is None:
                return
            self._preparing += 1
            self._in(
                self._readers, lambda begin=begin: functools.partial(self._prepared, begin())
            )

    def _prepared(self, task: Task | None) -> None:
        self._preparing -= 1
        if task is not None:
            self._ready.append(task)

    def _open(self, task: Task) -> None:
        self._live += 1
        self._lane(task.scorer).users += 1
        self._advance(task)

    def _lane(self, scorer: Any) -> _Lane:
        shared = None if self._together == 1 else getattr(scorer, "batch_key", None)
        key = id(scorer) if shared is None else shared
        if key not in self._lanes:
            if shared is None:
                self._lanes[key] = _Lane(_Alone(), 1, None)
            else:
                size = scorer.batch_size
                self._lanes[key] = _Lane(scorer.open_batches(self._together), size, size)
        return self._lanes[key]

    def _advance(
        self, task: Task, scores: np.ndarray | None = None, error: Exception | None = None
    ) -> None:
        self._advancing += 1

        def work() -> Callable[[], None]:
            count = 0 if scores is None else len(scores)
            try:
                if error is not None:
                    sets = task.conversation.throw(error)
                else:
                    sets = advance(task.conversation, scores)
                while not len(sets):
                    sets = advance(task.conversation, task.scorer(sets))
            except StopIteration:
                return functools.partial(self._end, task, count)
            return functools.partial(self._ask, task, sets, count)

        self._in(self._workers, work)

    def _ask(self, task: Task, sets: np.ndarray, scored: int) -> None:
        self._advancing -= 1
        lane = self._lane(task.scorer)
        lane.add(_Request(task, lane, sets))
        if scored:
            self._after_round(scored)

    def _end(self, task: Task, scored: int) -> None:
        self._advancing -= 1
        self._live -= 1
        lane = self._lane(task.scorer)
        lane.batches.leave(task.scorer)
        lane.users -= 1
        if not lane.users:
            self._lanes = {key: each for key, each in self._lanes.items() if each is not lane}
        if scored:
            self._after_round(scored)

    def _dispatch(self) -> None:
        while self._flying < _IN_FLIGHT and (key := self._next_lane()) is not None:
            lane = self._lanes.pop(key)
            self._lanes[key] = lane  # the last in turn from now on
            parts = lane.take()
            try:
                fetch = lane.batches.begin(
                    [(request.task.scorer, sets) for request, sets in parts]
                )
            except Exception as error:
                self._failed(parts, error)
                continue
            self._flying += 1
            self._in(self._collector, functools.partial(self._collect, parts, fetch))

    def _next_lane(self) -> Hashable | None:
        """The key of the lane whose turn it is: a full batch goes first."""
        for key, lane in self._lanes.items():
            if lane.waiting >= lane.full:
                return key
        # A batch with spare places is better than devices that wait, or than to wait for
        # conversations that wait for the devices themselves.
        if self._flying and self._advancing:
            return None
        key, lane = max(
            self._lanes.items(), key=lambda each: each[1].waiting, default=(None, None)
        )
        return key if lane is not None and lane.waiting else None

    def _collect(
        self, parts: list[_Part], fetch: Callable[[], list[np.ndarray | Exception]]
    ) -> Callable[[], None]:
        try:
            return functools.partial(self._scored, parts, fetch())
        except Exception as error:
            return functools.partial(self._not_scored, parts, error)

    def _scored(self, parts: list[_Part], scores: list[np.ndarray | Exception]) -> None:
        self._flying -= 1
        for part, chunk in zip(parts, scores, strict=True):
            request, _ = part
            if isinstance(chunk, Exception):
                self._failed([part], chunk)
                continue
            request.chunks.append(chunk)
            if not request.failed and sum(map(len, request.chunks)) == len(request.sets):
                self._advance(request.task, np.concatenate(request.chunks))

    def _not_scored(self, parts: list[_Part], error: Exception) -> None:
        self._flying -= 1
        self._failed(parts, error)

    def _failed(self, parts: list[_Part], error: Exception) -> None:
        for request, _ in parts:
            if not request.failed:
                request.failed = True
                request.lane.drop(request)
                self._advance(request.task, error=error)


def _raise(error: BaseException) -> None:
    raise error
