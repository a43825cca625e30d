"""Upload of a corpus: its shards first, corpus.json last."""

import contextlib
import hashlib
from pathlib import Path

from samplewise.data.block_cache import cache_folder
from samplewise.data.index import INDEX, SAMPLES, SHARD_NAME, read_index
from samplewise.data.prepare.assemble import Bar
from samplewise.data.remote import RemoteFolder
from samplewise.errors import CorpusError

STAGING = "prepare"
"""Folder in the cache in which remote corpora are assembled."""


def staging_folder(output: RemoteFolder) -> Path:
    """Return the folder of this machine in which a remote corpus is assembled."""
    return cache_folder() / STAGING / hashlib.sha256(output.url.encode()).hexdigest()[:32]


def check_remote(output: RemoteFolder) -> None:
    """Refuse a remote folder with other content.

    Raises:
        CorpusError: If it holds something else, or cannot be listed.
    """
    names = sorted(output.sizes())
    if names and INDEX not in names and not all(map(SHARD_NAME.fullmatch, names)):
        raise CorpusError(
            f"{output} is not empty and holds no corpus ({names[0]} is in it); choose another "
            "folder with -o"
        )


def publish(place: Path, output: RemoteFolder, bar: Bar) -> None:
    """Upload the corpus in ``place``, if there is one, and remove it there.

    Shards are named by their content, so a corpus that is replaced can be read until its
    corpus.json is replaced. What was uploaded before an interruption is not uploaded again.

    Raises:
        CorpusError: If something cannot be written.
    """
    if not (place / INDEX).exists():
        return
    index, there = read_index(place), output.sizes()
    paths = [place / shard.file for shard in index.shards]
    todo = [path for path in paths if there.get(path.name) != path.stat().st_size]
    total = sum(path.stat().st_size for path in todo)
    with bar("uploading (MB)", total // 10**6) as update:
        done = 0
        for path in todo:
            (output / path.name).upload(path)
            done += path.stat().st_size
            update(done // 10**6)
    (output / INDEX).upload(place / INDEX)
    named = {path.name for path in paths}
    for name in there:
        if (SHARD_NAME.fullmatch(name) or name == SAMPLES) and name not in named:
            with contextlib.suppress(FileNotFoundError):
                (output / name).remove()
    for path in (place / INDEX, *paths):
        path.unlink()
