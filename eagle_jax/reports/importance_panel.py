"""What each region adds, with error bars, and the pairs that interact."""

import numpy as np
from matplotlib.axes import Axes

from eagle_jax.reports.fonts import font
from eagle_jax.reports.look import EDGE, FAINT, INSERTION_COLOUR, plain_frame
from eagle_jax.results.attribution import Attribution

SHOWN = 12


def draw_importance(axes: Axes, attribution: Attribution) -> None:
    """Draws the importance of the leading regions, in the order, with its standard error.

    Args:
      axes: axes to draw on.
      attribution: attribution by a search that models the scores, so that it has estimates.
    """
    importance, error = attribution.importance, attribution.uncertainty
    assert importance is not None and error is not None
    leading = attribution.order[:SHOWN]
    places = np.arange(len(leading))
    axes.axhline(0, color=EDGE, linewidth=0.8)
    axes.errorbar(
        places,
        importance[leading],
        yerr=error[leading],
        fmt="o",
        color=INSERTION_COLOUR,
        markersize=3.5,
        elinewidth=1.0,
        capsize=2.0,
    )
    axes.set_xticks(places, [str(place + 1) for place in places])
    axes.set_xlim(-0.6, SHOWN - 0.4)
    plain_frame(axes)
    axes.set_xlabel("region, by its place in the order", fontproperties=font(8), color=FAINT)


def interactions(attribution: Attribution) -> list[str]:
    """A line for each pair of regions that interact, by their places in the order."""
    if attribution.pairs is None or attribution.interaction is None:
        return []
    place = {region: rank + 1 for rank, region in enumerate(attribution.order.tolist())}
    return [
        f"{place[first]} and {place[second]}: {strength:+.3f}, "
        + ("they need each other" if strength > 0 else "either is enough")
        for (first, second), strength in zip(
            attribution.pairs.tolist(), attribution.interaction.tolist(), strict=True
        )
        if first in place and second in place
    ]
