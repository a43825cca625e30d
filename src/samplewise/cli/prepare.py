"""`samplewise prepare`: a folder of recordings becomes a corpus."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class PrepareArgs:
    """Decode, resample, split and store the recordings of a folder.

    Reads WAV, FLAC, OGG, MP3, AIFF and what else libsndfile knows, at any rate, with any number
    of channels (averaged to one), in nested folders. May be interrupted and run again.
    """

    folder: tyro.conf.Positional[Path]
    """Folder that holds the recordings."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder of the corpus; made if it does not exist, brought up to date if it does."""
    sample_rate: int = 16000
    """Rate of the corpus, Hz."""
    valid: float = 0.06
    """Share of the seconds that is held out for validation."""
    test: float = 0.06
    """Share of the seconds that is held out for the test."""
    seed: int = 0
    """Decides which recordings are held out."""
    split: Literal["auto", "recordings", "folders"] = "auto"
    """folders: as top-level folders train, valid and test say. recordings: by recording and by
    seconds. auto: folders if there are all three, else recordings."""
    jobs: int | None = None
    """Worker processes; one per core unless told otherwise, at most 8."""
    json: bool = False
    """Print the summary as JSON."""


def main(argv: list[str]) -> int:
    """Run `samplewise prepare` with ``argv`` and return the exit code."""
    args = tyro.cli(PrepareArgs, args=argv, prog="samplewise prepare")

    from samplewise.cli.progress import progress_bar
    from samplewise.data.index import Settings
    from samplewise.data.prepare import prepare

    settings = Settings(args.sample_rate, args.valid, args.test, args.seed, args.split)
    prepared = prepare(args.folder, args.output, settings, args.jobs, progress_bar)
    index = prepared.index
    if args.json:
        report = {
            "corpus": str(prepared.folder),
            "sample_rate": index.sample_rate,
            "gain": index.gain,
            "split_rule": index.split_rule,
            "digest": index.digest,
            "summary": asdict(index.summary),
            "warnings": index.warnings,
            "notes": [asdict(note) for note in index.notes],
            "skipped": [{"source": item.source, "reason": item.reason} for item in index.skipped],
            "decoded": prepared.decoded,
            "taken_over": prepared.taken_over,
            "unchanged": prepared.is_unchanged,
        }
        print(json.dumps(report, indent=2))
    else:
        from samplewise.cli.corpus_text import describe

        print(describe(prepared))
    return 0
