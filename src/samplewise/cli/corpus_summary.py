"""The summary that `samplewise prepare` prints at the end."""

from samplewise.audio.files import shown
from samplewise.data.prepare.prepare import Prepared
from samplewise.data.prepare.summary import plural


def format_summary(prepared: Prepared) -> str:
    """Return the summary of a corpus, its warnings, notes and skipped files as lines."""
    index = prepared.index
    summary = index.summary
    lines = []
    if index.notes:
        lines += ["notes:", *(f"  {shown(n.source)}: {shown(n.note)}" for n in index.notes)]
    if index.skipped:
        lines += [
            f"skipped {len(index.skipped)} of what is in the folder:",
            *(f"  {shown(s.source)}: {shown(s.reason)}" for s in index.skipped),
        ]
    state = "is up to date" if prepared.is_unchanged else "is ready"
    minutes = "  ".join(f"{name} {value:.2f}" for name, value in summary.minutes.items())
    lines += [
        f"corpus {shown(str(prepared.folder))} {state}: "
        f"{plural(summary.recordings, 'recording')} "
        f"at {index.sample_rate} Hz ({plural(prepared.decoded, 'file')} decoded, "
        f"{prepared.taken_over} taken over, {summary.skipped} skipped)",
        f"  minutes   {minutes}  (split {index.split_rule})",
        f"  peak      {_db(summary.peak_dbfs)}   gain {index.gain:.4g}"
        + (" (DC removed)" if index.settings.remove_dc else ""),
        f"  loudness  {_db(summary.loudness_rms_dbfs)} (RMS over everything, without DC)",
        f"  silence   {summary.silence_share:.1%} of 20 ms windows below -60 dBFS",
        f"  resampled {summary.resampled}   mixed to mono {summary.mixed}   "
        f"over full scale {summary.over_full_scale}",
    ]
    lines += [f"warning: {shown(warning)}" for warning in prepared.warnings]
    return "\n".join(lines)


def _db(level: float | None) -> str:
    return "digital silence" if level is None else f"{level:.2f} dBFS"
