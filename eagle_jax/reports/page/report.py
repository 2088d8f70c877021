"""One HTML file of one explanation, or of several side by side."""

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from eagle_jax.errors import InputError
from eagle_jax.files import write_file
from eagle_jax.reports.page.document import document
from eagle_jax.reports.page.findings import (
    Finding,
    mapped_picture,
    picture_url,
    read_finding,
    require_picture,
    told,
)
from eagle_jax.reports.token_labels import token_label
from eagle_jax.results.attribution import Attribution

PANEL = (
    *("elements.js", "finding.js", "captions.js", "picture.js", "curves.js", "chips.js"),
    *("regions.js", "diagnosis.js", "estimates.js", "trust.js", "panel.js", "player.js"),
)
STYLES = ("colours.css", "panel.css")

Shown = Attribution | Finding | str | os.PathLike


def report(shown: Shown | Sequence[Shown], path: str | os.PathLike) -> None:
    """Writes explanations as one HTML file that opens from disk and needs no network.

    Args:
      shown: an attribution, a folder of one, of a diagnosis or of a result, or several of
        these, which are shown side by side.
      path: of the file, which is replaced; its name ends in .html.

    Raises:
      InputError: a folder cannot be read, an attribution has no image, or the file cannot be
        written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path} must end in .html")
    several = [shown] if isinstance(shown, Shown) else shown
    write_file(path, page([_finding(one) for one in several]))


def page(findings: Sequence[Finding]) -> bytes:
    """The file that `report` writes.

    Args:
      findings: with their images; several are shown side by side.

    Raises:
      InputError: there is none, or one has no image.
    """
    if not findings:
        raise InputError("there is nothing to report: give at least one attribution")
    first = findings[0].attribution
    return document(
        title=f"{' '.join(first.prompt.split())[:80]} - {first.model}",
        body="<main></main>\n<noscript>\n"
        + "\n".join(map(_static, findings))
        + "\n</noscript>",
        data={"findings": [told(one) for one in findings]},
        scripts=(*PANEL, "report.js"),
        styles=STYLES,
    )


def report_frame(attribution: Attribution) -> str:
    """The page inside another page, for notebooks: HTML of a frame that holds it.

    Args:
      attribution: with its image.
    """
    content = page([Finding("attribution", attribution)]).decode("ascii")
    return (
        f'<iframe sandbox="allow-scripts" title="{escape(attribution.prompt)}" '
        'style="width: 100%; height: 860px; border: 0" '
        f'srcdoc="{escape(content)}"></iframe>'
    )


def _finding(one: Shown) -> Finding:
    if isinstance(one, Finding):
        return one
    if isinstance(one, Attribution):
        return Finding(one.search, one)
    return read_finding(Path(one))


def _static(finding: Finding) -> str:
    """What is seen where scripts are off: the map over the picture, and a table of tokens."""
    attribution = require_picture(finding.attribution, finding.name)
    assert attribution.image is not None
    picture = mapped_picture(attribution)
    height, width = picture.shape[:2]
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
        f'<img src="{picture_url(picture)}" width="{width}" '
        f'height="{height}" alt="The picture, most orange where the answer comes from">\n'
        "<table><thead><tr><th>token</th><th>blank picture</th><th>whole picture</th>"
        f"<th>reliance</th></tr></thead><tbody>{rows}</tbody></table>\n"
        "<p>With scripts switched on, this page shows where each word comes from.</p>"
    )
