"""How long a model remembers who speaks (Mehri et al. 2017, section 3.3).

A model of two speakers draws 2 s, is fed 1 s of silence in place of what it would draw, and draws
2 s again. The share of clips whose two ends have the same speaker says whether the speaker survived
the silence. A model that remembers less than the silence starts from scratch: its ends agree by
chance, half of the time if it draws both speakers equally often.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import evenly_spaced, read_codes
from samplewise.errors import CorpusError
from samplewise.evaluate.pitch import describe_tracker
from samplewise.evaluate.speakers import Share, SpeakerClassifier, tile
from samplewise.generate.backend import Backend
from samplewise.generate.clips import AUTO, BATCH, CHUNK_S, even_groups, samples_of
from samplewise.generate.drawing import Drawing
from samplewise.generate.temperature import Envelope
from samplewise.models.io import LoadedModel
from samplewise.progress import ProgressCallback

PAPER_SHARE = 0.83
"""SampleRNN, 3 tiers, in the paper; it does not say of how many clips."""
PAPER_MEANS_HZ = (125.3, 201.8)
"""Mean fundamental frequency of the paper's two speakers."""


@dataclass(frozen=True)
class MemoryPlan:
    """The experiment in numbers; the durations are the paper's."""

    before_s: float = 2.0
    """Seconds that are drawn first."""
    silence_s: float = 1.0
    """Seconds of silence that are fed."""
    after_s: float = 2.0
    """Seconds that are drawn then."""
    opening_s: float = 0.0
    """Seconds of a recording that each clip continues, in turn of either speaker; 0: clips begin
    from nothing, as in the paper."""
    count: int = 128
    """Clips."""
    temperature: float = 1.0
    """Of every sample that is drawn."""
    seed: int = 0
    """Of the draws; clip i draws sample t with the random number of (seed, i, t)."""

    def __post_init__(self) -> None:
        """Check what no one else does."""
        if not 0 <= self.silence_s < math.inf:
            raise ValueError(f"silence_s = {self.silence_s} must be 0 or positive, and finite")
        if not 0 <= self.opening_s < math.inf:
            raise ValueError(f"opening_s = {self.opening_s} must be 0 or positive, and finite")
        if self.count < 1:
            raise ValueError(f"count = {self.count} must be at least 1")
        Envelope((0.0,), (self.temperature,))


@dataclass(frozen=True)
class InterruptedClip:
    """What a model drew before and after the silence."""

    index: int
    """i: with the plan it determines the clip."""
    before: Int64[np.ndarray, " before"]
    """Codes."""
    after: Int64[np.ndarray, " after"]
    """Codes."""


@dataclass(frozen=True)
class Openings:
    """Recorded beginnings of the clips."""

    codes: Int64[np.ndarray, "clips samples"]
    """What every tier reads before the first sample is drawn."""
    speakers: tuple[str, ...]
    """Who speaks in each."""


@dataclass(frozen=True)
class JudgedClip:
    """Who speaks at both ends of a clip."""

    index: int
    """Number of the clip."""
    before_hz: float | None
    """Mean fundamental frequency before the silence; None: too little voice."""
    after_hz: float | None
    """The same after it."""
    before: str | None
    """Speaker before the silence; None: too little voice."""
    after: str | None
    """Speaker after it."""
    opening: str | None = None
    """Speaker of the recording that the clip continues; None without one."""

    @property
    def is_judged(self) -> bool:
        """Both ends have a voice."""
        return self.before is not None and self.after is not None


