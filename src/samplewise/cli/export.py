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
    output: tyro.conf.Positional[Path | None] = None
    """File to write, for example mine.safetensors; an exported model that is there is replaced."""
    describe: bool = False
    """Print what the model is and the memory it would take; nothing is loaded or written."""
    max_memory: float = 2.0
    """Most GiB that the model may take; a file that asks for more is refused."""
    step: int | None = None
    """Weights of the run's checkpoint at this step (train --keep); default: the best ones."""
    half: bool = False
    """Round weights to half precision: half the size, and no audible difference."""
    sparsity: float = 0.0
    """Share of the weights to zero, in blocks of the smallest mean magnitude, in [0, 1): a smaller
    file. Some percent change little; for more, train with --sparsity."""
    block: str = "16x4"
    """Rows and columns of the blocks of --sparsity."""
    parts: str = ""
    """Of --sparsity: only matrices whose name contains it, as in upsample."""
    temperature: float | None = None
    """Temperature at which generate draws from the file by default, in (0, 10]; default: as the
    model says, which is 1 unless train was given another."""
    starts: int | None = None
    """Excerpts of a quarter of a second of the training split that the file keeps, for clips to
    follow (generate --start corpus); default: all, 16 at most."""
    name: str | None = None
    """Name of the model in the file, for a file that is given to others: the corpus is then named
    without the folders that it lies in."""
    engine: bool = False
    """Write a file for programs in C, which load it with native/include/samplewise/samplewise.h
    (docs/engine.md), in place of one for samplewise."""
    force: bool = False
    """Overwrite a file that is no exported model."""


def main(argv: list[str]) -> int:
    """Run `samplewise export` with ``argv`` and return the exit code."""
    args = tyro.cli(ExportArgs, args=argv, prog="samplewise export")

    from samplewise.api import load
    from samplewise.engine.model_file import is_engine_file, write_engine_file
    from samplewise.kinds import check_target
    from samplewise.models.io import is_model_file
    from samplewise.models.pruning import zero_share

    if args.engine:
        for name in ("half", "temperature", "starts", "name"):
            if (value := getattr(args, name)) is not None and value is not False:
                what = f"{name} = {value}: a file for programs in C cannot have it"
                raise ValueError(f"{what}; leave --{name} out")
    if args.describe:
        print(_describe(args.model))
        return 0
    if args.output is None:
        raise ValueError("output: name the file to write, or ask for --describe")
    is_ours = is_engine_file if args.engine else is_model_file
    check_target(args.output, args.force, is_ours=is_ours)  # before a model is loaded
    model = load(args.model, step=args.step, device="cpu", max_memory=args.max_memory)
    if args.sparsity:
        model = model.pruned(args.sparsity, args.block, args.parts)
    if args.engine:
        write_engine_file(args.output, model.loaded.model, model.sample_rate)
    else:
        model.export(
            args.output,
            force=args.force,
            half=args.half,
            temperature=args.temperature,
            starts=args.starts,
            name=args.name,
        )
    megabytes = args.output.stat().st_size / 1e6
    share = zero_share(model.loaded.model)
    dense = 4e-6 * model.parameters
    sparse = f", {share:.1%} of its blocks are zero ({dense:.1f} MB if dense)" if share else ""
    print(f"{args.output}: {megabytes:.1f} MB, {model.sample_rate} Hz{sparse}")
    return 0


def _describe(model: Path) -> str:
    from samplewise.models.io import model_file, read_description
    from samplewise.models.memory import describe_memory, gigabytes, model_memory

    file = model_file(model)
    try:
        stored = read_description(file)
    except ValueError as error:
        raise ValueError(f"{file} cannot be used as a model: {error}") from None
    memory = model_memory(stored.config)
    return (
        f"{file}: {stored.config.family}, {stored.audio.sample_rate} Hz, {memory.parameters} "
        f"parameters\nmemory to draw one clip: {gigabytes(memory.total)} "
        f"({describe_memory(memory)})"
    )
