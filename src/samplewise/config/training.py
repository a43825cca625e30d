"""Everything that decides a training run, without torch: the command line reads it for its help."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from samplewise.config.fields import Recurrence
from samplewise.config.models import Level, ModelConfig, SampleRNNConfig
from samplewise.config.validation import (
    MAX_DIM,
    MAX_TEMPERATURE,
    check_at_least,
    check_not_negative,
    check_threads,
)

RESUMABLE = frozenset(
    {
        *("steps", "epochs", "minutes", "patience", "ranks"),
        *("device", "precision", "matmul", "recurrence", "cuda_graph", "threads"),
        *("log_seconds", "valid_every", "save_every", "save_minutes", "keep"),
        *("preview_minutes", "preview_seconds", "preview_count"),
        "temperature",
        "output_init",  # only a run that begins looks at it
    }
)
"""Flags that may differ when a run is resumed; all others make it another run."""
MAX_SPARSITY = 0.99
"""Largest sparsity; beyond it a small model file would need a lot of memory."""


def parse_block(text: str) -> tuple[int, int]:
    """Return rows and columns of ``"16x4"``.

    Raises:
        ValueError: If it is anything else.
    """
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise ValueError(f"block = {text!r} must be rows x columns, such as 16x4, 16x1 or 4x4")
    rows, columns = map(int, sides)
    if not (0 < rows <= MAX_DIM and 0 < columns <= MAX_DIM):
        raise ValueError(f"block = {text!r} must have 1 to {MAX_DIM} rows and columns")
    return rows, columns


_flat = tyro.conf.arg(name="")
"""Marks a group of fields whose flags have no prefix: --steps, not --budget.steps."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer, clipping of gradients and schedule of the learning rate."""

    name: Annotated[Literal["adam", "muon"], tyro.conf.arg(name="optimizer")] = "adam"
    """adam (paper); muon: matrices take orthogonal steps (Jordan et al. 2024), the rest Adam's."""
    muon_scale: float = 1.0
    """Step size of the matrices under muon, as a multiple of the learning rate."""
    muon_decay: float = 0.04
    """Weight decay of the matrices under muon, per unit of their step size; 0: none."""
    muon_iterations: int = 5
    """Newton-Schulz iterations under muon; 3 take less time and learn about as well."""
    muon_every: int = 1
    """Steps between two steps of the matrices under muon. 4 costs a quarter; about twice the
    muon_scale goes with it."""
    learning_rate: float = 0.001
    """Adam's step size."""
    beta1: float = 0.9
    """Adam's decay of the mean of gradients."""
    beta2: float = 0.999
    """Adam's decay of the mean of squared gradients."""
    epsilon: float = 1e-8
    """Adam's epsilon."""
    clip: Literal["value", "norm", "none"] = "value"
    """Clip each gradient element to [-limit, limit] (paper), or the norm of all, or nothing."""
    clip_limit: float = 1.0
    """Limit of the clipping; the loss is in bits per sample."""
    schedule: Literal["constant", "cooldown", "cosine"] = "constant"
    """Learning rate over the budget: constant (paper), linear to zero at the end, or cosine."""
    cooldown: float = 0.4
    """Share of the budget over which the cooldown goes to zero."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from zero."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("muon_iterations", "muon_every"):
            check_at_least(name, getattr(self, name), 1)
        if not 0 < self.cooldown <= 1:
            raise ValueError(f"cooldown = {self.cooldown} must lie in (0, 1]")
        for name in ("learning_rate", "muon_scale", "clip_limit", "epsilon"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be positive")
        check_not_negative("muon_decay", self.muon_decay)

    def learning_rate_at(self, step: int, progress: float) -> float:
        """Return the learning rate.

        Args:
            step: Steps made so far.
            progress: Share of the budget used, in [0, 1]; the largest of steps, epochs and time.
        """
        rate = self.learning_rate
        if step < self.warmup_steps:
            rate *= (step + 1) / self.warmup_steps
        if self.schedule == "cooldown":
            rate *= min(1.0, (1 - progress) / self.cooldown)
        elif self.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * progress))
        return rate


@dataclass(frozen=True)
class PruningConfig:
    """Block-sparse training: the share of zeros, and the schedule that leads to it."""

    sparsity: float = 0.0
    """Share of the wide matrices that is zero in the end (Z of Kalchbrenner et al. 2018); 0: dense;
    at most 0.99."""
    block: str = "16x4"
    """Rows x columns that are zeroed together; 16x4 is what int8 weights skip, 16x1 the others."""
    start: Annotated[int | None, tyro.conf.arg(name="prune-start")] = None
    """Step of the first pruning (t0; 1000 in the paper); default: at 5% of the budget."""
    steps: Annotated[int | None, tyro.conf.arg(name="prune-steps")] = None
    """Steps from there to the whole sparsity (S; 200000 in the paper); default: 45% of the budget,
    which leaves half of it to train what is left."""
    every: Annotated[int | None, tyro.conf.arg(name="prune-every")] = None
    """Steps between two prunings; default: 500, as in the paper, or 50 if prune_steps is unset."""

    def __post_init__(self) -> None:
        """Check the ranges, and that the schedule is whole."""
        if not 0 <= self.sparsity <= MAX_SPARSITY:
            raise ValueError(f"sparsity = {self.sparsity} must lie in [0, {MAX_SPARSITY}]")
        parse_block(self.block)
        if (self.start is None) != (self.steps is None):
            raise ValueError(
                f"prune_start = {self.start} and prune_steps = {self.steps}: give both, or neither "
                "for a schedule that follows the budget"
            )
        for name, low in (("start", 0), ("steps", 1), ("every", 1)):
            value = getattr(self, name)
            if value is not None:
                check_at_least(f"prune_{name}", value, low)

    @property
    def block_size(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        return parse_block(self.block)


@dataclass(frozen=True)
class BudgetConfig:
    """When training ends: at the first of these limits."""

    steps: int | None = None
    """Stop after so many steps. A limit that is named replaces those of the preset."""
    epochs: float | None = None
    """Stop after so many passes over the training split."""
    minutes: float | None = None
    """Stop after so many minutes of training, validation and previews included."""
    patience: int = 0
    """Stop after so many validations without a better one; 0: never."""

    def __post_init__(self) -> None:
        """Check that limits are positive."""
        for name in ("steps", "epochs", "minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} = {value} must be positive; None means no limit")

    @property
    def is_limited(self) -> bool:
        """Whether training ends by itself, early stopping aside."""
        return (self.steps, self.epochs, self.minutes) != (None, None, None)


@dataclass(frozen=True)
class PreviewConfig:
    """Clips that are generated while training goes on."""

    minutes: Annotated[float, tyro.conf.arg(name="preview-minutes")] = 10.0
    """Minutes between two previews; 0: none."""
    seconds: Annotated[float, tyro.conf.arg(name="preview-seconds")] = 2.0
    """Length of a preview, in seconds."""
    count: Annotated[int, tyro.conf.arg(name="preview-count")] = 2
    """Clips in a preview."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_not_negative("preview_minutes", self.minutes)
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"preview_seconds = {self.seconds} must be positive")
        check_at_least("preview_count", self.count, 1)


