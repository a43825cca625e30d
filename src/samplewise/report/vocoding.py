"""The page that compares a vocoder with the originals and with Griffin-Lim."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from samplewise import pictures
from samplewise.audio.writing import wav_bytes
from samplewise.evaluate.vocoding import VocodingScores, mean_scores
from samplewise.report import markup, words
from samplewise.report.document import document
from samplewise.report.markup import esc


@dataclass(frozen=True)
class Version:
    """One sound of the comparison."""

    title: str
    """Original, or what made it."""
    wave: Float32[np.ndarray, " samples"]
    """Full scale ±1."""
    scores: VocodingScores | None
    """Against the original; None of the original itself."""


@dataclass(frozen=True)
class Utterance:
    """A recording, and what was made of its mel spectrogram."""

    name: str
    versions: tuple[Version, ...]
    """The original first; the same titles in every utterance."""


def vocoding_page(name: str, utterances: Sequence[Utterance], sample_rate: int, how: str) -> str:
    """Return the page.

    Args:
        name: Of the model.
        utterances: At least one.
        sample_rate: Hz.
        how: How they were made, in one sentence.
    """
    titles = [version.title for version in utterances[0].versions[1:]]
    rows = [
        _row(title, mean_scores([_scored(utterance, title) for utterance in utterances]))
        for title in titles
    ]
    count = words.plural(len(utterances), "recording")
    head = ("Mean", "Mel distance, dB", "Log-spectral distance, dB", "STOI")
    body = [
        f'<header><p class="kind">samplewise report</p><h1>{markup.name(name)}</h1>'
        f'<p class="lead">{count} and what was made of nothing but their mel spectrograms. '
        f"{esc(how)}</p>{markup.table(head, rows)}"
        '<p class="legend">Distances: lower is nearer to the original. STOI, short-time objective '
        "intelligibility: higher is clearer, 1 is the original.</p></header>"
    ]
    for utterance in utterances:
        cards = "".join(_card(version, sample_rate) for version in utterance.versions)
        body.append(f"<section><h2>{markup.name(utterance.name)}</h2>{cards}</section>")
    return document(f"{name}: vocoding", "\n".join(body))


def _scored(utterance: Utterance, title: str) -> VocodingScores:
    [scores] = [v.scores for v in utterance.versions if v.title == title]
    assert scores is not None
    return scores


def _row(title: str, scores: VocodingScores) -> tuple[str, ...]:
    stoi = "–" if scores.stoi is None else f"{scores.stoi:.3f}"
    return esc(title), f"{scores.mel_db:.2f}", f"{scores.spectral_db:.2f}", stoi


def _card(version: Version, sample_rate: int) -> str:
    seconds = len(version.wave) / sample_rate
    meta = [words.seconds(seconds)]
    if version.scores is not None:
        _, mel, spectral, stoi = _row("", version.scores)
        meta += [f"mel {mel} dB", f"spectrum {spectral} dB", f"STOI {stoi}"]
    spectrum = pictures.spectrogram_png([("", version.wave)], sample_rate)
    return (
        f'<article class="clip"><div class="about"><h3>{esc(version.title)}</h3>'
        f'<p class="meta">{" · ".join(meta)}</p>'
        f"{markup.audio(wav_bytes(version.wave, sample_rate), version.title)}</div><div>"
        f"{markup.spectrogram(spectrum, f'Spectrogram: {version.title}', seconds)}"
        "</div></article>"
    )
