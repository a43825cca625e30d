"""One recording as a corpus in memory, resampled, rounded and scaled as `prepare` does."""

import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float

from samplewise.audio.level import peak_gain
from samplewise.data.corpus import Corpus
from samplewise.data.index import FORMAT, CorpusIndex, Recording, Settings, corpus_digest
from samplewise.data.prepare.decode import decode_to
from samplewise.data.prepare.summary import summarise
from samplewise.errors import AudioError

SPLIT_RULE = "one recording"


def corpus_of(
    source: Path | Float[np.ndarray, " samples"],
    sample_rate: int,
    gain: float,
    source_rate: int | None = None,
) -> Corpus:
    """Return a corpus whose test split is one recording.

    Args:
        source: A sound file, or samples at full scale ±1.
        sample_rate: Sample rate of the corpus, in hertz.
        gain: Gain of the corpus; a smaller one is taken if the recording would exceed full scale.
        source_rate: Sample rate of the samples, in hertz; None: that of the corpus.

    Raises:
        AudioError: If the recording cannot be read, or is too short.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = source if isinstance(source, Path) else Path(folder) / "samples.wav"
        if not isinstance(source, Path):
            import soundfile

            wave = np.asarray(source, np.float32)
            soundfile.write(path, wave, source_rate or sample_rate, subtype="FLOAT")
        stored = Path(folder) / "stored"
        try:
            decoded = decode_to(path, sample_rate, stored)
        except AudioError as error:
            name = path if isinstance(source, Path) else "the samples"
            raise AudioError(f"cannot read {name}: {error}") from None
        samples = np.fromfile(stored, "<i2")
    recording = Recording(
        path.name, 0, decoded.samples, "test", decoded.sha256, decoded.scale, decoded.peak
    )
    settings = Settings(sample_rate, 0.0, 1.0, 0, "recordings")
    gain = min(gain, peak_gain(decoded.peak)) if decoded.peak else gain
    index = CorpusIndex(
        format=FORMAT,
        sample_rate=sample_rate,
        channels=1,
        gain=gain,
        split_rule=SPLIT_RULE,
        digest=corpus_digest(sample_rate, gain, (recording,)),
        settings=settings,
        summary=summarise(settings, (), (recording,), ()),
        warnings=(),
        recordings=(recording,),
        files=(),
        skipped=(),
        notes=(),
    )
    return Corpus(path, index, samples)
