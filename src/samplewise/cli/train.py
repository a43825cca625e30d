"""`samplewise train`: train a model on a corpus; the same command goes on after any stop."""

import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from samplewise.cli.folder import FolderArg
from samplewise.cli.output import guarded
from samplewise.config.presets import PRESETS, preset_for
from samplewise.config.training import TrainConfig

if TYPE_CHECKING:
    from samplewise.training.run import RunState

DEFAULT_PRESET = "music"


@dataclass(frozen=True)
class TrainArgs:
    """Train a model on a corpus.

    Ctrl-C saves a checkpoint; the same command goes on where it stopped. Presets: tiny, small,
    small-16bit, voice-16bit (a CPU), music, speech (a GPU), and the paper's systems: paper-2tier,
    paper-3tier, paper-rnn, paper-wavenet, paper-rnn-wavenet, paper-conv-wavenet, paper-rnn-gmm,
    paper-2tier-gmm, paper-no-embedding, paper-multi-softmax; wavernn-224, -384, -896, -2048,
    subscale-wavernn-8x, -16x, fused-subscale-wavernn-896; vocoders: vocoder, vocoder-small (CPU).
    A preset fills in every flag below.
    """

    corpus: tyro.conf.Positional[FolderArg]
    """Folder made by samplewise prepare, or its URL (s3://, gs://)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Run folder; made if it does not exist, resumed if it does."""
    fresh: bool = False
    """Throw away a run that is in the folder and start again."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    """How to train."""


def main(argv: list[str]) -> int:
    """Run `samplewise train` with ``argv`` and return the exit code."""
    train(argv)
    return 0


def train(argv: list[str], with_report: bool = True) -> str | None:
    """Train as ``argv`` asks; return why it stopped, None if other processes trained."""
    args = _parse(argv)

    from samplewise.training.ranks import is_launched, spawn

    if args.config.ranks > 1 and not is_launched():
        spawn(_train, args.config.ranks, args, with_report)
        return None
    return _train(args, with_report)


def _parse(argv: list[str]) -> TrainArgs:
    """Read the flags, whose defaults are those of the preset that is named among them."""
    named = [word.partition("=")[0].removeprefix("--") for word in argv]
    preset = preset_for(_preset_name(argv), named)

    @dataclass(frozen=True)
    class Args(TrainArgs):
        __doc__ = TrainArgs.__doc__
        config: Annotated[TrainConfig, tyro.conf.arg(name="")] = preset

    # The family of the model is the preset's; its flags are those of that family alone.
    config = (tyro.conf.AvoidSubcommands,)
    args = tyro.cli(Args, args=argv, prog="samplewise train", config=config)
    # Ranks that are spawned can only be sent what they can import.
    return TrainArgs(args.corpus, args.output, args.fresh, args.config)


def _train(args: TrainArgs, with_report: bool) -> str:
    """Train as one rank, and return why it stopped; every rank runs this."""
    with guarded():  # a spawned rank has an output of its own
        return _train_guarded(args, with_report)


def _train_guarded(args: TrainArgs, with_report: bool) -> str:
    from samplewise.data.corpus import Corpus
    from samplewise.training.ranks import joined
    from samplewise.training.session import train_run

    corpus = Corpus.open(args.corpus)
    with joined(args.config.device) as ranks:
        outcome = train_run(
            args.config,
            corpus,
            args.output,
            say=_say,
            ranks=ranks,
            fresh=args.fresh,
            on_start=_announce,
        )
    if not ranks.is_first:
        return outcome.reason
    progress = outcome.run.progress
    _say(f"stopped at step {progress.step}: {outcome.reason}")
    if progress.best_bits is not None:
        _say(f"best validation {progress.best_bits:.3f} bits/sample at step {progress.best_step}")
    if with_report:
        from samplewise.report.page import write_report

        _say(f"report: {write_report(args.output)}")
    return outcome.reason


def _announce(run: "RunState") -> None:
    """Print what will be trained, and where a resumed run stands."""
    from samplewise.audio.files import shown
    from samplewise.data.prepare.summary import split_warnings
    from samplewise.training.resolve_config import level_warning
    from samplewise.training.run import count_parameters

    config, progress = run.config, run.progress
    _say(
        f"{run.folder}: {config.preset}, {count_parameters(run.model) / 1e6:.2f} M parameters on "
        f"{run.ranks.device}, {config.lanes} lanes of {config.seq_len} samples"
    )
    level = level_warning(config, run.corpus)
    for warning in [*split_warnings(run.corpus.index), *([level] if level else [])]:
        _say(f"warning: {shown(warning)}")
    if progress.step:
        _say(f"going on from step {progress.step} ({progress.seconds / 60:.1f} min trained)")


def _say(text: str) -> None:
    print(text, flush=True)


def _preset_name(argv: list[str]) -> str:
    name = DEFAULT_PRESET
    for word, following in pairwise([*argv, ""]):
        if word == "--preset":
            name = following
        elif word.startswith("--preset="):
            name = word.removeprefix("--preset=")
    if name not in PRESETS:
        print(f"error: there is no preset '{name}'; presets: {', '.join(PRESETS)}", file=sys.stderr)
        sys.exit(2)
    return name
