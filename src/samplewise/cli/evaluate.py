"""`samplewise evaluate`: bits per sample of a run on held-out recordings."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from samplewise.cli.folder import FolderArg
from samplewise.data.remote import Folder, as_folder
from samplewise.strict_json import read_object, to_text

if TYPE_CHECKING:
    from samplewise.data.corpus import Corpus
    from samplewise.evaluate.evaluation import Score
    from samplewise.evaluate.sound import SoundReference, SoundScore
    from samplewise.models.io import LoadedModel
    from samplewise.trained_model import Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluateArgs:
    """Measure a model: negative log-likelihood in bits per sample, every sample counted once.

    Writes evaluation.json into the run folder and prints the figure, what it may be compared with
    (the label line), the baselines it has to beat, and each recording.

    With --sound, clips are drawn at default settings and compared with the test recordings: a
    distance, descriptors, flags, copying. Writes sound.json.
    """

    model: tyro.conf.Positional[Path | None] = None
    """Run folder, exported model file, or a name that `samplewise models` lists; left out with
    --clips."""
    sound: bool = False
    """Measure how clips sound, in place of bits per sample."""
    clips: Path | None = None
    """Folder of sound files to judge with --sound, of any model; needs --corpus."""
    count: int = 16
    """Clips that --sound draws."""
    seconds: float | None = None
    """Their length; default: 10, or less where the test split is short."""
    seed: int = 0
    """Their seed."""
    step: int | Literal["all"] | None = None
    """Weights of the run's checkpoint at this step (train --keep); default: the best ones. all,
    with --sound: every checkpoint, and which sounds closest; choose by --split valid."""
    corpus: Annotated[FolderArg | None, tyro.conf.arg(metavar="PATH|URL")] = None
    """Corpus to score, or its URL; default: the one that the model was trained on."""
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
    """Also count uniform, unigram, bigram and linear-prediction baselines on the training split; of
    a model with a linear predictor, score the predictor alone."""
    max_memory: float = 2.0
    """Most GiB that the model and the clips drawn at once may take; more is refused."""
    json: bool = False
    """Print the JSON that evaluation.json holds."""


def main(argv: list[str]) -> int:
    """Run `samplewise evaluate` with ``argv`` and return the exit code."""
    args = tyro.cli(EvaluateArgs, args=argv, prog="samplewise evaluate")

    if args.clips is not None:
        if args.model is not None or args.corpus is None or not args.sound:
            raise ValueError("--clips FOLDER goes with --sound and --corpus, and without a model")
        return _judge_folder(args.clips, args.corpus, args.split, args.json)
    if args.model is None:
        raise ValueError("name a run folder or a model file; or a folder of clips with --clips")

    from samplewise.data.corpus import Corpus

    step, steps = args.step, list[int]()
    if step == "all":
        steps = _steps(args.model, args)
        step = steps[0]
    model = _load(args, args.model, step)
    trained_on = _trained_on(model.loaded)
    corpus = Corpus.open(args.corpus or _default_corpus(args.model, trained_on))
    if trained_on.get("digest", corpus.digest) != corpus.digest:
        logger.warning(
            "%s is not the corpus that the model was trained on: its recordings, splits or gain "
            "differ, and held-out recordings may have been trained on",
            corpus.folder,
        )
    if steps:
        return _measure_steps(args, args.model, model, steps, corpus)
    if args.sound:
        return _measure_sound(args, args.model, model, corpus, step)
    return _measure_bits(args, args.model, model, corpus, step)


def _steps(model: Path, args: EvaluateArgs) -> list[int]:
    """Return the steps of the checkpoints of a run."""
    from samplewise.training.checkpoint import saved_steps
    from samplewise.training.run import STATE

    if not args.sound:
        raise ValueError("--step all goes with --sound")
    if not (steps := saved_steps(model / STATE)):
        raise ValueError(f"{model} has no checkpoints; --step all needs a run folder")
    return sorted(steps)


def _load(args: EvaluateArgs, path: Path, step: int | None) -> "Model":
    from samplewise.api import load

    return load(
        path,
        step=step,
        device="cpu" if args.backend == "native" else args.device,
        backend="auto" if args.sound else args.backend,
        max_memory=args.max_memory,
    )


def _measure_bits(
    args: EvaluateArgs, path: Path, model: "Model", corpus: "Corpus", step: int | None
) -> int:
    from samplewise.atomic_io import write_json
    from samplewise.cli.progress import progress_bar

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
    if path.is_dir() and args.backend == "reference":
        write_json(path / _result_name("evaluation", step), result.to_json())  # may fail
    return 0


def _measure_sound(
    args: EvaluateArgs, path: Path, model: "Model", corpus: "Corpus", step: int | None
) -> int:
    from samplewise.cli.evaluate_sound import describe_sound

    score = _score_sound(args, path, model, corpus, step)
    if args.json:
        print(to_text(score.to_json(), indent=2, ascii_only=True))
    else:
        print(describe_sound(score))
    return 0


def _measure_steps(
    args: EvaluateArgs, path: Path, model: "Model", steps: list[int], corpus: "Corpus"
) -> int:
    """Measure every checkpoint; ``model`` is the first."""
    from samplewise.cli.evaluate_sound import step_head, step_line
    from samplewise.evaluate.clip_sets import corpus_reference

    level = model.loaded.audio.level
    reference = corpus_reference(corpus, level, args.seconds, args.count, args.split)
    scores: dict[int, SoundScore] = {}
    for step in steps:
        if scores:
            model = _load(args, path, step)
        score = _score_sound(args, path, model, corpus, step, reference)
        if not args.json:
            print(
                *([] if scores else [step_head(score)]),
                step_line(step, score),
                sep="\n",
                flush=True,
            )
        scores[step] = score
    closest = min(scores, key=lambda step: scores[step].log_mel_distance.value)
    if args.json:
        found = {str(step): score.to_json() for step, score in scores.items()}
        print(to_text(found, indent=2, ascii_only=True))
    else:
        print(f"\nthe closest: samplewise generate {path} --step {closest}")
    return 0


def _score_sound(
    args: EvaluateArgs,
    path: Path,
    model: "Model",
    corpus: "Corpus",
    step: int | None,
    reference: "SoundReference | None" = None,
) -> "SoundScore":
    """Draw clips, compare them, and keep the figures in the run folder."""
    from samplewise.atomic_io import write_json
    from samplewise.cli.sampling import late_bar
    from samplewise.evaluate.clip_sets import score_model
    from samplewise.generate.clips import BATCH

    with late_bar("drawing (seconds of sound)") as bar:
        score = score_model(
            model.loaded,
            corpus,
            count=args.count,
            seconds=args.seconds,
            seed=args.seed,
            split=args.split,
            reference=reference,
            test_bits=_known_bits(path / _result_name("evaluation", step), args.split),
            backend=model.backend_for(min(args.count, BATCH), lower="--count"),
            progress=lambda done, total: bar(done // model.sample_rate, total // model.sample_rate),
        )
    if path.is_dir():
        write_json(path / _result_name("sound", step), score.to_json())
    return score


def _judge_folder(folder: Path, corpus: Folder, split: str, as_json: bool) -> int:
    from samplewise.cli.evaluate_sound import describe_sound
    from samplewise.data.corpus import Corpus
    from samplewise.evaluate.clip_sets import score_folder

    score = score_folder(folder, Corpus.open(corpus), split)
    print(to_text(score.to_json(), indent=2, ascii_only=True) if as_json else describe_sound(score))
    return 0


def _result_name(kind: str, step: int | None) -> str:
    return f"{kind}.json" if step is None else f"{kind}-step-{step}.json"


def _known_bits(path: Path, split: str) -> float | None:
    """Return bits per sample of a split by an earlier evaluation, if there is one."""
    try:
        known = read_object(path)
        bits = float(known["bits_per_sample"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return bits if known.get("split") == split else None


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


def _default_corpus(model: Path, trained_on: dict[str, Any]) -> Folder:
    from samplewise.errors import CorpusError

    folder = trained_on.get("folder")
    if not isinstance(folder, str):
        raise CorpusError(f"{model} does not say what it was trained on; name it with --corpus")
    corpus = as_folder(folder)
    if isinstance(corpus, Path) and not corpus.is_dir():
        raise CorpusError(
            f"{folder}, which {model} was trained on, does not exist; name a corpus with --corpus"
        )
    return corpus
