"""The Python interface: load, prepare and train.

``import samplewise`` exports what is public. Torch is imported when a model is loaded or trained.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from samplewise.data.remote import Folder, as_folder
from samplewise.progress import ProgressBar, ProgressCallback
from samplewise.trained_model import Model, Weights

if TYPE_CHECKING:
    from samplewise.data.corpus import Corpus

BackendName = Literal["auto", "native", "graphed", "persistent", "reference"]


def load(
    path: str | Path,
    *,
    step: int | None = None,
    device: str = "auto",
    backend: BackendName = "auto",
    weights: Weights | None = None,
    products: Literal["float32", "tf32"] = "float32",
    threads: int | None = None,
    max_memory: float = 2.0,
) -> Model:
    """Load a trained model.

    Args:
        path: A run folder, or a file that ``export`` wrote.
        step: Checkpoint of the run; None: the best weights.
        device: ``auto`` (the CPU for the native engine), ``cpu``, ``cuda`` or ``cuda:N``.
        backend: What computes the draws: ``native`` (C++, CPU), ``reference`` (PyTorch),
            ``graphed`` (PyTorch in CUDA graphs, for many clips on a GPU), ``persistent`` (one
            kernel, for a clip of a WaveRNN on a GPU), or ``auto``: native if it can run the
            model; with ``device="cuda"`` graphed if it can.
        weights: Format of the weights in the native engine; None: ``f16`` for a vocoder, ``int8``
            for other models.
        products: Products of the graphed back end; ``tf32``: operands of 10 bits of mantissa,
            which GPUs multiply faster.
        threads: CPU threads; None: all for the native engine, one or all for the others,
            whichever is faster.
        max_memory: GiB that the model and the clips drawn at once may take; what asks for more is
            refused.

    Raises:
        CheckpointError: If there is no model, or it is damaged or too large.
        EngineError: If ``backend`` cannot run the model.
    """
    _set_waiting_policy()
    from samplewise.config.validation import check_threads
    from samplewise.generate.backend import Backend
    from samplewise.native import has_native
    from samplewise.nn.device import use_device
    from samplewise.training.steps import load_at

    check_threads(threads)
    if device == "auto" and backend in ("auto", "native") and has_native():
        device = "cpu"  # where the native engine draws a clip faster than PyTorch on a GPU
    loaded = load_at(Path(path), step, use_device(device), max_memory=max_memory * 2**30)
    conditioner = loaded.model.conditioner
    is_vocoder = conditioner is not None and conditioner.config.mel is not None
    chosen = Backend(backend, weights or ("f16" if is_vocoder else "int8"), threads, products)
    return Model(loaded, chosen.resolve(loaded.model), max_memory * 2**30)


@dataclass(frozen=True, repr=False)
class Run:
    """A trained run."""

    folder: Path
    """The run folder."""
    step: int
    """Steps of training so far."""
    bits: float | None
    """Best validation bits per sample; None before the first validation."""
    reason: str
    """Why training stopped."""

    def load(self, **options: Any) -> Model:
        """Load the best weights; the options are those of :func:`load`."""
        return load(self.folder, **options)

    def __repr__(self) -> str:
        bits = "" if self.bits is None else f" · validation {self.bits:.3f} bits per sample"
        return f"Run({str(self.folder)!r} · step {self.step}{bits} · {self.reason})"


def prepare(
    folder: str | Folder,
    output: str | Folder,
    *,
    sample_rate: int = 16000,
    valid: float = 0.06,
    test: float = 0.06,
    seed: int = 0,
    split: Literal["auto", "recordings", "folders"] = "auto",
    remove_dc: bool = False,
    peak: float = 0.99,
    jobs: int | None = None,
    progress: ProgressCallback | None = None,
) -> "Corpus":
    """Turn a folder of recordings into a corpus, or bring a corpus up to date.

    Args:
        folder: Holds sound files, in nested folders; or one sound file. A path or a URL.
        output: Folder of the corpus, or its URL.
        sample_rate: Hertz.
        valid: Share of the seconds for validation.
        test: Share of the seconds for the test.
        seed: Seed of the splits.
        split: ``folders``: by top-level folders train, valid and test; ``recordings``: by recording
            and seconds; ``auto``: folders if all three exist.
        remove_dc: Subtract the mean of each recording.
        peak: Peak of the corpus after its gain, in (0, 1].
        jobs: Worker processes; None: one per core, at most 8.
        progress: Called with what is done and the total of each stage; None: quiet.

    Raises:
        CorpusError: If no recording is usable, or ``output`` holds something else.
    """
    from samplewise.data.corpus import Corpus
    from samplewise.data.index import Settings
    from samplewise.data.prepare.prepare import prepare as prepare_corpus

    settings = Settings(sample_rate, valid, test, seed, split, remove_dc, peak)
    place = as_folder(output)
    prepare_corpus(as_folder(folder), place, settings, jobs, _bar_of(progress))
    return Corpus.open(place)


def train(
    corpus: "Corpus | str | Folder",
    output: str | Path | None = None,
    *,
    preset: str = "small",
    from_model: str | Path | None = None,
    fresh: bool = False,
    log: Callable[[str], None] | None = None,
    **fields: Any,
) -> Run:
    """Train a model, or go on with the run that is in ``output``.

    An interrupt (Ctrl-C, or the stop button of a notebook) saves a checkpoint and returns.

    Args:
        corpus: From :func:`prepare`, or its folder or URL.
        output: Run folder; None: ``runs/CORPUS-PRESET``.
        preset: Name of the configuration that is trained.
        from_model: Model whose weights the run begins with: a run folder, a file, or the name of a
            model that comes with the package.
        fresh: Discard a run that is in the folder.
        log: Called with each line of progress, for example ``print``; None: quiet.
        **fields: Any field of the configuration by its name: ``minutes=20``, ``lanes=8``,
            ``dim=512``. A limit (steps, epochs, minutes) replaces all limits of the preset.

    Raises:
        ValueError: If there is no such preset or field, or a value is out of range.
        CheckpointError: If the folder holds another run.
        TrainingError: If training diverges.
    """
    _set_waiting_policy()
    from samplewise.config.codec import with_fields
    from samplewise.config.presets import PRESETS, preset_for
    from samplewise.data.corpus import Corpus
    from samplewise.training.interrupts import Interrupts
    from samplewise.training.session import train_run

    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}; presets: {', '.join(PRESETS)}")
    if from_model is not None:
        fields["from"] = str(from_model)
    config = with_fields(preset_for(preset, fields), **fields)
    opened = corpus if isinstance(corpus, Corpus) else Corpus.open(corpus)
    folder = Path("runs") / f"{opened.folder.name}-{preset}" if output is None else Path(output)
    if config.ranks > 1:
        raise ValueError(f"ranks = {config.ranks}: `samplewise train` starts several processes")
    # Signal handlers belong to the main thread; elsewhere nothing asks for a stop.
    is_main = threading.current_thread() is threading.main_thread()
    outcome = train_run(
        config,
        opened,
        folder,
        say=log or (lambda line: None),
        interrupts=None if is_main else Interrupts(),
        fresh=fresh,
    )
    progress = outcome.run.progress
    return Run(folder, progress.step, progress.best_bits, outcome.reason)


def _set_waiting_policy() -> None:
    """Let idle threads of torch sleep; it reads this when it is imported.

    Threads that spin, as is the default, make a program up to fifty times slower when a second one
    runs on the same cores.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _bar_of(progress: ProgressCallback | None) -> ProgressBar:
    """Return what opens a progress bar that calls ``progress``, or does nothing."""

    @contextmanager
    def bar(description: str, total: int | None) -> Iterator[Callable[..., None]]:
        def update(done: int, new_total: int | None = None) -> None:
            if progress is not None:
                progress(done, new_total or total or 0)

        yield update

    return bar
