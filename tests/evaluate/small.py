"""A small corpus and a small model, made up."""

from pathlib import Path

import numpy as np
import torch

from samplewise.config.models import SampleRNNConfig
from samplewise.data.corpus import Corpus
from samplewise.data.index import CorpusIndex, Recording, Settings, Summary
from samplewise.models.samplernn import SampleRNN

RATE = 1000
LENGTHS = {
    "train": [700, 900, 31],
    "valid": [50],
    "test": [333, 1, 128, 3, 250],
}
"""Samples; test clips shorter than a frame, and as long as a whole number of frames."""


def make_corpus(lengths=None, rate=RATE, gain=1.25, scales=(1.0, 1.5)) -> Corpus:
    rng = np.random.default_rng(1)
    waves, recordings, start = [], [], 0
    for split, sizes in (lengths or LENGTHS).items():
        for size in sizes:
            noise = np.cumsum(rng.normal(size=size)) * 400
            waves.append(np.clip(noise, -17000, 17000).astype("<i2"))
            name, scale = f"{split}/{len(recordings)}.wav", scales[len(recordings) % len(scales)]
            recordings.append(Recording(name, start, size, split, "0" * 64, scale, 0.5))
            start += size
    index = CorpusIndex(
        format=1,
        sample_rate=rate,
        channels=1,
        gain=gain,
        split_rule="by folder",
        digest="d",
        settings=Settings(rate, 0.06, 0.06, 0, "auto"),
        summary=Summary(len(recordings), {}, None, None, 0.0, 0, 0, 0, 0),
        warnings=(),
        recordings=tuple(recordings),
        files=(),
        skipped=(),
        notes=(),
    )
    return Corpus(Path("corpora/mine"), index, np.concatenate(waves))


CONFIG = SampleRNNConfig(frame_sizes=(2, 2, 8), dim=6, emb_size=5, q_levels=16)


def make_model(config=CONFIG) -> SampleRNN:
    model = SampleRNN(config, seed=1).double().eval()
    with torch.no_grad():  # so that a forgotten bias or h0 shows
        for name, parameter in model.named_parameters():
            generator = torch.Generator().manual_seed(len(name))
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model
