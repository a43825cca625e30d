"""`samplewise vocode --corpus`: unseen recordings, vocoded, scored and put on a page."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplewise.cli.sampling import print_note
from samplewise.data.remote import Folder
from samplewise.strict_json import to_text

if TYPE_CHECKING:
    from samplewise.data.corpus import Corpus
    from samplewise.report.vocoding import Utterance
    from samplewise.trained_model import Model

SCORES, PAGE = "scores.json", "report.html"


@dataclass(frozen=True)
class Comparison:
    """Which recordings are vocoded, how, and where the result goes."""

    corpus: Folder
    """Corpus of the recordings."""
    output: Path
    """Folder of the result."""
    split: str
    """Split of the corpus."""
    count: int
    """Number of recordings, evenly spread."""
    seconds: float
    """Longest part of each recording, from its start; 0: all."""
    label: str | None
    """Class of every recording, for a model that is conditioned on classes."""
    labels: str | None
    """Classes of the recordings, if they differ: a CSV file, or ``folders``."""
    temperature: str
    """A number, or an envelope."""
    min_p: float
    """Threshold of improbable codes."""
    corrections: int
    """Rounds of spectral correction."""
    seed: int
    """Seed of the uniforms."""
    force: bool
    """Take a folder that holds other things too."""
    json: bool
    """Print the scores as JSON."""


def compare(args: Comparison, model: "Model") -> int:
    """Vocode recordings of a corpus; write WAVs, scores and a page; return the exit code."""
    from samplewise.atomic_io import write_json, write_text
    from samplewise.audio.write import write_wav
    from samplewise.data.corpus import Corpus
    from samplewise.generate.vocoded import vocoded_folder
    from samplewise.report.vocoding import vocoding_page

    corpus = Corpus.open(args.corpus)
    _check(args, corpus, model)
    folder, seed = args.output, args.seed
    backend = model.backend_for(args.count, args.min_p, "--count")
    computed_by = backend.describe(model.loaded.model)
    with vocoded_folder(folder, args.force) as note:
        utterances, speed = _vocode(args, corpus, model, computed_by)
        report = _report(args, computed_by, utterances) | {"real_time_factor": speed}
        print(to_text(report, indent=2, ascii_only=True) if args.json else _table(report))
        sounds = {
            f"{index}-{Path(utterance.name).stem}-{version.title.lower()}.wav": version.wave
            for index, utterance in enumerate(utterances)
            for version in utterance.versions
        }
        note([*sounds, SCORES, PAGE])
        for name, wave in sounds.items():
            write_wav(folder / name, wave, corpus.sample_rate)
        write_json(folder / SCORES, report)
        how = (
            f"Drawn by the {computed_by}, temperature {args.temperature}, "
            f"min-p {args.min_p:g}, {args.corrections} corrections, seed {seed}; {args.split} "
            f"split of {corpus.folder.name}, {speed:.2g} times real time."
        )
        name = str(model.loaded.provenance.get("name", model.loaded.path.stem))
        write_text(folder / PAGE, vocoding_page(name, utterances, corpus.sample_rate, how))
    print_note(f"wrote {folder / PAGE}")
    return 0


def _check(args: Comparison, corpus: "Corpus", model: "Model") -> None:
    from samplewise.errors import CorpusError

    if corpus.sample_rate != model.sample_rate:
        raise CorpusError(
            f"{corpus.folder} has {corpus.sample_rate} Hz, but the model {model.sample_rate}"
        )
    if args.count < 1:
        raise ValueError(f"count = {args.count} must be at least 1")
    if not 0 <= args.seconds < float("inf"):
        raise ValueError(f"seconds = {args.seconds} must not be negative; 0 means all")
    gain = model.loaded.audio.gain
    if corpus.gain != gain:
        print_note(
            f"{corpus.folder} has a gain of {corpus.gain:.4g}, the model's corpus had "
            f"{gain:.4g}: recordings are taken at the model's"
        )
    if not corpus.split(args.split):
        raise CorpusError(f"{corpus.folder} has no recordings in its {args.split} split")


def _vocode(
    args: Comparison, corpus: "Corpus", model: "Model", computed_by: str
) -> "tuple[list[Utterance], float]":
    import torch

    from samplewise.audio.mel import mel_spectrogram
    from samplewise.audio.mel_correction import correct_sound
    from samplewise.config.models import conditioning_of
    from samplewise.data.excerpts import evenly_spaced
    from samplewise.evaluate.evaluation import find_labels
    from samplewise.evaluate.vocoder_metrics import griffin_lim_of, noise_of, score_vocoding
    from samplewise.generate.vocoder import mel_of
    from samplewise.report.vocoding import Utterance, Version

    loaded, rate = model.loaded, corpus.sample_rate
    config = mel_of(loaded.model)
    recordings = evenly_spaced(corpus.split(args.split), args.count)
    most = max(1, round(args.seconds * rate)) if args.seconds else None
    gain = loaded.audio.gain
    waves = [
        corpus.amplitude(r, 0, min(r.samples, most or r.samples), gain).clip(-1, 1)
        for r in recordings
    ]
    mels = [mel_spectrogram(torch.from_numpy(w), config, rate).numpy() for w in waves]
    named = None if args.label else find_labels(args.labels, loaded, corpus)
    labels = [args.label if named is None else named[r.source] for r in recordings]
    print_note(f"seed {args.seed} · {computed_by}")
    began = time.monotonic()
    clips = model.vocode_all(
        mels,
        seed=args.seed,
        temperature=args.temperature,
        min_p=args.min_p,
        labels=labels,
        corrections=0,
    )
    drawn = [clip.samples for clip in clips]
    times, conditioning = args.corrections, conditioning_of(loaded.model.config)
    assert conditioning is not None
    pairs = zip(drawn, mels, strict=True)
    nearer = [correct_sound(sound, mel, config, rate, times) for sound, mel in pairs]
    speed = sum(map(len, drawn)) / rate / (time.monotonic() - began)
    utterances = []
    for recording, wave, sound, first in zip(recordings, waves, nearer, drawn, strict=True):
        made = {
            "Vocoder": sound,
            **({"Uncorrected": first} if times else {}),
            "Noise": noise_of(wave, conditioning, rate, times),
            "Griffin-Lim": griffin_lim_of(wave, config, rate),
        }
        others = [
            Version(
                title, other[: len(wave)], score_vocoding(wave, other[: len(wave)], config, rate)
            )
            for title, other in made.items()
        ]
        versions = (Version("Original", wave, None), *others)
        utterances.append(Utterance(recording.source, versions))
    return utterances, speed


def _report(args: Comparison, computed_by: str, utterances: "list[Utterance]") -> dict[str, Any]:
    from samplewise.evaluate.vocoder_metrics import instruments, mean_scores
    from samplewise.report.vocoding import scores_by_title

    scores = scores_by_title(utterances)
    return {
        "format": 1,
        "split": args.split,
        "seed": args.seed,
        "temperature": args.temperature,
        "min_p": args.min_p,
        "corrections": args.corrections,
        "backend": computed_by,
        "instruments": instruments(),
        "mean": {title: mean_scores(list(own.values())).to_json() for title, own in scores.items()},
        "recordings": {
            title: {name: score.to_json() for name, score in own.items()}
            for title, own in scores.items()
        },
    }


def _table(report: dict[str, Any]) -> str:
    from samplewise.evaluate.vocoder_metrics import TITLES, VocodingScores

    width = max(len(title) for title, _ in TITLES.values()) + 2
    lines = [f"{'':<12}" + "".join(f"{title:>{width}}" for title, _ in TITLES.values())]
    for title, mean in report["mean"].items():
        words = VocodingScores(**mean).formatted().values()
        lines.append(f"{title:<12}" + "".join(f"{word:>{width}}" for word in words))
    count = len(report["recordings"]["Vocoder"])
    lines.append(f"means over {count} recordings of the {report['split']} split")
    how = {
        "stoi": "STOI needs pystoi: pip install 'samplewise[scores]'",
        "pesq": "PESQ needs pesq: pip install --no-build-isolation cython setuptools pesq",
    }
    lines += [line for name, line in how.items() if report["instruments"][name] is None]
    return "\n".join(lines)
