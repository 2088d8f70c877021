"""Figures, HTML pages and tables of explanations, diagnoses and evaluations.

For `diagnosis`, the commands and the package's face. `explanation_figure` is the figure of the
README, `chips` the tokens below it. All figures share the colours and sizes of `look`, the
`fonts` and the layout of `sheet`. `page/` is the HTML page that people share.
"""

from typing import TYPE_CHECKING

from eagle_jax.argument_types import checked
from eagle_jax.results.attribution import Attribution

if TYPE_CHECKING:
    import matplotlib.figure


@checked
def plot(attribution: Attribution) -> "matplotlib.figure.Figure":
    """Draws an explanation: regions, saliency, curves and tokens.

    Args:
      attribution: attribution with its image.

    Raises:
      InputError: the attribution was saved without its image; `Attribution.with_image` adds it.
    """
    from eagle_jax.reports.explanation_figure import draw_explanation

    return draw_explanation(attribution)