@dataclass(frozen=True)
class TrainConfig:
    """How to train; presets fill it in, flags change it."""

    preset: str = "music"
    """Preset that gives the other options their defaults. music and speech are for a GPU; without
    one take small-16bit or voice-16bit."""
    model: ModelConfig = field(default_factory=SampleRNNConfig)
    """Sizes of the model."""
    mel: bool = False
    """Condition the model on mel spectrograms: a vocoder (samplewise vocode)."""
    labels: str | None = None
    """Condition the model on the speaker, or on another class: a CSV with the columns
    file and speaker, or `folders` if each class has a folder of its own."""
    output_init: Literal["paper", "unigram"] = "paper"
    """Initial output layer. paper: like the other layers; unigram: a run begins by predicting how
    often each code occurs in the training split, or with the distribution of its linear
    predictor, with a tenth of the initial output weights."""
    from_model: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Begin with the weights of a model: a run folder, a file, or a name that `samplewise models`
    lists. Sizes and quantizer are the model's; the learning rate is multiplied by from_rate."""
    from_rate: float = 0.25
    """Factor of the learning rate of a run that begins with the weights of a model."""
    level: Level = "keep"
    """keep: true level, one gain for the corpus; paper: every clip stretched to full scale."""
    clip_seconds: float = 8.0
    """Seconds that recurrent state is carried through before a new start; 0: whole recordings."""
    random_offsets: bool = True
    """Cut recordings at other places in every epoch (off when level is paper)."""
    lanes: int = 128
    """Sequences trained side by side over all ranks: the mini-batch size."""
    seq_len: int = 512
    """Samples of a subsequence of truncated backpropagation; a multiple of the top frame."""
    sample_stride: int = 1
    """Distance in samples of the costs that a training step of a SampleRNN computes. With 2 the
    sample level, which has no memory, takes half of the time."""
    accumulate: int = 1
    """Groups that the lanes are worked through in, to save memory; the result is the same."""
    optimizer: Annotated[OptimizerConfig, _flat] = field(default_factory=OptimizerConfig)
    ema: float = 0.0
    """Decay per step of the averaged weights that are validated and used; 0: none."""
    pruning: Annotated[PruningConfig, _flat] = field(default_factory=PruningConfig)
    budget: Annotated[BudgetConfig, _flat] = field(default_factory=BudgetConfig)
    log_seconds: float = 10.0
    """Seconds between two lines of progress."""
    valid_every: int = 500
    """Steps between two validations."""
    valid_seconds: float = 60.0
    """Seconds of the validation split that are scored each time, evenly spread; 0: all."""
    save_every: int | None = None
    """Steps between two checkpoints; default: by time alone."""
    save_minutes: float = 2.0
    """Minutes between two checkpoints."""
    keep: int = 2
    """Number of newest checkpoints that are kept; `generate RUN --step N` generates with one."""
    preview: Annotated[PreviewConfig, _flat] = field(default_factory=PreviewConfig)
    temperature: float = 1.0
    """Temperature at which `samplewise generate` draws from this model by default, in (0, 10]; it
    travels with the model and changes nothing in training."""
    seed: int = 0
    """Seed of the initial weights, the order of clips and the offsets."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 products on GPUs that have them, float32 elsewhere and for mixtures."""
    matmul: Literal["auto", "onednn", "blas"] = "auto"
    """Library of float32 products on a CPU: oneDNN, or torch's BLAS (MKL on x86); auto: the one
    that is measured to be faster when the run begins."""
    recurrence: Recurrence = "auto"
    cuda_graph: bool = True
    """On a GPU, launch a step as one CUDA graph; otherwise operator by operator."""
    threads: int | None = None
    """CPU threads; default: those of the preset (one, of those for a CPU), else as many as torch
    chooses."""
    ranks: int = 1
    """Processes started on this machine; under torchrun or SLURM theirs are used instead."""

    def __post_init__(self) -> None:
        """Check what can be checked without a corpus."""
        for name in ("lanes", "seq_len", "sample_stride", "accumulate", "valid_every", "ranks"):
            check_at_least(name, getattr(self, name), 1)
        check_threads(self.threads)
        if self.keep < 2:
            raise ValueError(f"keep = {self.keep} must be at least 2: one may be damaged")
        if self.seq_len % self.model.top_frame:
            below = self.seq_len // self.model.top_frame * self.model.top_frame
            raise ValueError(
                f"seq_len = {self.seq_len} must be a multiple of the top frame "
                f"({self.model.top_frame}); try {below or self.model.top_frame}"
            )
        if not 0 < self.from_rate <= 1:
            raise ValueError(f"from_rate = {self.from_rate} must lie in (0, 1]")
        self._check_stride()
        if self.lanes % (self.accumulate * self.ranks):
            raise ValueError(
                f"lanes = {self.lanes} must be a multiple of accumulate x ranks = "
                f"{self.accumulate} x {self.ranks}"
            )
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema = {self.ema} must lie in [0, 1)")
        if not 0 < self.temperature <= MAX_TEMPERATURE:
            raise ValueError(
                f"temperature = {self.temperature} must be above 0 and at most {MAX_TEMPERATURE:g}"
            )
        for name in ("clip_seconds", "valid_seconds", "save_minutes"):
            check_not_negative(name, getattr(self, name))
        sparsity = self.pruning.sparsity
        if sparsity and self.pruning.start is None and not self.budget.is_limited:
            raise ValueError(
                f"sparsity = {sparsity} needs a schedule: give --steps, --epochs or --minutes, or "
                "--prune-start and --prune-steps"
            )

    def _check_stride(self) -> None:
        if self.sample_stride == 1:
            return
        if not isinstance(self.model, SampleRNNConfig):
            raise ValueError(  # noqa: TRY004
                f"sample_stride = {self.sample_stride} must be 1: only a SampleRNN has a sample "
                f"level without memory, not {self.model.family}"
            )
        group = self.model.ratio(2) * self.sample_stride
        if self.seq_len % group:
            raise ValueError(
                f"seq_len = {self.seq_len} must be a multiple of a frame of tier 2 times "
                f"sample_stride = {group}"
            )
