"""Entry point of the command line: runs one command and prints an error as one line."""

import importlib
import os
import sys

from samplewise import __version__
from samplewise.cli.output import guarded

COMMANDS = {
    "demo": "train a small model on the bundled recordings and show what it does",
    "prepare": "turn a folder of recordings into a corpus",
    "train": "train a model on a corpus; stops and resumes anywhere",
    "search": "try many training configurations; show the best and what mattered",
    "experiment": "run a paper's table or figure on a corpus",
    "models": "the models that come with the package",
    "generate": "make new clips with a trained model, or stream for ever",
    "vocode": "turn mel spectrograms into sound, streamed",
    "evaluate": "bits per sample of a model on recordings it has not seen",
    "listen": "a listening test in a browser: which model do people prefer",
    "studio": "a page to play in: generate live, turn the temperature, keep takes",
    "report": "write report.html of a run",
    "export": "write a model as one self-describing file",
    "submit": "run a command as a SLURM job, on several nodes or as an array",
    "bench": "training and generation speed on this machine",
}


def usage() -> str:
    """Return the text of ``samplewise --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: samplewise COMMAND [OPTIONS]",
            "",
            "Raw-audio generation, one sample at a time.",
            "",
            *lines,
            "",
            "samplewise COMMAND --help tells more. SAMPLEWISE_DEBUG=1 shows tracebacks.",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run a command; return 0 on success, 1 on a failure (with a message), 2 on bad usage."""
    # Threads that wait for each other sleep: if they spin, as is the default, a second program on
    # the machine makes training up to fifty times slower. Read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = sys.argv[1:] if argv is None else argv
    with guarded() as output:
        code = _main(arguments)
        output.flush()
        if output.fault is not None:
            print(f"error: {output.fault}", file=sys.stderr)
            return code or 1
    return code


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"samplewise {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        return _unknown(arguments[0])
    return _run(arguments[0], arguments[1:])


def _run(command: str, arguments: list[str]) -> int:
    from samplewise.errors import SamplewiseError, is_out_of_memory

    try:
        os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        print(
            "error: the working directory was deleted; change to another one (cd) and try again",
            file=sys.stderr,
        )
        return 1
    try:
        return importlib.import_module(f"samplewise.cli.{command}").main(arguments)
    except SystemExit as end:  # the option parser has printed its message
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print("error: out of memory; ask for less at once, or a smaller model", file=sys.stderr)
        return 1
    except (SamplewiseError, ValueError, OSError) as error:
        if os.environ.get("SAMPLEWISE_DEBUG"):
            raise
        print(f"error: {_explain(error)}", file=sys.stderr)
        return 1


def _explain(error: Exception) -> str:
    if isinstance(error, FileExistsError | NotADirectoryError) and error.filename:
        return f"{error.filename}: a file is where a folder should be; name another folder"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error)


def _unknown(word: str) -> int:
    import difflib

    close = difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"commands: {', '.join(COMMANDS)}"
    print(f"error: there is no command '{word}'; {hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
