"""`samplewise bench`: training and generation speed on this machine."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from samplewise.config.fields import Recurrence
from samplewise.strict_json import read_object, to_text

STEP_SAMPLES = {"cpu": 16384, "cuda": 2**22}
"""Samples that a run of training takes at least, so that small models are not lost in noise."""
CPU_LANES = 16
"""In place of a preset's on a CPU, if its steps are of more samples than a run takes."""
CPU_CLIPS, GPU_CLIPS = (1, 16), (1, 16, 256, 512)
GENERATION_STEPS = 256
"""Samples of each clip in a run of generation by the reference."""


@dataclass(frozen=True)
class BenchArgs:
    """Measure training and generation speed, medians of several runs.

    A preset is trained with its own optimizer, clipping, averaging and precision, on synthetic
    recordings. The shares of the parts of a step are printed. A hand-written loop over torch's own
    GRU of the same sizes takes turns with it. Generation by the native engine is compared with the
    reference back end and with the limits of the machine's bandwidth and multiply-adds. Published
    speeds are printed beside the speed of a WaveRNN.
    """

    what: tyro.conf.Positional[Literal["all", "train", "generate"]] = "all"
    """Training, generation or both."""
    preset: tuple[str, ...] = ("tiny", "paper-2tier", "paper-3tier")
    """Presets to measure."""
    runs: int = 3
    """Number of measured runs of each; an unmeasured one comes first."""
    lanes: int | None = None
    """Sequences trained side by side; default: the preset's, or 16 on a CPU if its steps are of
    more than 16,384 samples."""
    batch: tuple[int, ...] = ()
    """Numbers of clips that are generated together; default: 1 and 16, on a GPU 256 and 512 too."""
    weights: tuple[Literal["int8", "int8x16", "f16", "f32"], ...] = ("int8", "f16")
    """Formats of the native engine's weights."""
    threads: int | None = None
    """CPU threads; default: as many as torch chooses, and 1 and every core for the engine."""
    dim: int | None = None
    """Width of the models' recurrent layers; default: the presets'."""
    sparsity: float = 0.0
    """Share of the blocks of the models' matrices that are zero, in generation."""
    block: str = "16x4"
    """Rows and columns of these blocks."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["float32", "bfloat16"] | None = None
    """Precision of training; default: the preset's."""
    recurrence: Recurrence = "auto"
    json: bool = False
    """Print JSON instead of tables."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Also write the JSON to this file, and a picture of generation beside it."""
    force: bool = False
    """Overwrite files that are not from a benchmark."""


def main(argv: list[str]) -> int:
    """Run `samplewise bench` with ``argv`` and return the exit code."""
    args = tyro.cli(BenchArgs, args=argv, prog="samplewise bench")

    from samplewise.atomic_io import write_bytes, write_json
    from samplewise.cli.progress import progress_bar
    from samplewise.config.presets import PRESETS
    from samplewise.config.training import parse_block
    from samplewise.config.validation import check_threads
    from samplewise.kinds import check_target

    unknown = [name for name in args.preset if name not in PRESETS]
    if unknown or not args.preset:
        raise ValueError(f"preset = {' '.join(unknown)!r} must be of {', '.join(PRESETS)}")
    for name, values in (("runs", (args.runs,)), ("batch", args.batch)):
        if any(value < 1 for value in values):
            raise ValueError(f"{name} = {' '.join(map(str, values))} must be at least 1")
    check_threads(args.threads)
    if args.output is not None and args.output.suffix != ".json":
        raise ValueError(f"output = {args.output} must end in .json; the picture goes beside it")
    if not 0 <= args.sparsity < 1 or (args.sparsity and args.what != "generate"):
        raise ValueError(
            f"sparsity = {args.sparsity} must lie in [0, 1), and is of `samplewise bench generate`"
        )
    if args.output is not None:
        check_target(args.output, args.force, is_ours=_is_benchmark)
        picture, is_again = args.output.with_suffix(".png"), args.output.exists()
        check_target(picture, args.force, is_ours=lambda path: is_again)
    parse_block(args.block)
    families = [PRESETS[name].model.family for name in args.preset if args.what != "generate"]
    trainings = len(families) + families.count("samplernn")  # and the hand-written loop
    generations = len(_batch(args)) * _contestants(args) * (args.what != "train")
    total = (args.runs + 1) * (trainings + generations)
    with progress_bar("benchmark, runs", total) as update:
        result = measure(args, _Counter(update, total))
    print(to_text(result, indent=2, ascii_only=True) if args.json else format_benchmark(result))
    if args.output is not None:
        write_json(args.output, result)
        if result["generation"]:
            write_bytes(args.output.with_suffix(".png"), _picture(result["generation"]))
    return 0


