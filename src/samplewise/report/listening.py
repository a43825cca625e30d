"""The part of a report that is heard: clips, a real recording, previews over training."""

from collections.abc import Callable

import numpy as np

from samplewise import plots
from samplewise.audio.write import wav_bytes
from samplewise.report import formatting, markup
from samplewise.report.markup import esc
from samplewise.report.run_data import MAX_CLIP_S, MAX_CLIPS, MAX_PREVIEW_S, ReportClip, RunData

FLAGS = {
    "silence": "mostly silence",
    "noise": "noise at full scale",
    "stuck": "stuck in a loop",
}


def listening(run: RunData, folder: str, drawn: Callable[[], None]) -> str:
    """Return the section with the generated clips, beside a real recording where there is one.

    Args:
        run: The run.
        folder: The run folder as commands name it.
        drawn: Called after each clip.
    """
    parts = ["<h2>Listen</h2>"]
    if not run.clips and not run.silent_clips:
        parts.append(
            f"<p>There are no generated clips yet: <code>samplewise generate {folder}</code> "
            "makes them.</p>"
        )
    else:
        parts.append(f"<p>{_how_drawn(run)}</p>")
    if run.excerpt is not None:
        split = markup.esc((run.corpus or {}).get("split", "test"))
        title = f"<h3>A real recording <small>from the {split} split</small></h3>"
        parts.append(_clip(run.excerpt, title, "A real recording"))
        drawn()
    for clip in run.clips:
        rank = "" if clip.rank is None else f'<span class="rank">{clip.rank}</span> '
        parts.append(_clip(clip, f"<h3>{rank}{markup.name(clip.name)}</h3>", f"Clip {clip.name}"))
        drawn()
    if run.silent_clips:
        rows = [
            (markup.name(clip.name), formatting.bits(clip.bits), _flags(clip), esc(clip.problem))
            for clip in run.silent_clips
        ]
        head = ("Clip", "Bits per sample", "Remarks", "Why it cannot be heard here")
        parts.append(f"<h3>Other clips</h3>{markup.table(head, rows, kind='words')}")
    if run.clips or run.excerpt is not None:
        parts.append(_legend())
    return f'<section id="listen">{"".join(parts)}</section>'


def previews(run: RunData, folder: str, drawn: Callable[[], None]) -> str:
    """Return the previews from the earliest to the latest, so that one hears the model learn."""
    if not run.previews:
        return (
            "<h3>Previews</h3><p>There are no previews yet; training writes them to "
            f"<code>{folder}/previews</code> as it goes on.</p>"
        )
    cards = []
    for clip in run.previews:
        cards.append(_preview(run, clip))
        drawn()
    chosen = "" if len(cards) == run.n_previews else f", {len(cards)} of {run.n_previews}"
    return (
        f"<h3>Previews, earliest to latest{chosen}</h3><p>What the model made of the same random "
        f"numbers as it learned; at most {MAX_PREVIEW_S:g} s of each.</p>"
        f'<ol class="previews">{"".join(cards)}</ol>'
    )


def _how_drawn(run: RunData) -> str:
    shown, whole = len(run.clips), len(run.clips) + len(run.silent_clips)
    ranked = any(clip.rank is not None for clip in run.clips)
    order = (
        "The likeliest comes first: the fewer bits per sample the model needs for what it drew, "
        "the likelier it finds it, which is not the same as better."
        if ranked
        else "They are in the order of their names: no ranks were recorded."
    )
    sentence = f"{formatting.plural(whole, 'clip')} drawn from the model. {order}"
    if ranked and any(clip.flags for clip in (*run.clips, *run.silent_clips)):
        sentence += " Clips with a remark come last."
    long = any((clip.seconds or 0) > MAX_CLIP_S for clip in run.clips)
    if shown < whole or long:
        sentence += (
            f" This page holds at most {MAX_CLIPS} clips and {MAX_CLIP_S:g} s of each, "
            "as 16-bit WAV; the files in the folder are whole."
        )
    return sentence


def _clip(clip: ReportClip, title: str, label: str) -> str:
    """Return one clip: title, figures and player on one side, its pictures on the other."""
    length = len(clip.wave) / clip.sample_rate
    score = "" if clip.bits is None else f"<b>{formatting.bits(clip.bits)}</b> bits per sample<br>"
    whole = clip.seconds or length
    part = "" if whole - length < 0.05 else f"first {formatting.seconds(length)} of "
    meta = [part + formatting.seconds(whole)]
    if clip.index is not None:
        meta.append(f"number {clip.index}")
    if clip.rank is None and label == "A real recording":
        meta.append(markup.name(clip.name))
    waves = [("", clip.wave)]
    spectrum = plots.spectrogram_png(waves, clip.sample_rate)
    shape = plots.waveform_png(waves, clip.sample_rate)
    return (
        f'<article class="clip"><div class="about">{title}<p class="meta">{score}{" · ".join(meta)}'
        f"</p>{_flags(clip)}{markup.audio(_wav(clip), label)}</div><div>"
        f"{markup.spectrogram(spectrum, f'Spectrogram: {label}', length)}"
        f"<details><summary>Waveform</summary>"
        f"{markup.picture(shape, f'Waveform, 2 s and 100 ms: {label}')}</details></div></article>"
    )


def _preview(run: RunData, clip: ReportClip) -> str:
    title = f"Step {formatting.count(clip.step)}"
    if clip.problem:
        return f'<li><h4>{title}</h4><p class="meta">{esc(clip.problem)}</p></li>'
    meta = [] if (score := _bits_at(run, clip.step)) is None else [f"{formatting.bits(score)} bits"]
    if len(run.train.step):
        hours = np.interp(clip.step, run.train.step, run.train.hours)
        meta.append(formatting.minutes(60 * float(hours)))
    png = plots.spectrogram_png([("", clip.wave)], clip.sample_rate, panel_height=300, width=640)
    label = f"Preview at step {clip.step}"
    length = len(clip.wave) / clip.sample_rate
    return (
        f'<li class="clip"><h4>{title}</h4><p class="meta">{" · ".join(meta)}</p>'
        f"{markup.audio(_wav(clip), label)}"
        f"{markup.spectrogram(png, f'Spectrogram: {label}', length)}</li>"
    )


def _bits_at(run: RunData, step: int) -> float | None:
    """Return the validation bits, or else the training bits, last known at a step."""
    for curve in (run.valid, run.train):
        place = int(np.searchsorted(curve.step, step, side="right")) - 1
        if place >= 0:
            return float(curve.value[place])
    return None


def _wav(clip: ReportClip) -> bytes:
    return wav_bytes(clip.wave, clip.sample_rate)


def _flags(clip: ReportClip) -> str:
    marks = [f'<span class="flag">{esc(FLAGS.get(flag, flag))}</span>' for flag in clip.flags]
    return f'<p class="flags">{" ".join(marks)}</p>' if marks else ""


def _legend() -> str:
    low, high = (f"{level:g}".replace("-", "−") for level in (plots.FLOOR_DB, plots.TOP_DB))
    return (
        '<p class="legend">Spectrograms: seconds across, frequency upwards in octaves; no ink is '
        f"{low} dB of a full-scale sine, full ink {high} dB, in every picture. Click on one to "
        "play from there. Waveforms: the 2 s and the 100 ms with the most energy.</p>"
    )
