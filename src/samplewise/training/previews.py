"""Previews: short clips and a spectrogram of what the model does now."""

import copy

from samplewise.audio.writing import write_wav
from samplewise.durable import write_bytes
from samplewise.generate.backend import Backend
from samplewise.generate.clips import generate_clips
from samplewise.models.files import LoadedModel
from samplewise.pictures import spectrogram_png
from samplewise.training.journal import Journal
from samplewise.training.run import RunState


def make_preview(run: RunState, journal: Journal) -> None:
    """Write ``previews/step-N/``; the clips have the same seeds every time."""
    config, step = run.config, run.progress.step
    model = copy.deepcopy(run.usable).eval().requires_grad_(False)
    model.fold()
    loaded = LoadedModel(model, run.audio, {}, run.folder)
    clips = generate_clips(
        loaded,
        count=config.preview_count,
        seconds=config.preview_seconds,
        seed=config.seed,
        backend=Backend(threads=config.threads),
    )
    folder = run.folder / "previews" / f"step-{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        write_wav(folder / f"clip-{clip.index}.wav", clip.wave, run.audio.sample_rate)
        journal.sound(f"preview/{clip.index}", clip.wave, run.audio.sample_rate, step)
    named = [(f"clip {clip.index}", clip.wave) for clip in clips]
    png = spectrogram_png(named, run.audio.sample_rate)
    write_bytes(folder / "spectrogram.png", png)
    journal.picture("preview/spectrogram", png, step)
