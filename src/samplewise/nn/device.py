"""Names of devices."""

import torch


def use_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device called ``name``, and make it the current one if it is a GPU.

    Kernels that do not come from torch are launched on the current GPU.

    Args:
        name: As for :func:`choose_device`.
        local_rank: As for :func:`choose_device`.

    Raises:
        ValueError: If there is no such device here.
    """
    device = choose_device(name, local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device called ``name``.

    Args:
        name: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        local_rank: Which GPU ``auto`` and ``cuda`` mean.

    Raises:
        ValueError: If there is no such device here.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    kind, _, index = name.partition(":")
    if name not in ("auto", "cuda") and not (kind == "cuda" and index.isdecimal()):
        raise ValueError(f"device = {name!r} must be auto, cpu, cuda or cuda:N")
    number = int(index or local_rank)
    if number >= count:
        found = f"torch sees {count} GPUs" if count else "torch sees no GPU here"
        raise ValueError(f"device = {name!r}, but {found}; try --device cpu")
    return torch.device("cuda", number)
