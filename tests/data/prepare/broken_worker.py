"""A decoding process with faults: dies, hangs or fails to write where a file's name says so."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from samplewise.data.prepare.decode_worker import _answer, _send

_send(sys.stdout, {"ready": True})
for line in sys.stdin:
    request = json.loads(line)
    name = Path(request["path"]).name
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("hang"):
        time.sleep(60)
    if name.startswith("full"):
        _send(sys.stdout, {"failed": "[Errno 28] No space left on device"})
    else:
        _send(sys.stdout, _answer(request, sys.stdout))
