"""How to reproduce a run: the commands, their seeds, the versions."""

import platform
import shlex
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from samplewise.config.codec import flag_names, to_json
from samplewise.report import markup, reading
from samplewise.report.markup import esc
from samplewise.report.run_data import RunData


def reproduction(run: RunData) -> str:
    """Return the section with the commands of the run and their seeds."""
    lines = "".join(f'<span class="command">{_line(command)}\n</span>' for command in commands(run))
    digest = reading.text(run.config, "corpus", "digest")
    same = (
        f"<p>The corpus has the digest <code>{esc(digest)}</code>, as <code>prepare</code> with "
        "<code>--json</code> prints; the same recordings and options give the same.</p>"
        if digest
        else ""
    )
    return (
        '<section id="reproduce"><h2>How to reproduce</h2>'
        f"<pre><code>{lines}</code></pre>{same}"
        "<p>Clip <i>i</i> of a seed is the same alone or among others. On a CPU a run that is "
        "stopped and resumed ends with the same weights; other versions or other hardware may "
        "round differently.</p></section>"
    )


def _line(command: list[str]) -> str:
    """Return a command whose lines break only between words, unless a word is very long."""
    words = [esc(shlex.quote(word)) for word in command]
    return " ".join(f"<span>{word}</span>" if len(word) < 30 else word for word in words)


def commands(run: RunData) -> list[list[str]]:
    """Return the commands: the recorded ones, or else commands made from the settings."""
    folder, program = str(run.folder), "samplewise"
    corpus = reading.text(run.config, "corpus", "folder") or "CORPUS"
    settings = reading.find(run.corpus, "settings") or {}
    prepare = [program, "prepare", "RECORDINGS", "-o", corpus, *_options(settings)]
    train = [program, "train", corpus, "-o", folder, *_training(run)]
    evaluate = [program, "evaluate", folder]
    evaluate += _options({"split": reading.text(run.evaluation, "split")})
    generate = [program, "generate", folder]
    if run.generation is not None:
        clips = reading.objects(run.generation, "clips")
        lengths = [reading.number(clip, "seconds") or 0.0 for clip in clips]
        options = {key: reading.text(run.generation, key) for key in ("temperature", "seed")}
        options |= {"prompt": reading.text(run.generation, "prompt")}
        generate += _options({"count": len(clips) or None, "seconds": max(lengths, default=None)})
        generate += _options(options)
    made = [prepare, _recorded(run.config) or train]
    made.append(_recorded(run.evaluation) or [*evaluate, "--json"])
    return [*made, _recorded(run.generation) or generate, [program, "report", folder]]


def environment(run: RunData) -> str:
    """Return the section with the versions of the training and of this page."""
    rows = [(esc(key), esc(value)) for key, value in markup.flatten(_versions(run))]
    device = reading.text(run.evaluation, "device")
    rows += [("device of the evaluation", esc(device))] if device else []
    rows.append(("this page", f"samplewise {esc(_own_version())}, Python {_python()}"))
    table = markup.table(("What", "Version"), rows, kind="words")
    return f'<section id="environment"><h2>Environment</h2>{table}</section>'


def _versions(run: RunData) -> dict[str, Any]:
    found = reading.find(run.config, "versions")
    return found if isinstance(found, dict) and found else {"training": "versions not recorded"}


def _own_version() -> str:
    try:
        return metadata.version("samplewise")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "(not installed)"


def _python() -> str:
    return esc(platform.python_version())


def _recorded(part: dict[str, Any] | None) -> list[str] | None:
    """Return the command that is recorded in a file, or None."""
    command = reading.find(part, "command")
    is_command = isinstance(command, list) and all(isinstance(word, str) for word in command)
    return command if is_command and command else None


def _training(run: RunData) -> list[str]:
    """Return the flags of training: the preset, and the settings that differ from it."""
    from samplewise.config.presets import PRESETS, preset_for

    preset = reading.text(run.config, "train", "preset")
    if preset not in PRESETS:
        return _options({"preset": preset, "seed": reading.find(run.config, "train", "seed")})
    names = flag_names(PRESETS[preset])
    recorded = _leaves(reading.find(run.config, "train"))
    used = {names.get(path, path): value for path, value in recorded}  # older ones are flat
    changed: dict[str, Any] = {}
    for _ in range(2):  # a limit that is named replaces those of the preset
        usual = {
            names[path]: value for path, value in _leaves(to_json(preset_for(preset, changed)))
        }
        changed = {
            key: "None" if used[key] is None else used[key]
            for key in usual
            if key in used and used[key] != usual[key]
        }
    return _options({"preset": preset, "seed": used.get("seed"), **changed})


def _leaves(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested settings under their dotted paths."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _options(settings: dict[str, Any]) -> list[str]:
    """Return settings as flags; those that are None are left out."""
    words = []
    for key, value in settings.items():
        flag = key.replace("_", "-")
        if isinstance(value, bool):
            before, dot, last = flag.rpartition(".")
            words.append(f"--{flag}" if value else f"--{before}{dot}no-{last}")
        elif isinstance(value, list):
            words += [f"--{flag}", *map(_word, value)]
        elif value is not None:
            words += [f"--{flag}", _word(value)]
    return words


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
