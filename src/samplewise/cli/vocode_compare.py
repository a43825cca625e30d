"""`samplewise vocode --corpus`: unseen recordings, vocoded, scored and put on a page."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplewise.cli.generate import say
from samplewise.cli.vocode import VocodeArgs, output_folder
from samplewise.strict_json import to_text

if TYPE_CHECKING:
    from samplewise.data.corpus import Corpus
    from samplewise.generate.backend import Backend
    from samplewise.models.io import LoadedModel
    from samplewise.report.vocoding import Utterance

SCORES, PAGE = "scores.json", "report.html"


def compare(args: VocodeArgs, loaded: "LoadedModel", backend: "Backend", seed: int) -> int:
    """Vocode recordings of a corpus; write WAVs, scores and a page; return the exit code."""
    from samplewise.atomic_io import write_json, write_text
    from samplewise.audio.write import write_wav
    from samplewise.data.corpus import Corpus
    from samplewise.generate.vocoded import vocoded_folder
    from samplewise.report.vocoding import vocoding_page

    assert args.corpus is not None
    corpus = Corpus.open(args.corpus)
    _check(args, corpus, loaded)
    folder = output_folder(args)
    with vocoded_folder(folder, args.force) as note:
        utterances, speed = _vocode(args, corpus, loaded, backend, seed)
        report = _report(args, loaded, backend, seed, utterances) | {"real_time_factor": speed}
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
            f"Drawn by the {backend.describe(loaded.model)}, temperature {args.temperature}, "
            f"min-p {args.min_p:g}, {args.corrections} corrections, seed {seed}; {args.split} "
            f"split of {corpus.folder.name}, {speed:.2g} times real time."
        )
        name = str(loaded.provenance.get("name", args.model.stem))
        write_text(folder / PAGE, vocoding_page(name, utterances, corpus.sample_rate, how))
    say(f"wrote {folder / PAGE}")
    return 0


def _check(args: VocodeArgs, corpus: "Corpus", loaded: "LoadedModel") -> None:
    from samplewise.errors import CorpusError

    if corpus.sample_rate != loaded.audio.sample_rate:
        raise CorpusError(
            f"{corpus.folder} has {corpus.sample_rate} Hz, but the model {loaded.audio.sample_rate}"
        )
    if args.count < 1:
        raise ValueError(f"count = {args.count} must be at least 1")
    if not 0 <= args.seconds < float("inf"):
        raise ValueError(f"seconds = {args.seconds} must not be negative; 0 means all")
    if corpus.gain != loaded.audio.gain:
        say(
            f"{corpus.folder} has a gain of {corpus.gain:.4g}, the model's corpus had "
            f"{loaded.audio.gain:.4g}: recordings are taken at the model's"
        )
    if not corpus.split(args.split):
        raise CorpusError(f"{corpus.folder} has no recordings in its {args.split} split")


def _vocode(
    args: VocodeArgs, corpus: "Corpus", loaded: "LoadedModel", backend: "Backend", seed: int
) -> "tuple[list[Utterance], float]":
    import torch

    from samplewise.audio.mel import mel_spectrogram
    from samplewise.audio.mel_correction import correct_sound
    from samplewise.cli.evaluate import find_labels
    from samplewise.config.models import conditioning_of
    from samplewise.data.clips import spread
    from samplewise.evaluate.vocoder_metrics import griffin_lim_of, noise_of, score_vocoding
    from samplewise.generate.temperature import parse_envelope
    from samplewise.generate.vocoder import mel_of, vocode_all
    from samplewise.report.vocoding import Utterance, Version

    rate, config = corpus.sample_rate, mel_of(loaded.model)
    recordings = spread(corpus.split(args.split), args.count)
    most = max(1, round(args.seconds * rate)) if args.seconds else None
    gain = loaded.audio.gain
    waves = [
        corpus.amplitude(r, 0, min(r.samples, most or r.samples), gain).clip(-1, 1)
        for r in recordings
    ]
    mels = [mel_spectrogram(torch.from_numpy(w), config, rate).numpy() for w in waves]
    named = None if args.label else find_labels(args.labels, loaded, corpus)
    labels = [args.label if named is None else named[r.source] for r in recordings]
    say(f"seed {seed} · {backend.describe(loaded.model)}")
    began = time.monotonic()
    temperatures = parse_envelope(args.temperature)
    drawn = vocode_all(loaded, mels, seed, labels=labels, temperature=temperatures, backend=backend)
    times, told = args.corrections, conditioning_of(loaded.model.config)
    assert told is not None
    pairs = zip(drawn, mels, strict=True)
    nearer = [correct_sound(sound, mel, config, rate, times) for sound, mel in pairs]
    speed = sum(map(len, drawn)) / rate / (time.monotonic() - began)
    utterances = []
    for recording, wave, sound, first in zip(recordings, waves, nearer, drawn, strict=True):
        made = {
            "Vocoder": sound,
            **({"Uncorrected": first} if times else {}),
            "Noise": noise_of(wave, told, rate, times),
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


def _report(
    args: VocodeArgs,
    loaded: "LoadedModel",
    backend: "Backend",
    seed: int,
    utterances: "list[Utterance]",
) -> dict[str, Any]:
    from samplewise.evaluate.vocoder_metrics import instruments, mean_scores
    from samplewise.report.vocoding import scores_by_title

    scores = scores_by_title(utterances)
    return {
        "format": 1,
        "split": args.split,
        "seed": seed,
        "temperature": args.temperature,
        "min_p": args.min_p,
        "corrections": args.corrections,
        "backend": backend.describe(loaded.model),
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
