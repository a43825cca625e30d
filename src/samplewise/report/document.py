"""The HTML document of every page: one self-contained file, without network, fonts or plug-ins."""

import base64
import hashlib
from pathlib import Path

from samplewise.report.markup import esc

TEMPLATE = Path(__file__).parent / "template"


def document(title: str, body: str) -> str:
    """Return a whole page.

    Args:
        title: Plain text.
        body: HTML.
    """
    style = (TEMPLATE / "style.css").read_text(encoding="utf-8")
    script = (TEMPLATE / "script.js").read_text(encoding="utf-8")
    policy = (
        "default-src 'none'; img-src data:; media-src data:; "
        f"style-src {_digest(style)}; script-src {_digest(script)}"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{esc(title)} · samplewise report</title>"
        f"<style>{style}</style></head>\n<body><main>\n{body}"
        f"\n</main><script>{script}</script></body></html>\n"
    )


def _digest(text: str) -> str:
    """Return the hash with which the content security policy allows exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
