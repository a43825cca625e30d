"""Malformed and unexpected requests by schemathesis; none may fail with a status of 500 or more."""

import json
import re
import shutil
import subprocess

from fastapi import FastAPI
from tests.web.studies import TOKEN

from samplewise.web.guard import Access

ACCESS = f"{Access(TOKEN).cookie}={TOKEN}"


def schema_of(router):
    """OpenAPI description of a router."""
    app = FastAPI()
    app.include_router(router)
    return app.openapi()


def schemathesis(folder, schema, url, arguments, cookie=ACCESS):
    """Send cases; return whether no server error came and there were enough of them."""
    command = shutil.which("schemathesis") or arguments.schemathesis
    if command is None:
        print("schemathesis: not installed")
        return True
    path = folder / "openapi.json"
    path.write_text(json.dumps(schema))
    operations = sum(len(methods) for methods in schema["paths"].values())
    each = str(arguments.cases // max(1, operations - 1))
    words = ["run", str(path), "--url", url, "-H", f"Cookie: {cookie}"]
    options = ["--checks", "not_a_server_error", "--max-examples", each, "--seed", "1"]
    options += ["--request-timeout", "60"]  # a model is loaded meanwhile
    done = subprocess.run([command, *words, *options], capture_output=True, text=True, cwd=folder)
    summary = done.stdout[done.stdout.rfind("SUMMARY") :]
    print(summary.strip(), f"\nexit {done.returncode}")
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-2000:])
    counts = [int(n.replace(",", "")) for n in re.findall(r"([\d,]+) generated", summary)]
    return done.returncode == 0 and sum(counts) >= arguments.cases
