"""Section of a report on the sound of clips."""

from typing import Any

from samplewise.report import formatting, markup, reading
from samplewise.report.markup import esc
from samplewise.report.run_data import RunData

DESCRIPTORS = {
    "level_db": ("level, dB", 1),
    "silence_share": ("share of silence", 2),
    "dynamics_db": ("dynamics, dB", 1),
    "centroid_hz": ("spectral centroid, Hz", 0),
    "flatness_db": ("spectral flatness, dB", 1),
    "noisiness_db": ("noisiness, dB", 1),
    "noise_floor_db": ("noise floor, dB", 1),
    "onsets_per_s": ("onsets per second", 1),
    "harmonicity": ("harmonicity", 2),
    "nearest_passage": ("nearest training passage", 2),
}
"""Words for each descriptor, with its unit, and the digits that are shown."""


def sound(run: RunData, folder: str) -> str:
    """Return how the clips sound beside the test recordings, or the command that measures it."""
    score = run.sound
    distance = reading.number(score, "log_mel_distance", "value")
    if score is None or distance is None:
        return (
            '<section id="sound"><h2>Sound</h2><p>Not measured yet: '
            f"<code>samplewise evaluate {folder} --sound</code> compares clips with the test "
            "recordings.</p></section>"
        )
    count, split = reading.number(score, "count") or 0, reading.text(score, "split") or "test"
    lead = (
        f"<p>Log-mel distance of {formatting.plural(int(count), 'clip')} to the {esc(split)} "
        f"recordings: <b>{distance:.3f}</b>. 0 would be the same statistics.</p>"
    )
    references = reading.numbers(score, "references") | {"these clips": distance}
    rows = [
        (f"<b>{esc(name)}</b>" if name == "these clips" else esc(name), f"{value:.3f}")
        for name, value in sorted(references.items(), key=lambda item: item[1])
    ]
    body = [lead, markup.table(("Sound", "Log-mel distance"), rows)]
    body.append("<h3>Clips beside recordings</h3>")
    head = ("Descriptor", "Clips, median", "Recordings, 5% to 95%", "Clips within")
    compared = {name: reading.find(score, "descriptors", name) for name in DESCRIPTORS}
    compared["nearest_passage"] = reading.find(score, "nearest_passage")
    rows = [_row(name, comparison) for name, comparison in compared.items() if comparison]
    body.append(markup.table(head, rows))
    body.append(f"<p>{_sentences(score)}</p>")
    return f'<section id="sound">{"".join(["<h2>Sound</h2>", *body])}</section>'


def _row(name: str, comparison: Any) -> tuple[str, str, str, str]:
    words, digits = DESCRIPTORS[name]

    def shown(*keys: str) -> str:
        value = reading.number(comparison, *keys)
        return "–" if value is None else f"{value:.{digits}f}"

    inside = reading.number(comparison, "inside")
    span = f"{shown('low')} to {shown('high')}"
    share = "–" if inside is None else f"{inside:.0%}"
    return esc(words), shown("clips", "value"), span, share


def _sentences(score: dict[str, Any]) -> str:
    said, split = [], reading.text(score, "split") or "test"
    drawn, test = (
        reading.number(score, *keys) for keys in (("drawn_bits", "value"), ("test_bits",))
    )
    if drawn is not None:
        beside = "" if test is None else f"; the {split} recordings need {formatting.bits(test)}"
        said.append(f"Entropy of what was drawn: {formatting.bits(drawn)} bits per sample{beside}.")
    if (flagged := reading.number(score, "flagged", "value")) is not None:
        said.append(f"Clips with a flag: {flagged:.0%}.")
    return " ".join(said)
