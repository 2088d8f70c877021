"""HTML that holds its script, its styles and its data, and lets nothing else in."""

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

_FRAME = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def document(
    title: str,
    body: str,
    data: Any,
    scripts: Sequence[str],
    styles: Sequence[str],
    policy: str = "img-src data:",
) -> bytes:
    """An HTML page.

    Its security policy admits the script and the styles by their digests and nothing else, so
    that no text in the page can become a program.

    Args:
      title: title of the page, as text.
      body: HTML that the script fills or replaces, with all texts escaped by `escape`.
      data: JSON values for the script.
      scripts: names of script files in `assets/`, joined in this order.
      styles: names of style sheets in `assets/`, joined in this order.
      policy: what else may be loaded, as in a Content-Security-Policy.

    Returns:
      The file in ASCII, with character references and escapes for everything else.
    """
    script = '"use strict";\n(() => {\n' + "\n".join(map(_asset, scripts)) + "})();\n"
    style = "\n".join(map(_asset, styles))
    rules = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        f"{policy}; base-uri 'none'; form-action 'none'"
    )
    text = _FRAME.format(
        policy=rules,
        title=escape(title),
        style=style,
        body=body,
        data=script_json(data),
        script=script,
    )
    return text.encode("ascii", "xmlcharrefreplace")


def script_json(data: Any) -> str:
    """JSON in ASCII that no HTML parser takes for markup."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _asset(name: str) -> str:
    return (resources.files("eagle_jax.reports.page") / "assets" / name).read_text("ascii")


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
