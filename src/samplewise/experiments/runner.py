"""Running an experiment: its rows are trained one after the other; results go to one JSON file."""

import datetime
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from samplewise import __version__
from samplewise.atomic_io import lock, write_bytes, write_json
from samplewise.bench.timing import machine
from samplewise.config.codec import to_json
from samplewise.data.corpus import Corpus
from samplewise.data.excerpts import cut
from samplewise.engine.weights import can_pack
from samplewise.errors import CorpusError, SamplewiseError
from samplewise.evaluate.clip_sets import COUNT, SECONDS, default_seconds, score_model
from samplewise.evaluate.evaluation import clip_length, evaluate_split
from samplewise.evaluate.memory import MemoryPlan, memory_experiment, recorded_openings
from samplewise.evaluate.predictor_baseline import (
    fit_factor,
    predictor_alone,
    silence_network,
)
from samplewise.evaluate.speaker_check import check_classifier, quantized_sound
from samplewise.evaluate.speakers import SpeakerClassifier
from samplewise.experiments.checks import check_setting
from samplewise.experiments.experiment import Experiment, Row
from samplewise.experiments.setting import Setting, with_seed
from samplewise.experiments.source import commit
from samplewise.generate.clips import generate_clips
from samplewise.models.base import AutoregressiveModel
from samplewise.models.io import LoadedModel, load_model
from samplewise.models.pruning import kept_weights, zero_share
from samplewise.models.samplernn import SampleRNN
from samplewise.native import has_native
from samplewise.nn.device import choose_device, use_device
from samplewise.plots.sound import waveform_png
from samplewise.strict_json import read_object
from samplewise.training.ranks import Ranks
from samplewise.training.run import RunState, count_parameters, start
from samplewise.training.session import train_run

FORMAT = 1
FIGURE_SECONDS = 8.0
SOUND_COUNT, SOUND_SECONDS = 8, 5.0
"""Clips whose sound is measured, and their longest duration: few and short, so that a row that is
slow to draw takes some minutes at most. A speedrun measures as `samplewise evaluate --sound` does.
"""
Say = Callable[[str], None]


class StoppedError(SamplewiseError):
    """Somebody stopped the experiment; the same command goes on."""


OPENING_S = 2.0
"""Seconds of a recording that clips of the memory experiment continue the second time."""


def result_path(folder: Path, experiment: str, corpus: str, seed: int = 0) -> Path:
    """Return the file that an experiment's results of one seed are in."""
    return folder / experiment / f"{with_seed(corpus, seed)}.json"


