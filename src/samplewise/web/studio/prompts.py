"""Prompts that a page uploads: bounded in bytes, in length and in number."""

import os
import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any

from samplewise.web.studio.decoding import decode_apart

MAX_UPLOAD = 50 * 2**20
"""Bytes of an upload."""
MOST_PROMPTS = 32
MOST_UPLOADS = 4
"""Uploads that are received and decoded at once; others are refused with Retry-After."""


class Prompts:
    """The uploaded prompts, the oldest of which are forgotten."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="samplewise-prompts-")
        self._kept: OrderedDict[str, Path] = OrderedDict()
        self._lock = threading.Lock()
        self.places = threading.BoundedSemaphore(MOST_UPLOADS)
        """Places of those who upload."""

    def close(self) -> None:
        """Delete them all."""
        self._folder.cleanup()

    def find(self, id: str) -> Path | None:
        """Return the file of a prompt."""
        return self._kept.get(id)

    async def receive(self, parts: AsyncIterable[bytes]) -> Path:
        """Write an upload to a file; the guard bounds its size."""
        descriptor, name = tempfile.mkstemp(dir=self._folder.name)
        path = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for part in parts:
                    file.write(part)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def decode(self, upload: Path) -> dict[str, Any]:
        """Turn an upload into a prompt; return its id, length and what was noticed.

        Raises:
            AudioError: If it cannot be used.
        """
        id = secrets.token_hex(8)
        kept = Path(self._folder.name) / f"{id}.wav"
        try:
            answer = decode_apart(upload, kept)
        finally:
            upload.unlink(missing_ok=True)
        with self._lock:
            self._kept[id] = kept
            while len(self._kept) > MOST_PROMPTS:
                self._kept.popitem(last=False)[1].unlink(missing_ok=True)
        return {"id": id, **answer}
