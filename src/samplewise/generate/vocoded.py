"""A folder of vocoded sounds: vocoded.json names the files in it that may be replaced."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from samplewise.atomic_io import claim, lock, write_json
from samplewise.kinds import VOCODED, check_target, refuse_other_kinds
from samplewise.strict_json import read_object

INDEX = "vocoded.json"


@contextmanager
def vocoded_folder(path: Path, force: bool) -> Iterator[Callable[[Sequence[str]], None]]:
    """Claim a folder for vocoded sounds; give ``note(names)``, to be called before files come.

    ``note`` refuses to overwrite what is not in vocoded.json, unless ``force`` is given, and adds
    the names to it.

    Args:
        path: The folder; made if it does not exist.
        force: Take a folder of other things too, and overwrite files in it.

    Raises:
        ValueError: If the folder is a run, a corpus or the like, or a file in it is not ours.
        SamplewiseError: If it holds other things, or another process is writing it.
    """
    refuse_other_kinds(path, VOCODED)

    def note(names: Sequence[str]) -> None:
        known = _known(path / INDEX)
        for name in names:
            check_target(path / name, force, is_ours=lambda target: target.name in known)
        write_json(path / INDEX, {"format": 1, "files": sorted({*known, *names})})

    with lock(path, "vocode") if force else claim(path, "vocode", INDEX, VOCODED.name):
        yield note


def _known(index: Path) -> list[str]:
    try:
        files = read_object(index).get("files")
    except (OSError, ValueError):
        return []
    return [name for name in files if isinstance(name, str)] if isinstance(files, list) else []
