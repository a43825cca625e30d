"""The data of a report, read from a run folder; missing parts are empty."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from samplewise.errors import AudioError, CheckpointError, CorpusError
from samplewise.kinds import RUN, mistaken
from samplewise.plots import Curve
from samplewise.report import reading

MAX_CLIPS, MAX_CLIP_S = 12, 20.0
MAX_PREVIEWS, MAX_PREVIEW_S = 8, 8.0
MAX_EXCERPT_S = 10.0


@dataclass(frozen=True)
class ReportClip:
    """A clip in a report, or the reason why it cannot be played."""

    name: str
    """File name."""
    wave: Float32[np.ndarray, " samples"]
    """Amplitude of the embedded part, full scale ±1; empty if there is a problem."""
    sample_rate: int
    """Hz."""
    seconds: float | None = None
    """Length of the whole clip; only a part may be embedded."""
    bits: float | None = None
    """Bits per sample of the clip under the model."""
    rank: int | None = None
    """Rank by likelihood; 1 is the likeliest."""
    flags: tuple[str, ...] = ()
    """Flags of artifacts: silence, noise, hiss, stuck."""
    flag_reasons: tuple[str, ...] = ()
    """Reason of each flag; empty for clips of earlier versions."""
    index: int | None = None
    """Index of the clip under its seed."""
    problem: str = ""
    """Reason why there is no sound; empty if there is."""
    step: int = 0
    """Training step, for a preview."""


@dataclass(frozen=True)
class RunData:
    """The content of a run folder."""

    folder: Path
    """Path as written in commands, without the folders above the working folder."""
    name: str
    """Name of the run."""
    config: dict[str, Any]
    """Content of config.json."""
    evaluation: dict[str, Any] | None
    """Content of evaluation.json."""
    sound: dict[str, Any] | None
    """Content of sound.json."""
    generation: dict[str, Any] | None
    """Content of generated/generation.json."""
    corpus: dict[str, Any] | None
    """Settings of the corpus, and whether its digest is that of the training."""
    train: Curve
    """Bits per sample on the training stream."""
    valid: Curve
    """Bits per sample on the validation recordings."""
    learning_rate: Curve
    """Learning rate over training."""
    sparsity: Curve
    """Share of zero blocks after each pruning; empty for a dense model."""
    clips: tuple[ReportClip, ...]
    """Generated clips with sound, best rank first; at most ``MAX_CLIPS``."""
    silent_clips: tuple[ReportClip, ...]
    """The other clips, without sound or beyond the limit."""
    excerpt: ReportClip | None
    """The start of a recording that the model was not trained on."""
    previews: tuple[ReportClip, ...]
    """Previews, earliest first; without sound if the file cannot be read."""
    n_previews: int
    """Number of steps with a preview, shown or not."""
    notes: tuple[str, ...]
    """Messages about parts that could not be read."""

    @property
    def last_step(self) -> int:
        """Number of optimizer steps so far."""
        return int(max([0.0, *self.train.step[-1:], *self.valid.step[-1:]]))

    @property
    def minutes(self) -> float:
        """Minutes of training so far."""
        return 60 * max([0.0, *self.train.hours[-1:], *self.valid.hours[-1:]])

    @property
    def best_valid(self) -> tuple[float, float] | None:
        """Step and bits per sample of the best validation at the last sparsity."""
        first = max([0.0, *self.sparsity.step[-1:]])
        counted = [
            (bits, step)
            for bits, step in zip(self.valid.value, self.valid.step, strict=True)
            if step >= first
        ]
        return min(counted)[::-1] if counted else None

    @property
    def test_bits(self) -> float | None:
        """Bits per sample of the last evaluation."""
        return reading.number(self.evaluation, "bits_per_sample")

    @property
    def baselines(self) -> dict[str, float]:
        """Bits per sample of each baseline of the last evaluation."""
        return reading.numbers(self.evaluation, "baselines")


def gather(folder: Path) -> RunData:
    """Read all data of a report.

    Raises:
        CheckpointError: If ``folder`` is not a run folder.
    """
    has_metrics = (folder / "metrics.jsonl").is_file()
    if not has_metrics and not (folder / "config.json").is_file():
        raise CheckpointError(
            mistaken(folder, RUN)
            or f"{folder} is no run folder (it has neither config.json nor metrics.jsonl); "
            f"train one with `samplewise train CORPUS -o {folder}`"
        )
    notes: list[str] = []
    config = reading.read_json(folder / "config.json", notes) or {}
    generation = reading.read_json(folder / "generated" / "generation.json", notes)
    lines = list(reading.metrics(folder / "metrics.jsonl"))
    clips, silent = _clips(folder / "generated", generation)
    corpus, excerpt = _corpus(config, notes)
    if isinstance(name := reading.find(config, "corpus", "folder"), str):
        config["corpus"]["folder"] = str(_shown(Path(name)))
    previews, n_previews = _previews(folder / "previews")
    return RunData(
        folder=_shown(folder),
        name=Path(os.path.abspath(folder)).name,  # noqa: PTH100  a link keeps its own name
        config=config,
        evaluation=reading.read_json(folder / "evaluation.json", notes),
        sound=reading.read_json(folder / "sound.json", notes),
        generation=generation,
        corpus=corpus,
        train=reading.read_curve(lines, "train", "bits"),
        valid=reading.read_curve(lines, "valid", "bits"),
        learning_rate=reading.read_curve(lines, "train", "lr"),
        sparsity=reading.read_curve(lines, "prune", "sparsity"),
        clips=clips,
        silent_clips=silent,
        excerpt=excerpt,
        previews=previews,
        n_previews=n_previews,
        notes=tuple(notes),
    )


def _shown(path: Path) -> Path:
    """Return a path that does not reveal the folders above the working folder."""
    if not path.is_absolute():
        return path
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else Path(path.name)


def _load(path: Path, limit_s: float, **fields: Any) -> ReportClip:
    """Return the clip in ``path``, which must not be a link to another folder."""
    name, nothing = path.name, np.zeros(0, np.float32)
    if not reading.is_file(path):
        return ReportClip(name, nothing, 0, problem="the file is missing", **fields)
    if path.resolve().parent != path.parent.resolve():
        return ReportClip(name, nothing, 0, problem="it lies outside its folder", **fields)
    try:
        wave, sample_rate, seconds = reading.read_start(path, limit_s)
    except AudioError as error:
        return ReportClip(name, nothing, 0, problem=str(error), **fields)
    return ReportClip(name, wave, sample_rate, seconds=seconds, **fields)


def _clips(
    folder: Path, generation: dict[str, Any] | None
) -> tuple[tuple[ReportClip, ...], tuple[ReportClip, ...]]:
    """Return the clips with sound, best rank first, and the other clips."""
    entries: dict[str, dict[str, Any]] = {}
    for entry in reading.objects(generation, "clips"):
        name = reading.find(entry, "file")
        if isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0"):
            entries.setdefault(name, entry)
    if folder.is_dir():
        for path in sorted(folder.glob("*.wav")):
            entries.setdefault(path.name, {})
    last = float("inf")

    def place(name: str) -> tuple[float, float, str]:
        rank, bits = (reading.number(entries[name], key) for key in ("rank", "bits_per_sample"))
        return last if rank is None else rank, last if bits is None else bits, name

    loud: list[ReportClip] = []
    silent: list[ReportClip] = []
    for name in sorted(entries, key=place):
        entry = entries[name]
        rank, index = (reading.number(entry, key) for key in ("rank", "index"))
        flags, reasons = (_texts(reading.find(entry, key)) for key in ("flags", "flag_reasons"))
        fields = {
            "bits": reading.number(entry, "bits_per_sample"),
            "rank": None if rank is None else int(rank),
            "index": None if index is None else int(index),
            "flags": flags,
            "flag_reasons": reasons,
        }
        if len(loud) == MAX_CLIPS:
            problem = f"only the first {MAX_CLIPS} clips are embedded"
            silent.append(ReportClip(name, np.zeros(0, np.float32), 0, problem=problem, **fields))
            continue
        clip = _load(folder / name, MAX_CLIP_S, **fields)
        (silent if clip.problem else loud).append(clip)
    return tuple(loud), tuple(silent)


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _previews(folder: Path) -> tuple[tuple[ReportClip, ...], int]:
    """Return the first clip of evenly spaced steps, the first and last included, and the count."""
    steps: dict[int, Path] = {}
    for entry in folder.glob("step-*") if folder.is_dir() else ():
        digits = entry.name.removeprefix("step-")
        waves = sorted(entry.glob("*.wav")) if entry.is_dir() else []
        if digits.isascii() and digits.isdigit() and waves:
            steps[int(digits)] = waves[0]
    order = sorted(steps)
    chosen = {round(place) for place in np.linspace(0, len(order) - 1, MAX_PREVIEWS)}
    shown = [order[place] for place in sorted(chosen)] if order else []
    return tuple(_load(steps[step], MAX_PREVIEW_S, step=step) for step in shown), len(order)


def _corpus(
    config: dict[str, Any], notes: list[str]
) -> tuple[dict[str, Any] | None, ReportClip | None]:
    """Return settings of the corpus, and the start of a recording not trained on."""
    from samplewise.data.corpus import Corpus

    name = reading.find(config, "corpus", "folder")
    if not isinstance(name, str) or not reading.is_folder(name):
        return None, None
    try:
        corpus = Corpus.open(Path(name))
    except (CorpusError, OSError) as error:
        reason = str(error).replace(name, str(_shown(Path(name))))
        notes.append(f"The corpus was left out: {reason}")
        return None, None
    same = corpus.digest == reading.find(config, "corpus", "digest")
    if not same:
        notes.append("The corpus has been prepared anew since this model was trained.")
    provenance: dict[str, Any] = {"settings": vars(corpus.index.settings), "same": same}
    for recording in corpus.split("test") or corpus.split("valid"):
        stop = min(recording.samples, round(MAX_EXCERPT_S * corpus.sample_rate))
        wave = corpus.amplitude(recording, 0, stop)
        length = recording.samples / corpus.sample_rate
        provenance["split"] = recording.split
        return provenance, ReportClip(recording.source, wave, corpus.sample_rate, seconds=length)
    return provenance, None
