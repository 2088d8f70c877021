"""Findings made visible: figures of explanations, diagnoses and evaluations, and text pages.

For `diagnosis`, the commands and the package's face. `explanation_figure` is the figure of the
README, `chips` the tokens below it; `look` holds the colours and sizes that all figures share.
`page/` is the HTML page that people share.
"""

from typing import TYPE_CHECKING

from eagle_jax.results.attribution import Attribution

if TYPE_CHECKING:
    import matplotlib.figure


def plot(attribution: Attribution) -> "matplotlib.figure.Figure":
    """Draws an explanation: regions, saliency, curves and tokens.

    Args:
      attribution: with its image.

    Raises:
      InputError: it was saved without its image; see `Attribution.with_image`.
    """
    from eagle_jax.reports.explanation_figure import draw_explanation

    return draw_explanation(attribution)
