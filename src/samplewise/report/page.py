"""report.html of a run: one self-contained file, without network, fonts or plug-ins."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from samplewise import atomic_io, plots
from samplewise.report import listening, reproduction, sections, sound
from samplewise.report.document import document
from samplewise.report.markup import esc
from samplewise.report.run_data import RunData, gather

NAME = "report.html"
PICTURES = "pictures"
COMPARED = 4
"""Number of clips in the picture that compares them with a recording."""


def write_report(run_folder: Path, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    Two of its pictures are also written as files: ``pictures/curves.png``, and
    ``pictures/clips.png`` with the spectrograms of a recording and of the best clips.

    Args:
        run_folder: The run; a sentence on the page names each missing part.
        progress: Called with the number of pictures drawn and their total.

    Raises:
        CheckpointError: If ``run_folder`` is not a run folder.
        OSError: If the page cannot be written.
    """
    path = run_folder / NAME
    run = gather(run_folder)
    atomic_io.write_text(path, render(run, progress))
    for name, png in _pictures(run):
        (run_folder / PICTURES).mkdir(exist_ok=True)
        atomic_io.write_bytes(run_folder / PICTURES / name, png)
    return path


def render(run: RunData, progress: Callable[[int, int], None] | None = None) -> str:
    """Return the page of a run as HTML."""
    total = len(run.clips) + len(run.previews) + (run.excerpt is not None) + 1
    done = 0

    def drawn() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    folder = esc(shlex.quote(str(run.folder)))
    body = [sections.headline(run, folder), listening.listening(run, folder, drawn)]
    body.append('<section id="learning"><h2>Training</h2>' + sections.curves(run))
    drawn()
    body.append(listening.previews(run, folder, drawn) + "</section>")
    body += [sections.figures(run, folder), sound.sound(run, folder), sections.configuration(run)]
    body += [reproduction.reproduction(run), reproduction.environment(run)]
    return document(run.name, "\n".join(body))


def _pictures(run: RunData) -> Iterator[tuple[str, bytes]]:
    """Yield name and PNG of the pictures that are also written as files."""
    if len(run.train.step) or len(run.valid.step):
        yield "curves.png", sections.curves_picture(run)
    if run.clips:
        rate = run.clips[0].sample_rate
        named = [(clip.name, clip) for clip in run.clips[:COMPARED]]
        if run.excerpt is not None:
            named.insert(0, (f"a real recording: {run.excerpt.name}", run.excerpt))
        waves = [(name, clip.wave) for name, clip in named if clip.sample_rate == rate]
        yield "clips.png", plots.spectrogram_png(waves, rate)
