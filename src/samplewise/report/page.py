"""report.html of a run: one file with everything inside, no network, no fonts, no plug-ins."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from samplewise import atomic_io, plots
from samplewise.report import listening, reproduction, sections
from samplewise.report.document import document
from samplewise.report.markup import esc
from samplewise.report.run_data import RunData, gather

NAME = "report.html"
PICTURES = "pictures"
COMPARED = 4
"""Clips in the picture that compares them with a recording."""


def write_report(run_folder: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    Two of its pictures are also written as files: ``pictures/curves.png``, and
    ``pictures/clips.png`` with a recording and the best clips one above the other.

    Args:
        run_folder: The run; whatever it does not hold yet is a sentence on the page.
        progress: Called with what is drawn and what there is to draw.

    Raises:
        CheckpointError: If it is no run folder.
        OSError: If the page cannot be written.
    """
    path = run_folder / NAME
    facts = gather(run_folder)
    atomic_io.write_text(path, render(facts, progress))
    for name, png in _pictures(facts):
        (run_folder / PICTURES).mkdir(exist_ok=True)
        atomic_io.write_bytes(run_folder / PICTURES / name, png)
    return path


def render(facts: RunData, progress: Callable[[int, int], None] | None = None) -> str:
    """Return the page about ``facts``."""
    total = len(facts.clips) + len(facts.previews) + (facts.excerpt is not None) + 1
    done = 0

    def drawn() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    folder = esc(shlex.quote(str(facts.folder)))
    body = [sections.headline(facts, folder), listening.listening(facts, folder, drawn)]
    body.append('<section id="learning"><h2>How it learned</h2>' + sections.curves(facts))
    drawn()
    body.append(listening.previews(facts, folder, drawn) + "</section>")
    body += [sections.figures(facts, folder), sections.configuration(facts)]
    body += [reproduction.reproduction(facts), reproduction.environment(facts)]
    return document(facts.name, "\n".join(body))


def _pictures(facts: RunData) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures that are also wanted outside the page, by name."""
    if len(facts.train.step) or len(facts.valid.step):
        yield "curves.png", sections.curves_picture(facts)
    if facts.clips:
        rate = facts.clips[0].sample_rate
        named = [(clip.name, clip) for clip in facts.clips[:COMPARED]]
        if facts.excerpt is not None:
            named.insert(0, (f"a real recording: {facts.excerpt.name}", facts.excerpt))
        waves = [(name, clip.wave) for name, clip in named if clip.sample_rate == rate]
        yield "clips.png", plots.spectrogram_png(waves, rate)
