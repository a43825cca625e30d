"""The decoding process: it reads one JSON request per line and writes ticks and one answer each.

It is a separate process, so that a crash or hang of a decoder does not affect others. It never
imports torch. Its standard error is redirected, because decoders print to it.
"""

import contextlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

ADDRESS_SPACE_BYTES = 2**31
"""Limit of a worker's address space, so that a false header cannot use up the memory."""
TICK_INTERVAL_S = 0.2


def main() -> None:
    """Answer requests until standard input ends."""
    import samplewise.data.prepare.decode  # noqa: F401 - import errors are printed while stderr is open

    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    limit_memory()
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):  # the parent is gone
        _send(answers, {"ready": True})
        for line in sys.stdin:
            _send(answers, _answer(json.loads(line), answers))
    os._exit(0)


def _answer(request: dict[str, object], answers: TextIO) -> dict[str, object]:
    from samplewise.atomic_io import explain_failed_write
    from samplewise.data.prepare.decode import decode_to, temporary_part
    from samplewise.data.remote import on_this_machine
    from samplewise.errors import AudioError, CorpusError

    last_tick = time.monotonic()

    def tick(done: int) -> None:
        nonlocal last_tick
        if time.monotonic() - last_tick > TICK_INTERVAL_S:
            last_tick = time.monotonic()
            _send(answers, {"tick": done})

    output = Path(str(request["output"]))
    temporary = temporary_part(output)
    try:
        with on_this_machine(str(request["path"]), temporary, lambda: tick(0)) as path:
            decoded = decode_to(path, int(str(request["sample_rate"])), temporary, tick)
        temporary.replace(output)
        return {"decoded": asdict(decoded)}
    except BrokenPipeError:
        raise
    except AudioError as error:
        return {"skipped": str(error)}
    except CorpusError as error:
        return {"failed": str(error)}
    except MemoryError:
        return {"skipped": "it needs more memory than a sound file should"}
    except OSError as error:
        return {"failed": explain_failed_write(error, output).strerror}
    except Exception as error:  # one file must not end the job
        return {"skipped": f"the decoder failed: {type(error).__name__}: {error}"}
    finally:
        temporary.unlink(missing_ok=True)


def _send(answers: TextIO, message: dict[str, object]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def limit_memory() -> None:
    """Bound the address space of this process, where the system can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))


if __name__ == "__main__":
    main()
