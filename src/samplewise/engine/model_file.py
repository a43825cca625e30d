"""Model files for programs in C: what the native engine packs, without Python.

The format is described in native/src/model_file.h.
"""

from pathlib import Path

import numpy as np

from samplewise.atomic_io import write_bytes
from samplewise.engine.weights import pack
from samplewise.errors import EngineError
from samplewise.models.base import AutoregressiveModel

FIRST_LINE = "samplewise engine"
"""Name of the format; its version follows."""
ALIGNMENT = 64
"""The arrays begin at a multiple of so many bytes."""
FAMILIES = {"frame_sizes": "samplernn", "dilations": "wavenet", "hold": "wavernn"}
"""Family in the engine by what only its description has."""


def is_engine_file(path: Path) -> bool:
    """Return whether a path is a model file for programs in C, of any version."""
    first = FIRST_LINE.encode()
    try:
        with path.open("rb") as file:
            return file.read(len(first)) == first
    except OSError:
        return False


def write_engine_file(path: Path, model: AutoregressiveModel, sample_rate: int) -> None:
    """Write a model file that programs load with native/include/samplewise/samplewise.h.

    Args:
        path: The file; one that is there is replaced.
        model: A model that the engine runs.
        sample_rate: Hz.

    Raises:
        EngineError: If the engine does not run models of this kind, or the model is conditioned.
    """
    if model.conditioner is not None:
        raise EngineError(
            "a conditioned model cannot be a file of the engine: its programs have no place for "
            "classes and spectrograms. Draw with samplewise generate or vocode"
        )
    description = pack(model)
    arrays = {name: np.atleast_2d(array) for name, array in description.pop("arrays").items()}
    arrays["amplitudes"] = model.quantizer.amplitudes[None]
    description.pop("amplitudes", None)
    if "real_values" in description:
        arrays["real_values"] = description.pop("real_values")[None]
    family = next(family for key, family in FAMILIES.items() if key in description)
    version = 2 if description.get("gaussian") or "sample.window" in arrays else 1
    lines = [f"{FIRST_LINE} {version}", f"sample_rate {sample_rate}", f"family {family}"]
    if "cell" in description:
        lines.append(f"cell {description.pop('cell')}")
    description |= description.pop("predictor", {})
    for name, value in description.items():
        values = value if isinstance(value, list) else [value]
        lines.append(" ".join(["number", name, *(repr(float(number)) for number in values)]))
    for name, array in arrays.items():
        lines.append(f"array {name} {array.shape[0]} {array.shape[1]}")
    header = ("\n".join([*lines, "data"]) + "\n").encode()
    padding = bytes(-len(header) % ALIGNMENT)
    numbers = [np.ascontiguousarray(array, "<f4").tobytes() for array in arrays.values()]
    write_bytes(path, b"".join([header, padding, *numbers]))
