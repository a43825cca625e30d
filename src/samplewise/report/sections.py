"""Sections of a report without sound: headline, curves, figures, configuration."""

import shlex
from typing import Any

from samplewise import plots
from samplewise.report import formatting, markup, reading
from samplewise.report.markup import esc
from samplewise.report.run_data import RunData

MAX_ROWS = 200


def headline(run: RunData, folder: str) -> str:
    """Return the name of the run, its result in one sentence, and its main figures."""
    entries = [("Test, bits per sample", formatting.bits(run.test_bits))]
    if run.baselines:
        best = min(run.baselines, key=run.baselines.__getitem__)
        score = formatting.bits(run.baselines[best])
        entries.append((f"Best baseline, {esc(formatting.baseline(best))}", score))
    entries.append(("Training", formatting.minutes(run.minutes)))
    if (parameters := reading.number(run.config, "parameters")) is not None:
        entries.append(("Parameters", formatting.big(parameters)))
    if len(run.sparsity.value):
        entries.append(("Blocks at zero", f"{float(run.sparsity.value[-1]):.1%}"))
    if (rate := reading.number(run.config, "audio", "sample_rate")) is not None:
        entries.append(("Audio", formatting.kilohertz(rate)))
    cells = "".join(f"<div><dt>{term}</dt><dd>{value}</dd></div>" for term, value in entries)
    notes = "".join(f"<li>{esc(note)}</li>" for note in run.notes)
    return (
        f'<header><p class="kind">samplewise report</p><h1>{markup.name(run.name)}</h1>'
        f'<p class="lead">{_lead(run)} {_result(run, folder)}</p>'
        f'<dl class="key">{cells}</dl>'
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + "</header>"
    )


def _lead(run: RunData) -> str:
    preset = reading.text(run.config, "train", "preset") or reading.text(run.config, "preset")
    parameters = reading.number(run.config, "parameters")
    model = (
        "A model" if parameters is None else f"A model of {formatting.big(parameters)} parameters"
    )
    model += f" (preset <i>{markup.name(preset)}</i>)" if preset else ""
    corpus = reading.text(run.config, "corpus", "folder")
    on = f" on <i>{markup.name(_last_part(corpus))}</i>" if corpus else ""
    if not run.last_step:
        return f"{model}{on}, not trained yet."
    steps = formatting.plural(run.last_step, "step")
    return f"{model}, trained{on} for {formatting.minutes(run.minutes)} ({steps})."


def _result(run: RunData, folder: str) -> str:
    bits, baselines = run.test_bits, run.baselines
    if bits is None:
        known = ""
        if len(run.valid.value):
            known = (
                f"It needs {formatting.bits(float(run.valid.value[-1]))} bits per sample on the "
            )
            known += "validation recordings. "
        return (
            f"{known}It has no test score yet: <code>samplewise evaluate {folder}</code> "
            "gives it one."
        )
    split = esc(reading.text(run.evaluation, "split") or "test")
    sentence = f"It needs <b>{formatting.bits(bits)} bits per sample</b> on the {split} recordings"
    if not baselines:
        return sentence + "."
    best = min(baselines, key=baselines.__getitem__)
    gap = baselines[best] - bits
    verdict = "fewer than" if gap > 0 else "more than"
    same = f", as many as {esc(formatting.baseline(best))}, the best of the trivial baselines."
    if round(abs(gap), 3) == 0:
        return sentence + same
    return (
        f"{sentence}, {abs(gap):.3f} {verdict} the best of the trivial baselines, "
        f"{esc(formatting.baseline(best))} ({formatting.bits(baselines[best])})."
    )


