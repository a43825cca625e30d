"""Baselines of the evaluation: distributions counted on the training split.

uniform: all codes have the same probability. unigram: p(z). bigram: p(z | previous code). linear
prediction: p(z | 2 z' - z''), the straight line through the last two codes. 0.1 is added to every
count. Beyond 1,024 codes the last two are p(z - z') and p(z - (2 z' - z'')): there are too many
pairs to count.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int, Int64

from samplewise.config.models import Level
from samplewise.data.corpus import Corpus, Recording
from samplewise.data.excerpts import Excerpt, read_codes
from samplewise.evaluate.nll import nats_to_bits
from samplewise.progress import ProgressCallback
from samplewise.quantizers import Quantizer

SMOOTHING = 0.1
"""Number that is added to every count."""
BLOCK = 2**20
"""Samples that are in memory at once."""
MAX_PAIR_LEVELS = 1024
"""Largest number of codes for which pairs are counted; beyond, differences are."""

Codes = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class Counts:
    """Counts of each code after each context; beyond 1,024 codes, of its difference from it."""

    unigram: Int64[np.ndarray, "1 q_levels"]
    """Counts without context."""
    bigram: Int64[np.ndarray, "q_levels q_levels"] | Int64[np.ndarray, "1 differences"]
    """Counts by the previous code (rows), or of z - z' + q - 1."""
    linear_prediction: (
        Int64[np.ndarray, "predictions q_levels"] | Int64[np.ndarray, "1 second_differences"]
    )
    """Counts by 2 z' - z'' + q - 1 (rows, 0 to 3 q - 3), or of z - 2 z' + z'' + 2 q - 2."""


def count(clips: Iterable[Iterable[Codes]], q_levels: int, silence: int) -> Counts:
    """Count contexts and codes over clips, each an iterable of blocks.

    Every sample is counted once. The context at the start of a clip is silence.

    Args:
        clips: Clips of codes in [0, q_levels).
        q_levels: Number of codes.
        silence: Code of amplitude 0.
    """
    q, pairs = q_levels, q_levels <= MAX_PAIR_LEVELS
    unigram = np.zeros(q, np.int64)
    bigram = np.zeros(q * q if pairs else 2 * q - 1, np.int64)
    prediction = np.zeros((3 * q - 2) * q if pairs else 4 * q - 3, np.int64)
    for blocks in clips:
        before = np.full(2, silence, np.int64)
        for block in blocks:
            codes = np.concatenate([before, block])
            before = codes[-2:]
            oldest, last, current = codes[:-2], codes[1:-1], codes[2:]
            unigram += np.bincount(current, minlength=len(unigram))
            if pairs:
                pair = last * q
                pair += current
                bigram += np.bincount(pair, minlength=len(bigram))
                # (2 last - oldest + q - 1) q + current
                pair += (last - oldest + (q - 1)) * q
                prediction += np.bincount(pair, minlength=len(prediction))
            else:
                step = current - last
                bigram += np.bincount(step + (q - 1), minlength=len(bigram))
                step -= last - oldest
                prediction += np.bincount(step + (2 * q - 2), minlength=len(prediction))
    tables = (table.reshape(-1, q if pairs else len(table)) for table in (bigram, prediction))
    return Counts(unigram[None], *tables)


def cross_entropies(train: Counts, test: Counts) -> dict[str, float]:
    """Return bits per sample of ``test`` under the distributions counted in ``train``.

    The keys are uniform, unigram, bigram and linear_prediction.
    """
    q_levels, samples = test.unigram.size, int(test.unigram.sum())
    nats = {"uniform": samples * float(np.log(q_levels)), "unigram": 0.0}
    for name in ("unigram", "bigram", "linear_prediction"):
        nats[name] = _nats(getattr(train, name), getattr(test, name))
    return {name: nats_to_bits(value) / samples for name, value in nats.items()}


def _nats(
    train: Int64[np.ndarray, "contexts outcomes"], test: Int64[np.ndarray, "contexts outcomes"]
) -> float:
    context, code = np.nonzero(test)
    totals: Float64[np.ndarray, " contexts"] = train.sum(1) + SMOOTHING * train.shape[1]
    log_p = np.log(train[context, code] + SMOOTHING) - np.log(totals)[context]
    return float(-(test[context, code] * log_p).sum())


def baselines(
    corpus: Corpus,
    train: Sequence[Excerpt],
    test: Sequence[Excerpt],
    level: Level,
    quantizer: Quantizer,
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """Count on ``train``, score ``test``: bits per sample of each baseline.

    Args:
        corpus: Corpus of the clips.
        train: Clips to count on.
        test: Clips to score; every sample counts once.
        level: Level policy of the model that is compared.
        quantizer: Quantiser of the model.
        progress: Called with the samples done and their total.
    """
    reader = CodeReader(corpus, level, quantizer, progress, sum(c.samples for c in [*train, *test]))
    counts = [
        count(map(reader.blocks, clips), quantizer.q_levels, quantizer.silence)
        for clips in (train, test)
    ]
    return cross_entropies(*counts)


class CodeReader:
    """A reader of codes in blocks; level `keep` uses a table of all 65,536 stored values."""

    def __init__(
        self,
        corpus: Corpus,
        level: Level,
        quantizer: Quantizer,
        progress: ProgressCallback | None,
        total: int,
    ):
        self._corpus, self._level, self._quantizer = corpus, level, quantizer
        self._progress, self._done, self._total = progress, 0, total
        self._table_of: tuple[float, float] | None = None
        self._table: Int64[np.ndarray, " stored"] = np.zeros(0, np.int64)

    def blocks(self, clip: Excerpt) -> Iterator[Codes]:
        """Yield blocks of the codes of a clip."""
        if self._level == "paper":  # the scale of a clip needs all of it
            yield read_codes(self._corpus, clip, self._level, self._quantizer)
            self._advance(clip.samples)
            return
        self._make_table(clip.recording)
        base = clip.recording.start
        for start in range(clip.start, clip.stop, BLOCK):
            stop = min(start + BLOCK, clip.stop)
            yield self._table[self._corpus.stored[base + start : base + stop].view(np.uint16)]
            self._advance(stop - start)

    def _make_table(self, recording: Recording) -> None:
        if self._table_of != (recording.scale, recording.dc):
            self._table_of = recording.scale, recording.dc
            values = np.arange(2**16, dtype=np.uint16).view(np.int16)
            # Beyond full scale only values that the gain of the corpus rules out.
            self._table = self._quantizer.encode(self._corpus.scaled(values, recording).clip(-1, 1))

    def _advance(self, samples: int) -> None:
        self._done += samples
        if self._progress is not None:
            self._progress(self._done, self._total)
