"""HTML elements: escaped text, tables, players and pictures as data URLs."""

import base64
import html
from collections.abc import Iterable, Mapping
from typing import Any

from samplewise.plots import SPECTROGRAM_LEFT, SPECTROGRAM_RIGHT

Row = tuple[str, ...]


def esc(value: object) -> str:
    """Return text that is safe in HTML and in attributes, always valid UTF-8.

    Control characters become visible signs. Bytes of a file name that are not UTF-8 become
    backslash escapes.
    """
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return html.escape("".join(_visible(sign) for sign in text))


def name(value: object) -> str:
    """Return a name from a file, isolated so that its writing direction stays inside."""
    return f"<bdi>{esc(value)}</bdi>"


def audio(wav: bytes, label: str) -> str:
    """Return a player with the sound embedded in the page."""
    data = base64.b64encode(wav).decode()
    return (
        f'<audio controls preload="metadata" aria-label="{esc(label)}" '
        f'src="data:audio/wav;base64,{data}"></audio>'
    )


def picture(png: bytes, alt: str, kind: str = "plate") -> str:
    """Return an image embedded in the page, with its size so that the layout does not move."""
    data = base64.b64encode(png).decode()
    width, height = png_size(png)
    return (
        f'<img class="{kind}" alt="{esc(alt)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{data}">'
    )


def png_size(png: bytes) -> tuple[int, int]:
    """Return width and height in pixels from the header of a PNG."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def spectrogram(png: bytes, alt: str, shown_s: float) -> str:
    """Return a spectrogram on which the page's script shows the position of the player."""
    width, _ = png_size(png)
    left, right = SPECTROGRAM_LEFT / width, 1 - SPECTROGRAM_RIGHT / width
    return (
        f'<div class="spectrogram" data-left="{left:.5f}" data-right="{right:.5f}" '
        f'data-seconds="{shown_s:.4f}">{picture(png, alt)}<span class="head" hidden></span></div>'
    )


def table(head: Row, rows: Iterable[Row], caption: str = "", kind: str = "") -> str:
    """Return a table of HTML cells; every column but the first holds numbers."""
    titles = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"
        for first, *rest in rows
    )
    caption = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table"><table class="{kind}">'
        f"{caption}<thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def flatten(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested JSON as dotted keys and values; lists of plain values stay on one line."""
    if isinstance(value, Mapping) and value:
        pairs = ((f"{prefix}.{key}" if prefix else str(key), value[key]) for key in value)
        return [row for key, item in pairs for row in flatten(item, key)]
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        return [row for i, item in enumerate(value) for row in flatten(item, f"{prefix}[{i}]")]
    if isinstance(value, list):
        return [(prefix, ", ".join(_plain(item) for item in value) or "none")]
    return [(prefix, _plain(value))]


def _plain(value: Any) -> str:
    if value is None or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _visible(sign: str) -> str:
    if ord(sign) < 32 and sign not in "\t\n":
        return chr(0x2400 + ord(sign))  # the picture of that control character
    return "\N{REPLACEMENT CHARACTER}" if 0x7F <= ord(sign) < 0xA0 else sign
