"""One HTML file of one explanation, or of several side by side."""

import os
from collections.abc import Sequence
from html import escape

from eagle_jax.argument_types import checked
from eagle_jax.errors import InputError
from eagle_jax.files import local_path, write_file
from eagle_jax.reports.page.document import document
from eagle_jax.reports.page.explanations import Explanation, read_explanation
from eagle_jax.reports.page.page_data import explanation_data, image_url, mapped_image
from eagle_jax.reports.token_labels import token_label
from eagle_jax.results.attribution import Attribution

_PANEL = (
    *("elements", "explanation", "captions", "masked_image", "curves", "chips", "regions"),
    *("diagnosis", "estimates", "trust", "panel", "player"),
)
PANEL = tuple(f"{name}.js" for name in _PANEL)
STYLES = ("colours.css", "panel.css")

Shown = Attribution | Explanation | str | os.PathLike


@checked
def report(shown: Shown | Sequence[Shown], path: str | os.PathLike) -> None:
    """Writes explanations as one HTML file that opens from disk and needs no network.

    Args:
      shown: an attribution, or the folder of an attribution, of a diagnosis or of a result;
        several of these are shown side by side.
      path: name of the file, ending in .html; an existing file is replaced.

    Raises:
      InputError: a folder cannot be read, an attribution has no image, or the file cannot be
        written.
    """
    path = local_path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path} must end in .html")
    several = [shown] if isinstance(shown, Shown) else shown
    write_file(path, page_bytes([_explanation(each) for each in several]))


@checked
def page_bytes(explanations: Sequence[Explanation]) -> bytes:
    """The content of the file that `report` writes.

    Args:
      explanations: explanations with their images; several are shown side by side.

    Raises:
      InputError: there is no explanation, or an explanation has no image.
    """
    if not explanations:
        raise InputError("there is nothing to report: give at least one attribution")
    first = explanations[0].attribution
    return document(
        title=f"{' '.join(first.prompt.split())[:80]} - {first.model}",
        body="<main></main>\n<noscript>\n"
        + "\n".join(map(_static, explanations))
        + "\n</noscript>",
        data={"explanations": [explanation_data(explanation) for explanation in explanations]},
        scripts=(*PANEL, "report.js"),
        styles=STYLES,
    )


@checked
def report_frame(attribution: Attribution) -> str:
    """HTML of a frame that holds the page, for notebooks.

    Args:
      attribution: attribution with its image.
    """
    content = page_bytes([Explanation("attribution", attribution)]).decode("ascii")
    return (
        f'<iframe sandbox="allow-scripts" title="{escape(attribution.prompt)}" '
        'style="width: 100%; height: 860px; border: 0" '
        f'srcdoc="{escape(content)}"></iframe>'
    )


def _explanation(shown: Shown) -> Explanation:
    if isinstance(shown, Explanation):
        return shown
    if isinstance(shown, Attribution):
        return Explanation(shown.search, shown)
    return read_explanation(local_path(shown))


def _static(explanation: Explanation) -> str:
    """What is shown without scripts: the map over the image, and a table of tokens."""
    attribution = explanation.attribution
    attribution.require_image(explanation.name)
    image = mapped_image(attribution)
    height, width = image.shape[:2]
    rows = "".join(
        f"<tr><th scope='row'>{escape(token_label(token)[0])}</th>"
        f"<td>{blank:.3f}</td><td>{full:.3f}</td><td>{reliance:.3f}</td></tr>"
        for token, blank, full, reliance in zip(
            attribution.tokens,
            attribution.insertion[0],
            attribution.deletion[0],
            attribution.reliance,
            strict=True,
        )
    )
    return (
        f"<h1>{escape(attribution.prompt)}</h1>\n<p>{escape(attribution.answer)}</p>\n"
        f'<img src="{image_url(image)}" width="{width}" '
        f'height="{height}" alt="The image, most orange where the answer comes from">\n'
        "<table><thead><tr><th>token</th><th>blank image</th><th>whole image</th>"
        f"<th>reliance</th></tr></thead><tbody>{rows}</tbody></table>\n"
        "<p>With scripts switched on, this page shows where each word comes from.</p>"
    )