def run_experiment(experiment: Experiment, setting: Setting, say: Say) -> dict[str, Any]:
    """Train, score and note every row that is not there yet; return what the file holds.

    Raises:
        StoppedError: After Ctrl-C; the row that was in training is saved.
        SamplewiseError: If the file is of other settings, or labels are missing.
    """
    path = result_path(setting.folder, experiment.name, setting.name, setting.seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    classifier = check_setting(experiment, setting)
    with lock(path.parent, "experiment"):
        results = _open(path, experiment, setting)
        waves = []
        for number, row in enumerate(experiment.rows, 1):
            if row.name not in results["rows"] or experiment.kind == "figure":
                say(f"{experiment.name} {number}/{len(experiment.rows)}: {row.name}")
                found = _train(row, setting, say) if row.is_trained else _leave_alone(row, setting)
                loaded = load_model(
                    setting.run_folder(row), use_device(setting.device), max_memory=math.inf
                )
                found |= _weights(loaded.model)
                found |= _measure(experiment, setting, row, loaded, classifier, waves)
                results["rows"][row.name] = found
                write_json(path, results)
        if waves:
            real = _real(setting)
            png = waveform_png([("ground truth", real), *waves], setting.corpus.sample_rate)
            write_bytes(path.with_suffix(".png"), png)
    return results


def _open(path: Path, experiment: Experiment, setting: Setting) -> dict[str, Any]:
    """Return the results so far, or the head of new ones."""
    head = {
        "format": FORMAT,
        "experiment": experiment.name,
        "corpus": {
            "name": setting.name,
            "digest": setting.corpus.digest,
            "split_rule": setting.corpus.split_rule,
            "sample_rate": setting.corpus.sample_rate,
            "minutes": {
                split: _minutes(setting.corpus, split) for split in ("train", "valid", "test")
            },
        },
        "size": setting.size,
        "seed": setting.seed,
    }
    if experiment.kind != "speedrun":  # its rows have budgets of their own
        head["budget"] = str(setting.budget)
    if experiment.kind == "memory":
        head |= {"count": setting.count, "speakers": setting.speakers}
    if not path.exists():
        return head | {"rows": {}}
    try:
        there = read_object(path)
        assert isinstance(there["rows"], dict)
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise SamplewiseError(f"{path} is not a file of results ({error}); remove it") from None
    changed = [key for key, value in head.items() if there.get(key) != value]
    if changed:
        key = changed[0]
        raise SamplewiseError(
            f"{path} holds results with another {key} ({there.get(key)}, now {head[key]}); "
            "choose another -o, or remove it"
        )
    return there


def _minutes(corpus: Corpus, split: str) -> float:
    samples = sum(recording.samples for recording in corpus.split(split))
    return round(samples / corpus.sample_rate / 60, 2)


def _train(row: Row, setting: Setting, say: Say) -> dict[str, Any]:
    """Train a row, or go on with it; return the record of its training."""
    folder = setting.run_folder(row)
    outcome = train_run(
        setting.config_of(row), setting.corpus, folder, say=lambda line: say(f"  {line}")
    )
    if outcome.is_interrupted:
        raise StoppedError(f"{row.name}: {outcome.reason}")
    return _record(outcome.run, setting)


def _leave_alone(row: Row, setting: Setting) -> dict[str, Any]:
    """Make the model of a row in which the linear predictor alone decides; return its record."""
    config, corpus = setting.config_of(row), setting.corpus
    run = start(config, corpus, setting.run_folder(row), Ranks(0, 1, use_device(config.device)))
    model, samples = run.usable, clip_length(config.clip_seconds, corpus.sample_rate)
    assert isinstance(model, SampleRNN)
    train, valid = (cut(corpus.split(split), samples) for split in ("train", "valid"))
    log_factor = fit_factor(model, corpus, train, config.level)
    run.progress.best_bits = predictor_alone(model, corpus, valid, config.level, log_factor)
    silence_network(model, log_factor)
    run.save_model()
    return _record(run, setting) | {"log_factor": log_factor}


def _record(run: RunState, setting: Setting) -> dict[str, Any]:
    """Return the record of a row's training."""
    progress = run.progress
    return {
        "run": str(run.folder.relative_to(setting.folder)),
        "train": to_json(run.config),
        "parameters": count_parameters(run.model),
        "steps": progress.step,
        "minutes": round(progress.seconds / 60, 2),
        "seconds": round(progress.seconds, 3),
        "samples_seen": progress.samples_seen,
        "epochs": round(run.stream.epochs, 3),
        "machine": machine(str(run.ranks.device)),
        "version": __version__,
        "commit": commit(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _weights(model: AutoregressiveModel) -> dict[str, Any]:
    """Return how sparse the model of a row is, if it has anything that could be pruned."""
    if not model.prunable():
        return {}
    return {"kept_weights": kept_weights(model), "sparsity": zero_share(model)}


def _measure(
    experiment: Experiment,
    setting: Setting,
    row: Row,
    loaded: LoadedModel,
    classifier: SpeakerClassifier | None,
    waves: list[Any],
) -> dict[str, Any]:
    if classifier is not None:
        assert setting.speakers is not None
        read_clip = quantized_sound(loaded, setting.corpus)
        check = check_classifier(setting.corpus, setting.speakers, classifier, read_clip=read_clip)
        plan = MemoryPlan(count=setting.count, seed=setting.seed)
        from_nothing = memory_experiment(loaded, classifier, plan)
        plan = replace(plan, opening_s=OPENING_S)
        openings = recorded_openings(setting.corpus, setting.speakers, loaded, plan)
        continued = memory_experiment(loaded, classifier, plan, openings=openings)
        return {
            "memory": from_nothing.to_json(),
            "memory_after_recordings": continued.to_json(),
            "check": check.to_json(),
        }
    if experiment.kind == "figure":
        [clip] = generate_clips(loaded, 1, FIGURE_SECONDS, setting.seed)
        waves.append((row.name, clip.samples))
        return {}
    # The engine's f32 gives the reference's figure to rounding, two to three times as fast.
    on_cpu = choose_device(setting.device).type == "cpu"
    weights = "f32" if on_cpu and has_native() and can_pack(loaded.model) else None
    is_speedrun = experiment.kind == "speedrun"  # whose predictor alone is a row
    scores = {
        split: evaluate_split(
            loaded, setting.corpus, split, weights=weights, with_baselines=not is_speedrun
        ).to_json()
        for split in experiment.splits
    }
    for score in scores.values():
        score.pop("recordings")
    if weights is None:
        return {"scores": scores}
    count, seconds = (COUNT, SECONDS) if is_speedrun else (SOUND_COUNT, SOUND_SECONDS)
    return {"scores": scores} | _sound(setting, loaded, count, seconds)


def _sound(setting: Setting, loaded: LoadedModel, count: int, longest: float) -> dict[str, Any]:
    """Return how clips of a row sound; nothing if it draws none, or there is too little to compare.

    Args:
        setting: Corpus and seed.
        loaded: The row's model.
        count: Number of clips.
        longest: Their longest duration in seconds.
    """
    conditioner = loaded.model.conditioner
    if conditioner is not None and conditioner.config.mel is not None:
        return {}
    seconds = default_seconds(setting.corpus, longest)
    try:
        score = score_model(loaded, setting.corpus, count=count, seconds=seconds, seed=setting.seed)
    except CorpusError:
        return {}
    return {"sound": score.to_json()}


def _real(setting: Setting) -> Any:
    """Return the beginning of the longest recording of the test split."""
    longest = max(setting.corpus.split("test"), key=lambda recording: recording.samples)
    stop = min(longest.samples, round(FIGURE_SECONDS * setting.corpus.sample_rate))
    return setting.corpus.amplitude(longest, 0, stop)