@dataclass(frozen=True)
class MemoryResult:
    """The outcome, clip by clip; every share is derived from the clips."""

    plan: MemoryPlan
    """What was done."""
    classifier: SpeakerClassifier
    """Who judged."""
    clips: tuple[JudgedClip, ...]
    """All of them, unvoiced ones too."""
    backend: str
    """What drew the clips, in words."""

    @property
    def judged(self) -> tuple[JudgedClip, ...]:
        """Clips with a voice at both ends; only they are in the shares."""
        return tuple(clip for clip in self.clips if clip.is_judged)

    @property
    def same(self) -> Share:
        """Of the judged clips, those with the same speaker at both ends."""
        return _same(self.judged)

    @property
    def same_by_speaker(self) -> dict[str, Share]:
        """The same, of the clips that begin with each speaker."""
        names = (self.classifier.low.name, self.classifier.high.name)
        return {name: _same([c for c in self.judged if c.before == name]) for name in names}

    @property
    def continued(self) -> Share:
        """Of the clips with an opening and a voice after it, those with the opening's speaker."""
        voiced = [c for c in self.clips if c.opening is not None and c.before is not None]
        return Share(sum(clip.before == clip.opening for clip in voiced), len(voiced))

    @property
    def by_chance(self) -> float | None:
        """Share to expect if the ends had nothing to do with each other.

        From how often each speaker is at either end: 0.5 if one speaker is as frequent as the
        other, 1 for a model that always draws the same one. None without judged clips.
        """
        if not self.judged:
            return None
        low = self.classifier.low.name
        before, after = (
            sum(name == low for name in names) / len(self.judged)
            for names in ([c.before for c in self.judged], [c.after for c in self.judged])
        )
        return before * after + (1 - before) * (1 - after)

    @property
    def unvoiced_before(self) -> Share:
        """Of all clips, those with too little voice before the silence."""
        return Share(sum(clip.before is None for clip in self.clips), len(self.clips))

    @property
    def unvoiced_after(self) -> Share:
        """Of all clips, those with too little voice after it."""
        return Share(sum(clip.after is None for clip in self.clips), len(self.clips))

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "plan": asdict(self.plan),
            "same": self.same.to_json(),
            "same_by_speaker": {k: v.to_json() for k, v in self.same_by_speaker.items()},
            "continued": self.continued.to_json(),
            "by_chance": self.by_chance,
            "paper": PAPER_SHARE,
            "unvoiced_before": self.unvoiced_before.to_json(),
            "unvoiced_after": self.unvoiced_after.to_json(),
            "classifier": self.classifier.to_json(),
            "tracker": describe_tracker(self.classifier.tracker),
            "backend": self.backend,
            "clips": [asdict(clip) for clip in self.clips],
        }


def memory_experiment(
    loaded: LoadedModel,
    classifier: SpeakerClassifier,
    plan: MemoryPlan | None = None,
    *,
    openings: Openings | None = None,
    batch: int = BATCH,
    backend: Backend = AUTO,
    progress: ProgressCallback | None = None,
    keep: Callable[[int, Float32[np.ndarray, " samples"]], None] | None = None,
) -> MemoryResult:
    """Draw clips around a silence and judge who speaks before and after it.

    Args:
        loaded: A model of the two speakers that ``classifier`` knows.
        classifier: From :func:`samplewise.evaluate.speakers.measure_speakers`.
        plan: None: the paper's durations, 128 clips.
        openings: From :func:`recorded_openings`, with the same plan.
        batch: Most clips at once.
        backend: What computes.
        progress: Called with samples done of all clips together, and their total.
        keep: Given the number and the sound of each clip, silence and all, as soon as it is there.

    Raises:
        ValueError: If the plan is impossible.
    """
    plan = plan or MemoryPlan()
    rate, quantizer = loaded.audio.sample_rate, loaded.model.quantizer
    judged = []
    begun = None if openings is None else openings.codes
    options = {"batch": batch, "backend": backend, "progress": progress}
    for clip in interrupted_clips(loaded, plan, begun, **options):
        ends = quantizer.decode(clip.before), quantizer.decode(clip.after)
        before_hz, after_hz = (classifier.f0(end, rate) for end in ends)
        names = classifier.name(before_hz), classifier.name(after_hz)
        opening = None if openings is None else openings.speakers[clip.index]
        judged.append(JudgedClip(clip.index, before_hz, after_hz, *names, opening))
        if keep:
            silence = np.zeros(round(plan.silence_s * rate), np.float32)
            keep(clip.index, np.concatenate([ends[0], silence, ends[1]]))
    return MemoryResult(plan, classifier, tuple(judged), backend.describe(loaded.model))


