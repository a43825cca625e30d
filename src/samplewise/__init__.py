"""Raw-audio generation, one sample at a time.

What a user calls from Python; see docs/python.md. Nothing heavy is imported before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samplewise.api import Run, load, prepare, train
    from samplewise.data.corpus import Corpus
    from samplewise.errors import (
        AudioError,
        CheckpointError,
        CorpusError,
        EngineError,
        SamplewiseError,
        TrainingError,
    )
    from samplewise.evaluate.evaluation import Score
    from samplewise.generate.clips import Clip
    from samplewise.generate.temperature import Envelope
    from samplewise.trained_model import Model

__version__ = "0.1.0"
__all__ = [
    "AudioError",
    "CheckpointError",
    "Clip",
    "Corpus",
    "CorpusError",
    "EngineError",
    "Envelope",
    "Model",
    "Run",
    "SamplewiseError",
    "Score",
    "TrainingError",
    "__version__",
    "load",
    "prepare",
    "train",
]
_MODULES = {
    "api": ("load", "prepare", "train", "Run"),
    "data.corpus": ("Corpus",),
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
    "evaluate.evaluation": ("Score",),
    "generate.clips": ("Clip",),
    "generate.temperature": ("Envelope",),
    "trained_model": ("Model",),
}


def __getattr__(name: str) -> Any:
    """Import an exported name when it is first used (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            globals()[name] = getattr(import_module(f"samplewise.{module}"), name)
            return globals()[name]
    raise AttributeError(f"module 'samplewise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
