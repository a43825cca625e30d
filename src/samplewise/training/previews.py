"""Previews: short clips drawn during training, and their spectrogram."""

import copy

import numpy as np
import torch
from jaxtyping import Float32

from samplewise.atomic_io import write_bytes
from samplewise.audio.mel import mel_spectrogram
from samplewise.audio.write import write_wav
from samplewise.errors import CheckpointError, EngineError
from samplewise.generate.backend import Backend
from samplewise.generate.clips import generate_clips
from samplewise.generate.vocoder import vocode_all
from samplewise.models.io import LoadedModel, check_weights
from samplewise.plots import spectrogram_png
from samplewise.training.logger import RunLogger
from samplewise.training.run import RunState


def make_preview(run: RunState, logger: RunLogger) -> None:
    """Write ``previews/step-N/``; the clips have the same seeds every time.

    A model conditioned on mel spectrograms gets those of validation recordings.
    """
    step = run.progress.step
    # The engine runs on the CPU, and draws single clips faster than a GPU does sample by sample.
    model = copy.deepcopy(run.usable).cpu().eval().requires_grad_(False)
    model.fold()
    loaded = LoadedModel(model, run.audio, run.measured, run.folder)
    try:
        check_weights(model)
        waves = _waves(run, loaded)
    except (CheckpointError, EngineError) as error:
        logger.say(f"no preview at step {step}: {error}")
        return
    folder = run.folder / "previews" / f"step-{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    for index, wave in enumerate(waves):
        write_wav(folder / f"clip-{index}.wav", wave, run.audio.sample_rate)
        logger.sound(f"preview/{index}", wave, run.audio.sample_rate, step)
    named = [(f"clip {index}", wave) for index, wave in enumerate(waves)]
    png = spectrogram_png(named, run.audio.sample_rate)
    write_bytes(folder / "spectrogram.png", png)
    logger.picture("preview/spectrogram", png, step)


def _waves(run: RunState, loaded: LoadedModel) -> list[Float32[np.ndarray, " samples"]]:
    """Return the clips of a preview."""
    config, conditioner = run.config, loaded.model.conditioner
    backend = Backend(threads=config.threads)
    if conditioner is None or conditioner.config.mel is None:
        seconds, count = config.preview.seconds, config.preview.count
        clips = generate_clips(loaded, count, seconds, config.seed, backend=backend)
        return [clip.samples for clip in clips]
    rate, mels, labels = run.audio.sample_rate, [], []
    for recording in run.corpus.split("valid")[: config.preview.count]:
        end = min(recording.samples, max(1, round(config.preview.seconds * rate)))
        wave = torch.from_numpy(run.corpus.amplitude(recording, 0, end))
        mels.append(mel_spectrogram(wave, conditioner.config.mel, rate).numpy())
        labels.append(None if run.labels is None else run.labels[recording.source])
    clips = vocode_all(loaded, mels, config.seed, labels=labels, backend=backend)
    return [clip.samples for clip in clips]
