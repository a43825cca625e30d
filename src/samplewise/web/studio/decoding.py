"""Decoding of an upload in a process of its own: a crash or a hang of a decoder ends nothing else.

The process writes one JSON object.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from samplewise.audio.files import mono, open_sound
from samplewise.audio.write import write_wav
from samplewise.data.prepare.decode_pool import worker_environment
from samplewise.data.prepare.decode_worker import limit_memory
from samplewise.errors import AudioError
from samplewise.strict_json import parse_object, to_text

WORKER = ("-m", "samplewise.web.studio.decoding")
"""Arguments to Python that start the process."""
MAX_SECONDS = 60.0
"""Seconds of a prompt; the rest of a longer file is left out."""
DECODING_S = 20.0
"""Seconds that a decoder may take."""


def decode_apart(upload: Path, prompt: Path, timeout_s: float = DECODING_S) -> dict[str, Any]:
    """Write the beginning of a sound file as a mono WAV file, in another process.

    Args:
        upload: The sound file.
        prompt: The WAV file to write.
        timeout_s: Seconds after which the process is killed.

    Returns:
        ``seconds``: its length; ``notes``: what was noticed.

    Raises:
        AudioError: If it cannot be used.
    """
    command = [sys.executable, *WORKER, str(upload), str(prompt)]
    try:
        done = subprocess.run(  # noqa: S603 - our own Python
            command, capture_output=True, timeout=timeout_s, env=worker_environment(), check=False
        )
    except subprocess.TimeoutExpired:
        raise AudioError(f"decoding it took more than {timeout_s:g} s") from None
    if done.returncode:
        raise AudioError("the decoder failed")
    answer = parse_object(done.stdout.decode())
    if "error" in answer:
        raise AudioError(str(answer["error"]))
    return answer


def decode(upload: Path, prompt: Path) -> dict[str, Any]:
    """Do the work of :func:`decode_apart` in this process."""
    parts, done, notes = [], 0, []
    with open_sound(upload) as sound:
        rate = sound.info.sample_rate
        limit = round(MAX_SECONDS * rate)
        for block in sound.blocks():
            parts.append(mono(block)[: limit - done])
            done += len(parts[-1])
            if done >= limit:
                notes.append(f"only the first {MAX_SECONDS:g} s are used")
                break
        notes += sound.notes
    if not done:
        raise AudioError("it holds no samples")
    wave = np.concatenate(parts)
    peak = float(np.abs(wave).max())
    if peak > 1:
        notes.append(f"{20 * np.log10(peak):.1f} dB softer, because it exceeds full scale")
        wave = wave / np.float32(peak * 1.0001)
    write_wav(prompt, wave.astype(np.float32), rate)
    return {"seconds": done / rate, "notes": notes}


def main() -> None:
    """Decode the upload that the command line names."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)  # decoders print
    os.dup2(nothing, 2)
    limit_memory()
    try:
        answer = decode(Path(sys.argv[1]), Path(sys.argv[2]))
    except AudioError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "it needs more memory than a sound file should"}
    answers.write(to_text(answer, ascii_only=True))
    answers.close()


if __name__ == "__main__":
    main()