def recorded_openings(
    corpus: Corpus, speakers: Mapping[str, str], loaded: LoadedModel, plan: MemoryPlan
) -> Openings:
    """Return excerpts of the validation and test recordings, in turn of one speaker and the other.

    Each speaker's excerpts are evenly spread; if there are too few for the plan, they are used
    again, with other random numbers after them.

    Args:
        corpus: A corpus with labels.
        speakers: Speaker of each recording, by its source.
        loaded: The model, whose level and quantiser the excerpts get.
        plan: Number of clips and length of the openings.

    Raises:
        CorpusError: If a speaker has no excerpt of that length, or there are not two speakers.
    """
    length, excerpts = samples_of(plan.opening_s, corpus.sample_rate), {}
    for excerpt in tile([r for split in ("valid", "test") for r in corpus.split(split)], length):
        excerpts.setdefault(speakers[excerpt.recording.source], []).append(excerpt)
    if len(excerpts) != 2:
        raise CorpusError(
            f"openings of {plan.opening_s:g} s need both speakers in the validation and test "
            f"recordings of {corpus.folder}; there are {len(excerpts)}"
        )
    names = tuple(sorted(excerpts)[index % 2] for index in range(plan.count))
    chosen = {name: evenly_spaced(found, (plan.count + 1) // 2) for name, found in excerpts.items()}
    quantizer, level = loaded.model.quantizer, loaded.audio.level
    codes = [
        read_codes(corpus, chosen[name][index // 2 % len(chosen[name])], level, quantizer)
        for index, name in enumerate(names)
    ]
    return Openings(np.stack(codes), names)


def interrupted_clips(
    loaded: LoadedModel,
    plan: MemoryPlan,
    openings: Int64[np.ndarray, "clips samples"] | None = None,
    *,
    batch: int = BATCH,
    backend: Backend = AUTO,
    progress: ProgressCallback | None = None,
) -> Iterator[InterruptedClip]:
    """Draw, feed silence, draw again; clips in order, a batch at a time.

    With no silence the clips are those of :func:`samplewise.generate.clips.iterate_clips`. A clip
    is the same alone or in any batch.
    """
    rate, indices = loaded.audio.sample_rate, range(plan.count)
    before, after = samples_of(plan.before_s, rate), samples_of(plan.after_s, rate)
    silent, silence = round(plan.silence_s * rate), loaded.model.quantizer.silence
    total, done = (before + silent + after) * plan.count, 0
    groups = even_groups(indices, batch)
    sampler = backend.sampler(loaded.model, max(len(group) for group in groups))
    temperature = Envelope((0.0,), (float(plan.temperature),))
    chunk = max(1, round(CHUNK_S * rate))
    for group in even_groups(indices, sampler.max_batch):
        starts = None if openings is None else openings[group]
        drawing = Drawing(sampler, plan.seed, group, rate, temperature, starts=starts)

        def report(drawing: Drawing = drawing, start: int = done, clips: int = len(group)) -> None:
            if progress:
                progress(start + drawing.time * clips, total)

        first = _draw(drawing, before, report)
        for start in range(0, silent, chunk):
            count = min(chunk, silent - start)
            drawing.teacher_force(np.full((len(group), count), silence, np.int64))
            report()
        last = _draw(drawing, after, report)
        done += drawing.time * len(group)
        for index, *ends in zip(group, first, last, strict=True):
            yield InterruptedClip(index, *ends)


def _draw(
    drawing: Drawing, samples: int, report: Callable[[], None]
) -> Int64[np.ndarray, "clips {samples}"]:
    """Return the next codes of every clip."""
    parts = []
    for codes, _ in drawing.chunks(samples, CHUNK_S):
        parts.append(codes)
        report()
    return np.concatenate(parts, 1)


def _same(clips: Sequence[JudgedClip]) -> Share:
    return Share(sum(clip.before == clip.after for clip in clips), len(clips))
