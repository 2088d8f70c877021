"""Figures, HTML pages and tables of explanations, diagnoses and evaluations.

For `diagnosis`, the commands and the package's face. `explanation_figure` is the figure of the
README, `chips` the tokens below it. All figures share the colours and sizes of `look`, the
`fonts` and the layout of `sheet`. `page/` is the HTML page that people share.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eagle_jax.argument_types import checked
from eagle_jax.results.attribution import Attribution

if TYPE_CHECKING:
    import matplotlib.figure


@checked
def plot(
    attribution: Attribution, target: str | Sequence[int] | None = None
) -> "matplotlib.figure.Figure":
    """Draws an explanation: regions, map, curves, tokens and what each region is worth.

    Args:
      attribution: attribution with its image.
      target: word or phrase of the answer, or positions in the answer, that is drawn alone, as
        `Attribution.part` gives it; None for all target tokens.

    Raises:
      InputError: the attribution was saved without its image (`Attribution.with_image` adds
        it), or the target is not among the target tokens.
    """
    from eagle_jax.reports.explanation_figure import draw_explanation

    return draw_explanation(attribution if target is None else attribution.part(target))
