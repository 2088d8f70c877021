"""Where a search ends, though it could go on."""

import dataclasses
import math

from eagle_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a search may spend, and when what it has found will do.

    Attributes:
      budget: most masked images that are scored, those of the final curves included.
      seconds: time after which no new round begins, but for what concludes the search.
      top_k: number of leading regions that are wanted exactly. The step-by-step searches end
        after them; the surrogate takes these steps as the exact search would, and orders the
        others itself.
      stop: share of the full image's score at which the search ends: the order holds no more
        regions than the insertion curve needs to come to it.

    Raises:
      InputError: one of them is out of range.
    """

    budget: int | None = None
    seconds: float | None = None
    top_k: int | None = None
    stop: float | None = None

    def __post_init__(self):
        for name in ("budget", "top_k"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        if self.seconds is not None and not self.seconds > 0:
            raise InputError(f"seconds is {self.seconds}; it must be more than 0")
        if self.stop is not None and not 0 < self.stop < math.inf:
            raise InputError(
                f"stop is {self.stop}; it is the share of the full image's score at which to "
                "end, such as 0.9"
            )

    def require_room(self, regions: int) -> None:
        """Raises where a budget does not reach for the curves along an order.

        Args:
          regions: their number n; the curves take 2 n masked images.

        Raises:
          InputError: the budget is smaller.
        """
        if self.budget is not None and self.budget < 2 * regions:
            raise InputError(
                f"budget is {self.budget}; with {regions} regions the curves alone take "
                f"{2 * regions}: give a larger one, or fewer regions"
            )
