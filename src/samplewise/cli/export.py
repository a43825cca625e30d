"""`samplewise export`: a model as one self-describing file."""

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class ExportArgs:
    """Write the model of a run as one file.

    The file holds weights, sizes, sample rate, codec, level and provenance; samplewise generate
    and evaluate take it in place of a run folder. Of pruned matrices it holds what was kept.
    """

    model: tyro.conf.Positional[Path]
    """Run folder, or another exported file."""
    output: tyro.conf.Positional[Path]
    """File to write, for example mine.safetensors."""


def main(argv: list[str]) -> int:
    """Run `samplewise export` with ``argv`` and return the exit code."""
    args = tyro.cli(ExportArgs, args=argv, prog="samplewise export")

    from samplewise.models.files import load_model, save_model
    from samplewise.models.pruning import zero_share

    if args.output.is_dir():
        raise ValueError(f"{args.output} is a folder; name a file, such as mine.safetensors")
    loaded = load_model(args.model)
    save_model(args.output, loaded.model, loaded.audio, loaded.provenance)
    megabytes = args.output.stat().st_size / 1e6
    share = zero_share(loaded.model)
    dense = 4e-6 * sum(parameter.numel() for parameter in loaded.model.parameters())
    sparse = f", {share:.1%} of its blocks are zero ({dense:.1f} MB if dense)" if share else ""
    print(f"{args.output}: {megabytes:.1f} MB, {loaded.audio.sample_rate} Hz{sparse}")
    return 0
