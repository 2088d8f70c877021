"""When a search ends early."""

import dataclasses
import math

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError


@checked
@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of a search; None for no limit.

    Attributes:
      budget: maximum number of masked images, those of the final curves included.
      seconds: time in seconds after which no round begins, except a last one that the search
        needs to return its result.
      top_k: number of leading regions to order as the exact search does. The step-by-step
        searches end after them, the surrogate orders the other regions itself.
      stop: fraction of the full image's score at which the search ends: the order holds only
        as many regions as the insertion curve needs to reach it.

    Raises:
      InputError: a value is out of range.
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
                f"stop is {self.stop}; it must be a positive fraction of the full image's "
                "score, such as 0.9"
            )

    @checked
    def require_budget(self, regions: int) -> None:
        """Raises if the budget is too small for the curves along an order.

        Args:
          regions: number of regions n; the curves take 2 n masked images.

        Raises:
          InputError: the budget is below 2 n.
        """
        if self.budget is not None and self.budget < 2 * regions:
            raise InputError(
                f"budget is {self.budget}; with {regions} regions the curves alone take "
                f"{2 * regions} masked images; set a larger budget or fewer regions"
            )
