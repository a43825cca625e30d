"""The page that compares a vocoder with the originals and with Griffin-Lim."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from samplewise import plots
from samplewise.audio.write import wav_bytes
from samplewise.evaluate.vocoder_metrics import TITLES, VocodingScores, mean_scores
from samplewise.report import formatting, markup
from samplewise.report.document import document
from samplewise.report.markup import esc


@dataclass(frozen=True)
class Version:
    """One version of a recording in the comparison."""

    title: str
    """Original, or the name of the method."""
    wave: Float32[np.ndarray, " samples"]
    """Full scale ±1."""
    scores: VocodingScores | None
    """Scores against the original; None for the original itself."""


@dataclass(frozen=True)
class Utterance:
    """A recording, and the sounds that were generated from its mel spectrogram."""

    name: str
    """Name of the recording."""
    versions: tuple[Version, ...]
    """Versions, the original first; the same titles in every utterance."""


def vocoding_page(name: str, utterances: Sequence[Utterance], sample_rate: int, how: str) -> str:
    """Return the page as HTML.

    Args:
        name: Name of the model.
        utterances: At least one utterance.
        sample_rate: Hz.
        how: Method and settings, in one sentence.
    """
    by_title = scores_by_title(utterances)
    means = {title: mean_scores(list(own.values())) for title, own in by_title.items()}
    rows = [(esc(title), *mean.formatted().values()) for title, mean in means.items()]
    count = formatting.plural(len(utterances), "recording")
    head = ("Mean", *(title for title, _ in TITLES.values()))
    body = [
        f'<header><p class="kind">samplewise report</p><h1>{markup.name(name)}</h1>'
        f'<p class="lead">{count} and the sounds generated from their mel spectrograms alone. '
        f"{esc(how)}</p>{markup.table(head, rows)}"
        '<p class="legend">Mel and log-spectral distance: lower is nearer to the original. F0 '
        "error: frames whose voicing or pitch is wrong. STOI, short-time objective "
        "intelligibility: higher is clearer, 1 is the original. PESQ, quality: 1 to 4.6. "
        "Noise: white noise in place of the excitation of the model."
        "</p></header>"
    ]
    for utterance in utterances:
        cards = "".join(_card(version, sample_rate) for version in utterance.versions)
        body.append(f"<section><h2>{markup.name(utterance.name)}</h2>{cards}</section>")
    return document(f"{name}: vocoding", "\n".join(body))


def scores_by_title(utterances: Sequence[Utterance]) -> dict[str, dict[str, VocodingScores]]:
    """Return the scores of each version but the original, by title and by recording."""
    scores: dict[str, dict[str, VocodingScores]] = {}
    for utterance in utterances:
        for version in utterance.versions:
            if version.scores is not None:
                scores.setdefault(version.title, {})[utterance.name] = version.scores
    return scores


def _card(version: Version, sample_rate: int) -> str:
    seconds = len(version.wave) / sample_rate
    meta = [formatting.seconds(seconds)]
    if version.scores is not None:
        meta += [f"{title}: {value}" for title, value in version.scores.formatted().items()]
    spectrum = plots.spectrogram_png([("", version.wave)], sample_rate)
    return (
        f'<article class="clip"><div class="about"><h3>{esc(version.title)}</h3>'
        f'<p class="meta">{" · ".join(meta)}</p>'
        f"{markup.audio(wav_bytes(version.wave, sample_rate), version.title)}</div><div>"
        f"{markup.spectrogram(spectrum, f'Spectrogram: {version.title}', seconds)}"
        "</div></article>"
    )
