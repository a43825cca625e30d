"""How many threads may be asked for."""

MAX_THREADS = 1024


def check_threads(threads: int | None) -> None:
    """Check a number of CPU threads; None leaves the choice to the program.

    Raises:
        ValueError: If it is below 1 or beyond any machine.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"threads = {threads} must be at least 1 and at most {MAX_THREADS}")
