"""`samplewise prepare`: a folder of recordings, or one recording, becomes a corpus."""

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from samplewise.cli.folder import FolderArg
from samplewise.data.remote import Folder
from samplewise.strict_json import to_text

if TYPE_CHECKING:
    from samplewise.data.prepare.prepare import Prepared


@dataclass(frozen=True)
class PrepareArgs:
    """Decode, resample, split and store the recordings of a folder.

    Reads WAV, FLAC, OGG, MP3, AIFF and what else libsndfile knows, at any rate, with any number
    of channels (averaged to one), in nested folders. May be interrupted and run again.
    """

    folder: tyro.conf.Positional[FolderArg]
    """Folder that holds the recordings, or its URL (s3://, gs://); or one recording; or, with
    --verify alone, a corpus."""
    output: Annotated[FolderArg | None, tyro.conf.arg(aliases=["-o"], metavar="PATH|URL")] = None
    """Folder of the corpus, or its URL; made if it does not exist, brought up to date if it does.
    Needed, except with --verify."""
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
    remove_dc: bool = False
    """Subtract the mean of each recording (DC), before the gain is found."""
    peak: float = 0.99
    """Peak of the corpus after its gain, full scale 1. With 16-bit codes, 0.5 leaves room for what
    is drawn a little louder than the recordings: at full scale it would clip and go to pieces."""
    shard_size: float | None = None
    """Spread the samples over files of so many MB; default: one file below 1 GB, files of 1 GB
    above. What is trained is the same."""
    verify: bool = False
    """Compare the stored samples of a corpus with their checksums. With -o: decode what is damaged
    again. Without: change nothing, and name the damaged recordings."""
    jobs: int | None = None
    """Worker processes; default: one per core, at most 8."""
    json: bool = False
    """Print the summary as JSON."""


def main(argv: list[str]) -> int:
    """Run `samplewise prepare` with ``argv`` and return the exit code."""
    args = tyro.cli(PrepareArgs, args=argv, prog="samplewise prepare")
    if args.output is None and not args.verify:
        print("error: name the folder of the corpus with -o", file=sys.stderr)
        return 2

    from samplewise.data.prepare.prepare import verify_corpus
    from samplewise.data.prepare.summary import plural

    if args.output is None:
        index = verify_corpus(args.folder)
        print(
            to_text(
                {"corpus": str(args.folder), "recordings": len(index.files), "damaged": []},
                ascii_only=True,
            )
            if args.json
            else f"corpus {args.folder} is sound: the samples of "
            f"{plural(len(index.files), 'recording')} are as they were prepared"
        )
        return 0
    prepared = make_corpus(args, args.output)
    index = prepared.index
    if args.json:
        report = {
            "corpus": str(prepared.folder),
            "sample_rate": index.sample_rate,
            "gain": index.gain,
            "split_rule": index.split_rule,
            "digest": index.digest,
            "summary": asdict(index.summary),
            "warnings": prepared.warnings,
            "notes": [asdict(note) for note in index.notes],
            "skipped": [{"source": item.source, "reason": item.reason} for item in index.skipped],
            "decoded": prepared.decoded,
            "taken_over": prepared.taken_over,
            "unchanged": prepared.is_unchanged,
        }
        print(to_text(report, indent=2, ascii_only=True))
    else:
        from samplewise.cli.corpus_summary import format_summary

        print(format_summary(prepared))
    return 0


def make_corpus(args: PrepareArgs, output: Folder) -> "Prepared":
    """Make the corpus that ``args`` ask for in ``output``, or bring it up to date."""
    from samplewise.cli.progress import progress_bar
    from samplewise.data.index import Settings
    from samplewise.data.prepare.prepare import prepare

    settings = Settings(
        args.sample_rate, args.valid, args.test, args.seed, args.split, args.remove_dc, args.peak
    )
    size = None if args.shard_size is None else round(args.shard_size * 1e6)
    return prepare(
        args.folder,
        output,
        settings,
        args.jobs,
        progress_bar,
        verify=args.verify,
        shard_bytes=size,
    )