def curves(run: RunData) -> str:
    """Return the training curves, or a sentence that names the command that makes them."""
    if not len(run.train.step) and not len(run.valid.step):
        corpus = reading.text(run.config, "corpus", "folder") or "CORPUS"
        command = esc(shlex.join(["samplewise", "train", corpus, "-o", str(run.folder)]))
        return f"<p>There are no training figures yet: <code>{command}</code> makes them.</p>"
    png = curves_picture(run)
    sentences = ["Bits per sample."]
    if plots.is_smoothed(run.train.value):
        sentences = ["Bits per sample; the thin line is what was logged, the grey one its mean."]
    if run.baselines:
        sentences.append("Dashed: the trivial baselines.")
    if best := run.best_valid:
        step, bits = best
        sentences.append(
            f"Best validation: {formatting.bits(bits)} at step {formatting.count(step)}."
        )
    else:
        sentences.append("There is no validation score: the first one comes later in training.")
    if len(run.sparsity.value):
        share, step = float(run.sparsity.value[-1]), run.sparsity.step[-1]
        sentences.insert(
            len(sentences) - 1,
            f"Blocks were pruned until step {formatting.count(step)}; since then {share:.1%} of "
            "them are zero, and validations before it do not count.",
        )
    alt = f"Training curves over {formatting.plural(run.last_step, 'step')}. {sentences[-1]}"
    return (
        f'<figure class="scroll" tabindex="0" role="region" aria-label="Training curves">'
        f"{markup.picture(png, alt, 'plate wide')}</figure>"
        f'<p class="legend">{" ".join(sentences)}</p>'
    )


def curves_picture(run: RunData) -> bytes:
    """Return the training curves as PNG."""
    return plots.curves_png(run.train, run.valid, run.learning_rate, run.baselines)


def figures(run: RunData, folder: str) -> str:
    """Return the score against the baselines and per recording, with its label."""
    if run.evaluation is None or run.test_bits is None:
        return (
            '<section id="figures"><h2>Figures</h2><p>Not evaluated yet: '
            f"<code>samplewise evaluate {folder} --json</code> scores the test recordings.</p>"
            "</section>"
        )
    parts = ["<h2>Figures</h2>"]
    label = reading.text(run.evaluation, "label")
    if label:
        parts.append(f'<p class="label">{markup.name(label)}</p>')
    scores, own = run.baselines, run.test_bits
    png = plots.scores_png(own, scores)
    scores_text = ", ".join(
        f"{formatting.baseline(key)} {formatting.bits(bits)}" for key, bits in scores.items()
    )
    alt = f"Bits per sample: this model {formatting.bits(own)}; {scores_text or 'no baselines'}"
    parts.append(f"<figure>{markup.picture(png, alt, 'plate scores')}</figure>")
    if scores:
        rows = [
            (esc(formatting.baseline(key)), formatting.bits(bits), formatting.signed(own - bits))
            for key, bits in sorted(scores.items(), key=lambda item: -item[1])
        ]
        head = ("Baseline", "Bits per sample", "This model, compared")
        parts.append(f"<h3>Against baselines</h3>{markup.table(head, rows)}")
    else:
        parts.append("<p>The evaluation was made without baselines.</p>")
    parts.append(_recordings(run.evaluation))
    return f'<section id="figures">{"".join(parts)}</section>'


def _recordings(evaluation: dict[str, Any]) -> str:
    entries = reading.objects(evaluation, "recordings")
    if not entries:
        return "<p>No figures per recording were written.</p>"
    rows = [
        (
            markup.name(reading.text(entry, "source") or "unnamed"),
            _count(reading.number(entry, "samples")),
            formatting.bits(reading.number(entry, "bits_per_sample")),
        )
        for entry in entries[:MAX_ROWS]
    ]
    samples = reading.number(evaluation, "samples")
    total = reading.number(evaluation, "bits_per_sample")
    more = f" (first {MAX_ROWS} of {len(entries)})" if len(entries) > MAX_ROWS else ""
    rows.append(("<b>all</b>", _count(samples), f"<b>{formatting.bits(total)}</b>"))
    head = ("Recording", "Samples", "Bits per sample")
    return f"<h3>Per recording{more}</h3>{markup.table(head, rows)}"


def configuration(run: RunData) -> str:
    """Return config.json as a table that can be collapsed."""
    shown = {key: value for key, value in run.config.items() if key != "versions"}
    if not shown:
        return (
            '<section id="configuration"><h2>Configuration</h2>'
            "<p>There is no config.json in the folder; <code>samplewise train</code> writes it."
            "</p></section>"
        )
    rows = [(esc(key), esc(value)) for key, value in markup.flatten(shown)]
    return (
        '<section id="configuration"><h2>Configuration</h2><details><summary>'
        f"All {formatting.plural(len(rows), 'setting')}</summary>"
        f"{markup.table(('Setting', 'Value'), rows, kind='words')}</details></section>"
    )


def _count(value: float | None) -> str:
    return "–" if value is None else formatting.count(value)


def _last_part(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or path
