"""What a path is: a model, a run, a corpus, recordings; read from names alone.

For messages to people who name one thing where another is wanted, and against overwriting.
"""

import itertools
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

_READ = ".wav .wave .rf64 .bwf .w64 .flac .ogg .oga .opus .mp3 .mp2 .mpga .aif .aiff .aifc"
_ALSO_READ = ".au .snd .caf"
_REFUSED_WITH_A_REASON = ".m4a .mp4 .aac .webm .mka .wma"
SOUND_ENDINGS = frozenset(f"{_READ} {_ALSO_READ} {_REFUSED_WITH_A_REASON}".split())
MODEL_ENDING = ".safetensors"
LOOKED_AT = 1000
"""Names in a folder and below that are looked at for sound."""
PREPARE = "make a corpus with `samplewise prepare {path} -o CORPUS`"


class Kind(NamedTuple):
    """A kind of file or folder that commands read or write."""

    name: str
    """As in: mine is NAME."""
    holds: tuple[str, ...]
    """Names in the folder, any of which makes it this kind."""
    own: tuple[str, ...]
    """Names in the folder, or patterns of names, that nothing else may overwrite."""


CORPUS = Kind(
    "a corpus",
    ("corpus.json", ".prepare"),
    ("corpus.json", "samples.npy", "samples-*.npy", ".prepare", ".lock"),
)
RUN = Kind(
    "a run folder",
    ("metrics.jsonl", "weights.safetensors"),
    ("config.json", "metrics.jsonl", "weights.safetensors", "state", "evaluation.json", ".lock"),
)
SEARCH = Kind(
    "the folder of a search",
    ("study.jsonl", "search.json"),
    ("study.jsonl", "search.json", "trials", "workers"),
)
CLIPS = Kind("a folder of generated clips", ("generation.json",), ("generation.json", ".lock"))
VOCODED = Kind("a folder of vocoded sounds", ("vocoded.json",), ("vocoded.json", ".lock"))
LISTENING = Kind(
    "a listening test",
    ("study.json",),
    ("study.json", "clips", "votes.db", "votes.db-wal", ".lock"),
)
DEMO = Kind("the folder of a demo", (), ())
RECORDINGS = Kind("a folder of recordings", (), ())
SOUND = Kind("a sound file", (), ())
MODEL = Kind("a model file", (), ())
FOLDERS = (CORPUS, RUN, SEARCH, CLIPS, VOCODED, LISTENING)


def kind_of(path: Path) -> Kind | None:
    """Return what ``path`` is, as far as it is one of ours or sound."""
    if path.is_file():
        ending = path.suffix.lower()
        return SOUND if ending in SOUND_ENDINGS else MODEL if ending == MODEL_ENDING else None
    if (ours := kind_of_ours(path)) is not None:
        return ours
    if (path / "run" / "config.json").exists() and (path / "corpus" / "corpus.json").exists():
        return DEMO
    below = itertools.islice(path.rglob("*"), LOOKED_AT)
    return RECORDINGS if any(p.suffix.lower() in SOUND_ENDINGS for p in below) else None


def kind_of_ours(folder: Path) -> Kind | None:
    """Return which of :data:`FOLDERS` a folder is."""
    for kind in FOLDERS:
        if any((folder / name).exists() for name in kind.holds):
            return kind
    return None


def mistaken(path: Path, wanted: Kind) -> str | None:
    """Return what ``path`` is in place of ``wanted``, and what to do; None if nothing is known."""
    found = kind_of(path)
    if found is None or found == wanted:
        return None
    hint = _HINTS[RUN if wanted == MODEL else wanted].get(found)
    name = f"{RUN.name} or {MODEL.name}" if wanted == MODEL else wanted.name
    return None if hint is None else f"{path} is {found.name}, not {name}: {hint(path)}"


def refuse_other_kinds(folder: Path, wanted: Kind | None) -> None:
    """Check that an output folder is no corpus, run, search or folder of clips but ``wanted``.

    Raises:
        ValueError: If it is one.
    """
    found = kind_of(folder) if folder.is_dir() else None
    if found is not None and found in FOLDERS and found != wanted:
        raise ValueError(f"{folder} is {found.name}; choose another folder with -o")


def check_target(
    path: Path,
    force: bool,
    inputs: Iterable[Path] = (),
    is_ours: Callable[[Path], bool] = lambda path: False,
) -> None:
    """Check that a file may be written to ``path``.

    Args:
        path: What will be written.
        force: Overwrite a file that is not ours.
        inputs: What the command reads; never overwritten.
        is_ours: Whether an existing file is of the kind that the command writes.

    Raises:
        ValueError: If it is a folder, an input, part of a run or a corpus, or not ours.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file")
    if not path.is_file():
        return  # new, or a device
    for other in inputs:
        if other.exists() and other.samefile(path):
            raise ValueError(f"{path} is an input; name another file or folder with -o")
    inside = path.resolve()
    for folder in inside.parents:
        name, found = inside.relative_to(folder).parts[0], kind_of_ours(folder)
        if found is not None and any(fnmatchcase(name, own) for own in found.own):
            raise ValueError(
                f"{path} is part of {folder}, {found.name}, and is never overwritten; name "
                "another file"
            )
    if not (force or is_ours(path)):
        raise ValueError(
            f"{path} exists, and is not known to be made by this command; name another file, or "
            "overwrite it with --force"
        )


def _say(text: str) -> Callable[[Path], str]:
    return lambda path: text.format(path=path, parent=path.parent)


def _a_trial(path: Path) -> str:
    runs = sorted((path / "trials").glob("trial-*"))
    return f"name one of its trials, such as {runs[0]}" if runs else "it has no trials yet"


_HINTS: dict[Kind, dict[Kind, Callable[[Path], str]]] = {
    RUN: {
        CORPUS: _say("train a model on it with `samplewise train {path} -o RUN`"),
        SEARCH: _a_trial,
        CLIPS: _say("name the run that they were generated with, such as {parent}"),
        DEMO: _say("name {path}/run"),
        RECORDINGS: _say(f"{PREPARE}, then train a model on it"),
        SOUND: _say("name a run folder or an exported model"),
        MODEL: _say("name the run folder that it was exported from"),
    },
    CORPUS: {
        RUN: _say("name the corpus that it was trained on (`corpus` in {path}/config.json)"),
        SEARCH: _say("name the corpus that it searches on"),
        CLIPS: _say("a corpus of generated clips is made with `samplewise prepare`, if wanted"),
        DEMO: _say("name {path}/corpus"),
        RECORDINGS: _say(PREPARE),
        SOUND: _say(PREPARE),
        MODEL: _say("name the corpus that it was trained on"),
    },
    RECORDINGS: {
        CORPUS: _say("name the folder of the recordings that it was made of"),
        RUN: _say("its clips are the model's own; name the folder that holds the recordings"),
        SEARCH: _say("name the folder that holds the recordings"),
        DEMO: _say("name the folder that holds the recordings"),
        MODEL: _say("name the folder that holds the recordings"),
    },
}