def _is_benchmark(path: Path) -> bool:
    try:
        return {"machine", "training", "generation"} <= read_object(path).keys()
    except ValueError:
        return False


def measure(args: BenchArgs, after_run: Any) -> dict[str, Any]:
    """Run the benchmark and return what ``--json`` prints."""
    import torch

    from samplewise.bench.ceilings import operations_per_s, product_speed
    from samplewise.bench.generation import generation_speed
    from samplewise.bench.published import WAVERNN
    from samplewise.bench.timing import machine
    from samplewise.bench.training import training_speed
    from samplewise.config.models import conditioning_of
    from samplewise.config.presets import PRESETS
    from samplewise.config.training import parse_block
    from samplewise.nn.device import use_device

    device = str(use_device(args.device))
    is_gpu = device != "cpu"
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    result: dict[str, Any] = {"machine": machine(device), "training": [], "generation": []}
    result["published"] = []
    if is_gpu and args.what != "generate":
        result["machine"]["bfloat16_operations_per_s"] = product_speed(device)
    for name in args.preset:
        config = PRESETS[name]
        if args.dim is not None:
            if not hasattr(config.model, "dim"):
                raise ValueError(f"dim = {args.dim}, but {name} has no such width; leave --dim out")
            config = replace(config, model=replace(config.model, dim=args.dim))
            name = f"{name} at {args.dim} units"
        if args.what != "generate":
            least = STEP_SAMPLES["cuda" if is_gpu else "cpu"]
            fits = is_gpu or config.lanes * config.seq_len <= least
            lanes = args.lanes or (config.lanes if fits else CPU_LANES)
            steps = max(1, least // (lanes * config.seq_len))
            config = replace(
                config,
                lanes=lanes,
                accumulate=1,
                precision=args.precision or config.precision,
                recurrence=args.recurrence,
            )
            speed = training_speed(config, steps, args.runs, device, after_run)
            if is_gpu:
                done = operations_per_s(config, speed["samples_per_s"])
                limit = result["machine"]["bfloat16_operations_per_s"]
                speed |= {"operations_per_s": done, "share_of_limit": done / limit}
            result["training"].append({"preset": name, **speed})
        if conditioning_of(config.model) is not None:
            config = replace(config, model=replace(config.model, conditioning=None))
            name = f"{name}, unconditioned"
        if args.sparsity:
            name = f"{name}, {args.sparsity:.0%} of {args.block} blocks zero"
        for clips in _batch(args) if args.what != "train" else ():
            rows = generation_speed(
                config.model,
                clips,
                GENERATION_STEPS,
                args.runs,
                weights=args.weights,
                threads=None if args.threads is None else [args.threads],
                device=device,
                sparsity=args.sparsity,
                block=parse_block(args.block),
                after_run=after_run,
            )
            result["generation"] += [{"preset": name, **row} for row in rows]
        if args.what != "train" and config.model.family == "wavernn":
            result["published"] = [asdict(figure) for figure in WAVERNN]
    return result


def format_benchmark(result: dict[str, Any]) -> str:
    """Return a result as text: the machine and one table for each part."""
    info = result["machine"]
    lines = [
        f"{info.get('gpu', info['cpu'])}, {info['threads']} threads, torch {info['torch']}, "
        f"{info['date']}, load {info['load_before']}"
    ]
    if result["training"]:
        width = max(13, *(len(row["preset"]) for row in result["training"])) + 1
        head = f"{'training':<{width}}{'batch':>6}{'seq_len':>9}{'samples/s':>12}"
        is_gpu = "share_of_limit" in result["training"][0]
        lines += ["", f"{head}{'hand-written':>15}{'ratio':>8}" + f"{'of limit':>10}" * is_gpu]
        lines += [
            f"{row['preset']:<{width}}{row['lanes']:>6}{row['seq_len']:>9}"
            f"{row['samples_per_s']:>12,.0f}"
            + (
                f"{row['hand_written_samples_per_s']:>15,.0f}{row['ratio']:>8.2f}"
                if "ratio" in row
                else f"{'-':>15}{'-':>8}"
            )
            + (f"{row['share_of_limit']:>10.1%}" if is_gpu else "")
            for row in result["training"]
        ]
        if is_gpu:
            limit = info["bfloat16_operations_per_s"]
            lines += [f"limit: products of bfloat16 matrices, {limit / 1e12:.3g} TFLOP/s"]
        parts = result["training"][0]["parts"]
        head = f"{'parts of a step':<{width + 2}}{'optimizer':<11}{'precision':<10}{'products':<9}"
        lines += ["", head + "".join(f"{name:>11}" for name in parts)]
        lines += [
            f"{row['preset']:<{width + 2}}{row['optimizer']:<11}{row['precision']:<10}"
            f"{row['matmul']:<9}" + "".join(f"{share:>11.1%}" for share in row["parts"].values())
            for row in result["training"]
        ]
    if result["generation"]:
        width = max(13, *(len(row["preset"]) for row in result["generation"])) + 1
        head = f"{'generation':<{width}}{'clips':>6}  {'back end':<18}{'threads':>8}"
        head += f"{'samples/s':>12}{'at 16 kHz':>11}{'at 24 kHz':>11}"
        lines += ["", f"{head}{'ratio':>8}{'of limit':>10}"]
        lines += [_generation_line(row, width) for row in result["generation"]]
        lines += ["at 16, 24 kHz: one clip to real time; limit: what reading and multiplying allow"]
    if result["published"]:
        lines += ["", "published by others, for one clip, on other hardware:"]
        lines += [
            f"{row['what']:<28}{row['where']:<28}{row['samples_per_s']:>10,.0f}  {row['source']}"
            for row in result["published"]
        ]
    return "\n".join(lines)


def _generation_line(row: dict[str, Any], width: int) -> str:
    share = f"{row['share_of_limit']:>9.0%}" if "share_of_limit" in row else ""
    return (
        f"{row['preset']:<{width}}{row['clips']:>6}  {row['backend'] + ' ' + row['weights']:<18}"
        f"{row['threads']:>8}{row['samples_per_s']:>12,.0f}{row['real_time']:>10.3g}x"
        f"{row['real_time_24khz']:>10.3g}x{row['ratio']:>8.1f} {share}"
    ).rstrip()


def _batch(args: BenchArgs) -> tuple[int, ...]:
    from samplewise.nn.device import choose_device

    return args.batch or (CPU_CLIPS if str(choose_device(args.device)) == "cpu" else GPU_CLIPS)


def _contestants(args: BenchArgs) -> int:
    """Return the number of back ends, formats and numbers of threads, of all presets together."""
    from samplewise.bench.generation import contestant_threads
    from samplewise.config.presets import PRESETS
    from samplewise.models.build import FAMILIES
    from samplewise.models.step_model import StepModel
    from samplewise.native import has_native
    from samplewise.nn.device import choose_device

    if str(choose_device(args.device)) != "cpu":
        families = [FAMILIES[PRESETS[name].model.family][1] for name in args.preset]
        return len(families) + sum(issubclass(family, StepModel) for family in families)
    threads = contestant_threads(None if args.threads is None else [args.threads])
    return len(args.preset) * (1 + len(args.weights) * len(threads) * has_native())


def _picture(rows: list[dict[str, Any]]) -> bytes:
    from samplewise.plots import bars_png

    bars = [
        (
            f"{row['preset']}, {row['clips']} clip{'s' * (row['clips'] > 1)}, {row['backend']} "
            f"{row['weights']}, {row['threads']} thread{'s' * (row['threads'] > 1)}",
            row["samples_per_s"],
            row.get("limit_samples_per_s"),
        )
        for row in rows
    ]
    return bars_png(bars, "samples per second, all clips (dashed: real time at 16 kHz)", 16000.0)


class _Counter:
    """A counter of finished runs for a progress bar."""

    def __init__(self, update: Any, total: int):
        self._update, self._total, self._done = update, total, 0

    def __call__(self) -> None:
        self._done += 1
        self._update(self._done, self._total)
