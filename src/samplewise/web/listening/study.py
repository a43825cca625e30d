"""A study: the folder of a listening test, with its clips, its design and its texts."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from samplewise.atomic_io import claim, contents, write_bytes, write_json
from samplewise.audio.write import wav_bytes
from samplewise.config.codec import from_json
from samplewise.errors import SamplewiseError
from samplewise.progress import ProgressCallback
from samplewise.strict_json import read_object
from samplewise.web.listening import stimuli
from samplewise.web.listening.design import Plan, Pool, TestKind, Trial, listener_trials
from samplewise.web.listening.stimuli import Source

FORMAT = 1
STUDY, CLIPS, VOTES = "study.json", "clips", "votes.db"
MOST_TRIALS, MOST_SYSTEMS, MOST_CLIPS = 200, 12, 200
LEAST_DESIGN_CHECKS = 5
"""Pairs with beeps that are made, if there are as many clips."""
QUESTIONS = {
    "ab": "Which clip do you prefer?",
    "abx": "Is X the same as A or as B?",
    "mos": "How good is this clip?",
    "cmos": "How good is B, compared with A?",
}


@dataclass(frozen=True)
class Texts:
    """Words that a listener reads."""

    title: str = "Listening test"
    question: str = ""
    """Question of each trial; empty: that of the kind of test."""
    about: str = ""
    """What the test is about, in a sentence or two."""
    consent: str = (
        "Taking part is voluntary, and you can stop at any time by closing the page. Your answers, "
        "the time that they take, and the result of the headphone check are stored. No name, "
        "address or other personal information is stored, unless the link that you were given "
        "holds a participant number. The answers are used to compare systems that generate sound, "
        "and summaries may be published."
    )
    """What a listener agrees to."""
    contact: str = ""
    """Whom a listener can ask."""


@dataclass(frozen=True)
class Rules:
    """Rules by which listeners are excluded; fixed before the first vote."""

    failed_checks: int = 0
    """Attention checks that a listener may fail."""
    least_time: float = 0.5
    """Median time of an answer, as a share of the time that the clips take to play once."""
    one_sided: float = 0.95
    """Largest share of votes on one side, among at least ten with a preference."""
    headphones: bool = False
    """Whether the headphone check must be passed."""


@dataclass(frozen=True)
class ClipRecord:
    """One stimulus."""

    id: str
    """Random; also the name of its file."""
    system: int | None
    """Index of its system; None for the clips of attention checks."""
    source: str
    """File, or seed and index."""
    loudness_lufs: float
    """Before the gain."""
    gain_db: float
    """Gain that made it as loud as the others."""
    sha256: str


@dataclass(frozen=True)
class SystemRecord:
    """One system."""

    name: str
    path: str
    is_recordings: bool = False
    clips: int = 0
    left_out: tuple[str, ...] = ()
    """Clips that could not be used, and why."""


@dataclass(frozen=True)
class Study:
    """What study.json holds."""

    id: str
    plan: Plan
    texts: Texts
    rules: Rules
    systems: tuple[SystemRecord, ...]
    clips: tuple[ClipRecord, ...]
    checks: tuple[tuple[str, str], ...]
    """Ids of clips without and with beeps."""
    sample_rate: int
    """Hertz, of every stimulus."""
    samples: int
    """Length of every stimulus."""
    loudness_lufs: float
    """Loudness of every stimulus."""
    format: int = FORMAT
    folder: Path = field(default=Path(), compare=False)

    @property
    def seconds(self) -> float:
        """Length of every stimulus."""
        return self.samples / self.sample_rate

    @property
    def question(self) -> str:
        """Question of each trial."""
        return self.texts.question or QUESTIONS[self.plan.kind]

    @property
    def pool(self) -> Pool:
        """The clips by system, and those of the checks."""
        by_system = [[c.id for c in self.clips if c.system == i] for i in range(len(self.systems))]
        return Pool(tuple(map(tuple, by_system)), self.checks)

    def trials(self, listener: int) -> tuple[Trial, ...]:
        """Return the trials of a listener, in order."""
        return listener_trials(self.plan, self.pool, listener)

    def clip_path(self, clip: str) -> Path:
        """Return the file of a stimulus."""
        return self.folder / CLIPS / f"{clip}.wav"


@dataclass(frozen=True)
class Making:
    """How a study is made."""

    kind: TestKind = "ab"
    clips: int = 20
    seconds: float | None = None
    trials: int = 20
    checks: int = 2
    repeats: int = 2
    seed: int = 0
    temperature: str | None = None
    anchor: str | None = None
    loudness_lufs: float = -23.0
    sample_rate: int | None = None
    texts: Texts = field(default_factory=Texts)
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("clips", 1, MOST_CLIPS),
            ("trials", 1, MOST_TRIALS),
            ("checks", 0, 20),
            ("repeats", 0, self.trials),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} = {getattr(self, name)} must lie in [{low}, {high}]")
        if self.seconds is not None and not stimuli.LEAST_S <= self.seconds <= stimuli.MOST_S:
            raise ValueError(
                f"seconds = {self.seconds:g} must lie in [{stimuli.LEAST_S}, {stimuli.MOST_S:g}]"
            )
        if not stimuli.QUIETEST_LUFS <= self.loudness_lufs <= -10:
            raise ValueError(
                f"loudness = {self.loudness_lufs:g} LUFS must lie in "
                f"[{stimuli.QUIETEST_LUFS:g}, -10]"
            )


def create_study(
    folder: Path,
    sources: Sequence[str],
    making: Making,
    progress: Callable[[str], ProgressCallback],
) -> Study:
    """Make the folder of a study.

    Args:
        folder: New, empty, or a study without votes, which is replaced.
        sources: Systems; see :func:`stimuli.read_source`.
        making: Settings.
        progress: Opens a bar for the generation of a system.

    Raises:
        ValueError: If the sources make no test.
        SamplewiseError: If a source cannot be used, or the folder holds something else.
    """
    least = 1 if making.kind == "mos" else 2
    if not least <= len(sources) <= MOST_SYSTEMS:
        raise ValueError(f"a test of this kind compares {least} to {MOST_SYSTEMS} systems")
    with claim(folder, "listening test", STUDY, "a listening test"):
        if VOTES in contents(folder):
            raise SamplewiseError(f"{folder} holds votes; choose another folder with -o")
        read = [
            stimuli.read_source(
                given, making.clips, making.seconds, making.seed, making.temperature, progress
            )
            for given in sources
        ]
        names = [source.name for source in read]
        if making.anchor is not None and making.anchor not in names:
            raise ValueError(f"anchor = {making.anchor!r} must be one of {', '.join(names)}")
        read = [
            replace(source, is_recordings=source.is_recordings or source.name == making.anchor)
            for source in read
        ]
        if len(set(names)) < len(names):
            raise ValueError(f"two systems have one name ({', '.join(names)}); write NAME=PATH")
        study, waves = assemble(folder, read, making)
        (folder / CLIPS).mkdir(exist_ok=True)
        for old in (folder / CLIPS).glob("*.wav"):
            old.unlink()
        for clip in secrets.SystemRandom().sample(sorted(waves), len(waves)):
            write_bytes(study.clip_path(clip), waves[clip])  # in random order: times say nothing
        write_study(study)
    return study


def assemble(
    folder: Path, sources: Sequence[Source], making: Making
) -> tuple[Study, dict[str, bytes]]:
    """Return a study and the WAV file of each clip.

    Raises:
        SamplewiseError: If a system has no clip that can be used.
    """
    rate = making.sample_rate or max(source.sample_rate for source in sources)
    resampled = [
        [stimuli.resample(wave, source.sample_rate, rate) for wave in source.waves]
        for source in sources
    ]
    samples = _common_length(resampled, rate, making.seconds)
    usable, left_out = _usable(sources, resampled, samples, rate)
    target = min(making.loudness_lufs, *(best for group in usable for *_, best in group))
    waves: dict[str, bytes] = {}
    clips: list[ClipRecord] = []
    finished: list[tuple[str, np.ndarray]] = []
    equal = [
        (system, name, stimuli.equalise(wave, rate, target))
        for system, group in enumerate(usable)
        for name, wave, _ in group
    ]
    largest_db = max(made.gain_db for *_, made in equal)
    rng = np.random.default_rng(making.seed)
    for system, name, made in equal:
        wave = stimuli.dither(made.wave, made.gain_db, largest_db, rng)
        record = _record(wave, rate, waves, system, name, made.loudness_lufs, made.gain_db)
        clips.append(record)
        finished.append((record.id, wave))
    checks = []
    chosen = secrets.SystemRandom().sample(finished, len(finished))[:LEAST_DESIGN_CHECKS]
    if len(chosen) < 2:
        chosen = chosen * 2
    for clean, wave in chosen:
        beeps = stimuli.with_beeps(wave, rate)
        record = _record(beeps, rate, waves, None, f"{clean} with beeps", target, 0.0)
        clips.append(record)
        checks.append((clean, record.id))
    systems = tuple(
        SystemRecord(source.name, source.path, source.is_recordings, len(group), tuple(faults))
        for source, group, faults in zip(sources, usable, left_out, strict=True)
    )
    plan = Plan(making.kind, making.trials, making.checks, making.repeats, making.seed)
    study = Study(
        secrets.token_hex(8),
        plan,
        making.texts,
        making.rules,
        systems,
        tuple(clips),
        tuple(checks),
        rate,
        samples,
        target,
        folder=folder,
    )
    return study, waves


def write_study(study: Study) -> None:
    """Write study.json."""
    content = asdict(replace(study, folder=Path()))
    del content["folder"]
    write_json(study.folder / STUDY, content)


def open_study(folder: Path) -> Study:
    """Read the study of a folder.

    Raises:
        SamplewiseError: If it holds none, or it is damaged.
    """
    path = folder / STUDY
    if not path.is_file():
        raise SamplewiseError(
            f"{folder} holds no listening test ({STUDY} is missing); make one with `samplewise "
            f"listen create SYSTEM SYSTEM -o {folder}`"
        )
    content: dict[str, Any] = read_object(path)
    if content.get("format") != FORMAT:
        raise SamplewiseError(f"{path} is of format {content.get('format')!r}, not {FORMAT}")
    try:
        study = replace(from_json(Study, content, str(path)), folder=folder)
    except ValueError as error:
        raise SamplewiseError(str(error)) from None
    missing = [clip.id for clip in study.clips if not study.clip_path(clip.id).is_file()]
    if missing:
        raise SamplewiseError(f"{folder} lacks {len(missing)} clips, such as {missing[0]}.wav")
    return study


def _common_length(waves: Sequence[Sequence[np.ndarray]], rate: int, seconds: float | None) -> int:
    """Return the length of every stimulus: what was asked for, or that of the shortest clip."""
    shortest = min(len(wave) for group in waves for wave in group)
    samples = shortest if seconds is None else round(seconds * rate)
    samples = min(samples, round(stimuli.MOST_S * rate))
    if samples < stimuli.LEAST_S * rate:
        raise SamplewiseError(
            f"the shortest clip has {shortest / rate:.2f} s, and a test needs {stimuli.LEAST_S} s"
            "; leave it out, or name a length with --seconds"
        )
    return samples


def _usable(
    sources: Sequence[Source], resampled: Sequence[Sequence[np.ndarray]], samples: int, rate: int
) -> tuple[list[list[tuple[str, np.ndarray, float]]], list[list[str]]]:
    """Return name, wave and highest loudness of the clips that can be used, and the others."""
    usable, left_out = [], []
    for source, waves in zip(sources, resampled, strict=True):
        good, faults = [], []
        for name, whole in zip(source.names, waves, strict=True):
            if len(whole) < samples:
                faults.append(f"{name}: shorter than {samples / rate:.2f} s")
                continue
            wave = stimuli.cut(whole, samples, rate)
            lufs = stimuli.loudness(wave, rate)
            if not lufs > stimuli.SILENT_LUFS:
                faults.append(f"{name}: silent")
                continue
            best = stimuli.highest_loudness(wave, lufs)
            if best < stimuli.QUIETEST_LUFS:
                faults.append(f"{name}: its peaks allow no more than {best:.1f} LUFS")
                continue
            good.append((name, wave, best))
        if not good:
            raise SamplewiseError(f"{source.name} has no clip that can be used: {faults[0]}")
        usable.append(good)
        left_out.append(faults)
    return usable, left_out


def _record(
    wave: np.ndarray,
    rate: int,
    waves: dict[str, bytes],
    system: int | None,
    source: str,
    lufs: float,
    gain_db: float,
) -> ClipRecord:
    """Encode a stimulus and return its record."""
    data = wav_bytes(wave, rate)
    clip = secrets.token_hex(8)
    waves[clip] = data
    digest = hashlib.sha256(data).hexdigest()
    return ClipRecord(clip, system, source, lufs, gain_db, digest)
