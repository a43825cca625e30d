"""`samplewise evaluate`: bits per sample of a run on held-out recordings."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from samplewise.strict_json import to_text

if TYPE_CHECKING:
    from samplewise.evaluate.evaluation import Score
    from samplewise.models.io import LoadedModel

RESULT = "evaluation.json"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluateArgs:
    """Measure a model: negative log-likelihood in bits per sample, every sample counted once.

    Writes evaluation.json into the run folder and prints the figure, what it may be compared with
    (the label line), the baselines it has to beat, and each recording.
    """

    model: tyro.conf.Positional[Path]
    """Run folder, or an exported model file."""
    step: int | None = None
    """Weights of the run's checkpoint at this step (train --keep); default: the best ones."""
    corpus: Path | None = None
    """Corpus to score; default: the one that the model was trained on."""
    split: Literal["test", "valid", "train"] = "test"
    """Which recordings of the corpus."""
    clip_seconds: float | None = None
    """Seconds that recurrent state is carried through; 0: whole recordings; default: as trained."""
    labels: str | None = None
    """Class of each recording, for a model that is conditioned on classes: a CSV with the columns
    file and speaker, or `folders`; default: as trained."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    backend: Literal["reference", "native"] = "reference"
    """native: a quick check with the engine that generates; not written to evaluation.json."""
    weights: Literal["int8", "int8x16", "f16", "f32"] = "int8"
    """How the native engine, if it scores, stores weights."""
    baselines: bool = True
    """Also count uniform, unigram, bigram and linear-prediction baselines on the training split."""
    max_memory: float = 2.0
    """Most GiB that the model may take; a file that asks for more is refused."""
    json: bool = False
    """Print the JSON that evaluation.json holds."""


def main(argv: list[str]) -> int:
    """Run `samplewise evaluate` with ``argv`` and return the exit code."""
    args = tyro.cli(EvaluateArgs, args=argv, prog="samplewise evaluate")

    from samplewise.api import load
    from samplewise.atomic_io import write_json
    from samplewise.cli.progress import progress_bar
    from samplewise.data.corpus import Corpus

    device = "cpu" if args.backend == "native" else args.device
    model = load(
        args.model,
        step=args.step,
        device=device,
        backend=args.backend,
        max_memory=args.max_memory,
    )
    trained_on = _trained_on(model.loaded)
    corpus = Corpus.open(args.corpus or _default_corpus(args.model, trained_on))
    if trained_on.get("digest", corpus.digest) != corpus.digest:
        logger.warning(
            "%s is not the corpus that the model was trained on: its recordings, splits or gain "
            "differ, and held-out recordings may have been trained on",
            corpus.folder,
        )
    result = model.score(
        corpus,
        split=args.split,
        labels=args.labels,
        clip_seconds=args.clip_seconds,
        baselines=args.baselines,
        weights=args.weights if args.backend == "native" else None,
        progress=progress_bar,
    )
    if args.json:
        print(to_text(result.to_json(), indent=2, ascii_only=True))
    else:
        print(describe(result))
    if args.model.is_dir() and args.backend == "reference":
        name = RESULT if args.step is None else f"evaluation-step-{args.step}.json"
        write_json(args.model / name, result.to_json())  # after it was shown: it may fail
    return 0


def describe(result: "Score") -> str:
    """Return an evaluation as lines: headline, label, recordings."""
    from samplewise.audio.files import shown

    headline = f"{result.bits_per_sample:.3f} bits per sample on the {result.split} split"
    beaten, lost = result.beaten, [n for n in result.baselines if n not in result.beaten]
    parts = [
        f"{verb} {', '.join(f'{_words(name)} {result.baselines[name]:.3f}' for name in names)}"
        for verb, names in (("beats", beaten), ("does not beat", lost))
        if names
    ]
    lines = ["; ".join([headline, *parts]), result.label, ""]
    lines.append(f"{'bits':>7}  {'samples':>10}  recording")
    lines += [
        f"{item.bits_per_sample:7.3f}  {item.samples:10d}  {shown(item.source)}"
        for item in result.recordings
    ]
    return "\n".join(lines)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _trained_on(loaded: "LoadedModel") -> dict[str, Any]:
    """Return folder, digest and split rule of the training corpus, if they are recorded."""
    recorded = loaded.provenance.get("corpus")
    return dict(recorded) if isinstance(recorded, dict) else {}


def _default_corpus(model: Path, trained_on: dict[str, Any]) -> Path:
    from samplewise.errors import CorpusError

    folder = trained_on.get("folder")
    if not isinstance(folder, str):
        raise CorpusError(f"{model} does not say what it was trained on; name it with --corpus")
    if not Path(folder).is_dir():
        raise CorpusError(
            f"{folder}, which {model} was trained on, does not exist; name a corpus with --corpus"
        )
    return Path(folder)
