"""Errors that a caller may want to catch; everything else is a ValueError or an OSError."""

NOT_FINITE = "the model gives probabilities that are not finite"
"""What is wrong with a model whose weights are useless, though each of them is a number."""


def reason(error: Exception) -> str:
    """Return why something read from outside is wrong; Python's own words say too little of it."""
    if isinstance(error, KeyError):
        return f"it lacks {error.args[0]!r}"
    if isinstance(error, TypeError | AttributeError):
        return f"a value in it is of the wrong type ({error})"
    return str(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python or torch says that memory is exhausted."""
    words = ("can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


class SamplewiseError(Exception):
    """Base of the project's own errors; its message says what was wrong and what to do."""


class AudioError(SamplewiseError):
    """A sound file cannot be read, or holds nothing that can be used."""


class CorpusError(SamplewiseError):
    """A corpus folder is missing, damaged or unfit for what was asked."""


class CheckpointError(SamplewiseError):
    """A run folder, checkpoint or exported model is missing, damaged or does not fit."""


class EngineError(SamplewiseError):
    """The native engine is missing, or cannot run this model."""


class TrainingError(SamplewiseError):
    """Training cannot go on; the last good checkpoint is kept."""
