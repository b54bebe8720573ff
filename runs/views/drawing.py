"""SVG as text: bars, axes, sparklines. Made of numbers and our own class names alone; whatever words it holds are escaped."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from runs import wording
from runs.records import Histogram, Status
from runs.timeline import Ledger, Pattern, Row, Scale, Segment, Timeline, Tone
from runs.timeline.scale import RIGHT
from runs.timeline.spans import tone as tone_of

MOST_CELLS = 8  # of a bar of attempts
BLOCK = 100  # rows one <svg> carries
SMALLEST = 2.0  # per cent of a status bar
_FADE = {
    "solid": "M0-5h7V5H0zM9-5h5V5H9zM16-5h4V5h-4zM22.5-5h2.5V5h-2.5zM28-5h1.5V5H28zM32.5-5h1V5h-1z",
    "lines": "M0-5h1.25V5H0zM5-5h1.25V5H5zM10-5h1V5h-1zM16-5h1V5h-1zM23-5h1V5h-1zM31-5h1V5h-1z",
}
_BAR_ORDER = (
    ((Status.FAILED,), "f c-fail", ""),
    ((Status.RETRYING,), "box c-retry", "url(#p-back-retry)"),
    ((Status.RUNNING,), "f c-run", ""),
    ((Status.WAITING,), "box c-wait", "url(#p-wait-wait)"),
    ((Status.QUEUED, Status.SCHEDULED, Status.PAUSED, Status.UNKNOWN), "box c-quiet", "none"),
    ((Status.CANCELLED,), "box c-quiet", "url(#p-b)"),
    ((Status.SUCCEEDED,), "f c-ok", ""),
)


def _svg(parts: Iterable[str]) -> SafeString:
    return mark_safe("".join(parts))  # noqa: S308 - numbers, constants and escaped words


def _n(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def status_bar(counts: Mapping[Status, int]) -> SafeString:
    """The share of each status over all runs; the smallest part is drawn 2 % wide."""
    total = sum(counts.values())
    words = ", ".join(f"{counts[status]:,} {status}" for status in Status if counts.get(status)) or "no runs"
    return _svg(
        [
            f'<svg class="bar fb" role="img" aria-label="{escape(words)}">',
            *_status_parts(counts, total),
            "</svg>",
        ]
    )


def _status_parts(counts: Mapping[Status, int], total: int) -> Iterator[str]:
    groups = [(sum(counts.get(s, 0) for s in statuses), css, fill) for statuses, css, fill in _BAR_ORDER]
    groups = [group for group in groups if group[0]]
    widths = [max(SMALLEST, 100 * count / total) for count, _, _ in groups]
    squeeze = 100 / sum(widths) if widths else 1
    x = 0.0
    for (_, css, fill), width in zip(groups, widths, strict=True):
        width *= squeeze
        drawn = max(width - 0.4, 0.4)
        if fill:
            yield f'<rect class="{css}" fill="{fill}" x="{_n(x)}%" y=".5" width="{_n(drawn)}%" height="9"/>'
        else:
            yield f'<rect class="{css}" x="{_n(x)}%" width="{_n(drawn)}%" height="10"/>'
        x += width


def attempts_bar(attempts: int | None, status: Status) -> SafeString:
    """An attempt a cell, those that did not end the run before the one that did, or is at it; empty for a single one."""
    if not attempts or attempts < 2:
        return _svg([])
    cells = min(attempts, MOST_CELLS)
    step = 100 / cells
    parts = [f'<svg class="bar tried" role="img" aria-label="{attempts:,} attempts">']
    for position in range(cells):
        css = f"c-{tone_of(status).value}" if position == cells - 1 else "c-retry"
        parts.append(f'<rect class="f {css}" x="{_n(position * step)}%" width="{_n(step - 8 / cells)}%" height="10"/>')
    return _svg([*parts, "</svg>"])


def sparkline(values: Sequence[int], label: str) -> SafeString:
    """Equal parts of a window as columns, each on its own scale."""
    most = max(values, default=0)
    step = 100 / max(len(values), 1)
    columns = "".join(
        f'<rect class="f c-fail" x="{_n(i * step)}%" y="{_n(17 - h)}" width="{_n(step - 0.9)}%" height="{_n(h)}"/>'
        for i, value in enumerate(values)
        if value and (h := max(2.0, 16 * value / most))
    )
    line = '<line class="tick zero" x1="0" x2="100%" y1="17.5" y2="17.5"/>'
    return _svg([f'<svg class="spark" role="img" aria-label="{escape(label)}">', line, columns, "</svg>"])


@lru_cache(maxsize=128)  # the pages of a list have one
def columns(created: Histogram) -> SafeString:
    """When runs were created: a column for each part of the window, its failed ones at the bottom."""
    most = max((every for every, _ in created.parts), default=0)
    step = 100 / max(len(created.parts), 1)
    parts = ['<svg aria-hidden="true"><line class="tick zero" x1="0" x2="100%" y1="39.5" y2="39.5"/>']
    for position, (every, failed) in enumerate(created.parts):
        x, width = _n(position * step + 0.1), _n(step - 0.2)
        for count, css in ((every, "f c-band"), (failed, "f c-fail")):
            if count:
                height = max(2.0, 36 * count / most)
                parts.append(
                    f'<rect class="{css}" x="{x}%" y="{_n(39 - height)}" width="{width}%" height="{_n(height)}"/>'
                )
    return _svg([*parts, "</svg>"])


_LEDGER_LOOK = {
    "queued": ("box c-quiet", "none"),
    "running": ("f c-edge", ""),
    "backing_off": ("box c-retry", "url(#p-back-retry)"),
    "children": ("box c-quiet", "url(#p-b)"),
    "messages": ("box c-wait", "url(#p-wait-wait)"),
    "sleeping": ("box c-quiet", "url(#p-wait-quiet)"),
    "code": ("box c-edge", "none"),
}


def ledger_bar(ledger: Ledger) -> SafeString:
    """Where the time went, in one bar of 100 %."""
    parts = ", ".join(f"{entry.label} {wording.percent(entry.share, 1)}" for entry in ledger.entries)
    label = f"{wording.duration(ledger.total)}: {parts}"
    drawn = []
    for entry in ledger.entries:
        css, fill = _LEDGER_LOOK[entry.key]
        width = max(entry.width - 0.35, 0.15)
        box = f'fill="{fill}" y=".5" height="9"' if fill else 'height="10"'
        drawn.append(f'<rect class="{css}" x="{_n(entry.x)}%" width="{_n(width)}%" {box}/>')
    return _svg([f'<svg class="bar" role="img" aria-label="{escape(label)}">', *drawn, "</svg>"])


def swatch(key: str) -> SafeString:
    """The ledger's part as a small picture for its list."""
    css, fill = _LEDGER_LOOK[key]
    rect = (
        f'<rect class="{css}" fill="{fill}" x=".5" y=".5" width="27" height="9"/>'
        if fill
        else f'<rect class="{css}" width="28" height="10"/>'
    )
    return _svg(['<svg class="sw" viewBox="0 0 28 10" aria-hidden="true">', rect, "</svg>"])


def axis(timeline: Timeline) -> SafeString:
    """Ticks at round offsets from the start of the run; the gaps' lengths in bold."""
    scale = timeline.scale
    said = f"Time since the start of the run, up to {wording.duration(scale.end - timeline.zero)}"
    if scale.gaps:
        hidden = ", ".join(gap.label for gap in scale.gaps)
        said += f"; idle time not drawn: {hidden}"
    parts = [f'<svg role="img" aria-label="{escape(said)}">']
    if timeline.copied and scale is timeline.whole:
        parts.append('<text class="ax hid" x="0" y="18">copied</text>')
    for position, tick in enumerate(scale.ticks(timeline.zero)):
        x = _n(tick.x)
        zero = " zero" if tick.label == "0" else ""
        hidden = " hid" if position % 2 else ""
        if any(gap.x - 3 < tick.x < gap.x + gap.width + 4 for gap in scale.gaps) or tick.x > RIGHT - 1:
            label = ""
        else:
            anchor = "start" if tick.x < 6 else "middle"
            label = f'<text class="ax{hidden}" x="{x}%" y="18" text-anchor="{anchor}">{escape(tick.label)}</text>'
        parts.append(f'<line class="tick{zero}" x1="{x}%" x2="{x}%" y1="22" y2="28"/>{label}')
    for gap in scale.gaps:
        parts.append(
            f'<rect class="gapbg" x="{_n(gap.x)}%" width="{_n(gap.width)}%" y="20" height="8"/>'
            f'<text class="ax b" x="{_n(gap.x + gap.width / 2)}%" y="18" text-anchor="middle">{escape(gap.label)}</text>'
        )
    return _svg([*parts, "</svg>"])


def bars(timeline: Timeline, rows: Sequence[Row]) -> SafeString:
    """The bars of up to 100 rows: one picture behind them, x in per cent of the track, y in per cent of the block."""
    parts = ['<svg aria-hidden="true">', *_grid(timeline)]
    for position, row in enumerate(rows):
        y = _n(100 * (position + 0.5) / len(rows)) + "%"
        if row.band:
            x, width = row.band
            parts.append(f'<rect class="band b18" x="{_n(x)}%" y="{y}" width="{_n(width)}%" height="18"/>')
        parts += [draw_segment(segment, y) for segment in row.segments]
        if row.note and row.segments and row.segments[0].pattern is not Pattern.GHOST:
            last = row.segments[-1]
            if last.x + last.width < 80:
                dx = 44 if last.open else 20 if last.final else 8
                parts.append(
                    f'<text class="note-t" x="{_n(last.x + last.width)}%" y="{y}" dx="{dx}" dy="4">{escape(row.note[:60])}</text>'
                )
    return _svg([*parts, "</svg>"])


def _grid(timeline: Timeline) -> Iterator[str]:
    scale = timeline.scale
    for tick in scale.ticks(timeline.zero):
        zero = " zero" if tick.label == "0" else ""
        yield f'<line class="tick{zero}" x1="{_n(tick.x)}%" x2="{_n(tick.x)}%" y1="0" y2="100%"/>'
    yield from _gaps(scale)


def _gaps(scale: Scale) -> Iterator[str]:
    for gap in scale.gaps:
        yield (
            f'<rect class="gapbg" x="{_n(gap.x)}%" width="{_n(gap.width)}%" height="100%"/>'
            f'<svg class="gz" x="{_n(gap.x + gap.width / 2)}%" width="12" height="100%" overflow="hidden">'
            '<rect fill="url(#p-zig)" width="12" height="100%"/></svg>'
        )


def draw_segment(segment: Segment, y: str) -> str:
    """One segment with its marks, around a height like ``50%``."""
    x, width, css = _n(segment.x), _n(segment.width), f"c-{segment.tone.value}"
    drawn = ""
    match segment.pattern:
        case Pattern.QUEUED:
            drawn = f'<line class="q" x1="{x}%" x2="{_n(segment.x + segment.width)}%" y1="{y}" y2="{y}"/>'
        case Pattern.LINE:
            drawn = f'<rect class="f c-quiet b2" x="{x}%" y="{y}" width="{width}%" height="2"/>'
        case Pattern.AGAIN:
            drawn = f'<rect class="box c-run b10" fill="none" x="{x}%" y="{y}" width="{_n(max(segment.width, 0.5))}%" height="10"/>'
        case Pattern.GHOST:
            drawn = f'<rect class="ghost b10" x="{x}%" y="{y}" width="{width}%" height="10"/>'
        case _ if segment.instant and not segment.open:
            drawn = f'<svg x="{x}%" y="{y}" class="{css}"><path class="f" d="M-1-5h3v10h-3z"/></svg>'
        case Pattern.RAN:
            drawn = f'<rect class="f {css} b10" x="{x}%" y="{y}" width="{width}%" height="10"/>'
        case Pattern.TRIED:
            drawn = f'<rect class="f c-fail b6" x="{x}%" y="{y}" width="{width}%" height="6"/>'
        case Pattern.BACKING_OFF:
            drawn = f'<rect class="box c-retry b10" fill="url(#p-back-retry)" x="{x}%" y="{y}" width="{width}%" height="10"/>'
        case Pattern.WAITED:
            kind = segment.tone.value if segment.tone in (Tone.OK, Tone.FAIL, Tone.WAIT) else "quiet"
            kind = "wait" if segment.tone is Tone.RUN else kind
            tone = f"c-{kind}"
            drawn = f'<rect class="box {tone} b10" fill="url(#p-wait-{kind})" x="{x}%" y="{y}" width="{width}%" height="10"/>'
    return drawn + _mark(segment, y, css)


def _mark(segment: Segment, y: str, css: str) -> str:
    end = _n(segment.x + segment.width)
    if segment.pattern is Pattern.TRIED:
        return f'<svg x="{end}%" y="{y}" class="{css}"><path class="cap" d="M0-8V8"/></svg>'
    if segment.final:
        return f'<svg x="{end}%" y="{y}" class="{css}"><path class="cap" d="M0-8V8"/><path class="xx" d="m6-4 8 8m0-8-8 8"/></svg>'
    if segment.open and segment.pattern is not Pattern.LINE:
        shape = "solid" if segment.pattern is Pattern.RAN else "lines"
        css = "c-quiet" if segment.pattern is Pattern.QUEUED else css
        return f'<svg x="{end}%" y="{y}" class="{css}"><path class="f" d="{_FADE[shape]}"/></svg>'
    return ""


def minimap(timeline: Timeline) -> SafeString:
    """The whole run, a line a row or a few rows, with the part that is drawn below between two handles."""
    whole, scale = timeline.whole, timeline.scale
    pitch = min(2.0, 36 / max(len(timeline.outline), 1))
    parts = ['<svg aria-hidden="true">', *_gaps(whole)]
    for line, silhouette in enumerate(timeline.outline):
        y, height = _n(2 + line * pitch), _n(max(pitch - 0.5, 0.6))
        for tone, x, width in silhouette:
            parts.append(
                f'<rect class="f c-{tone.value}" x="{_n(x)}%" y="{y}" width="{_n(width)}%" height="{height}"/>'
            )
    left = 0.0 if scale is whole else whole.x(scale.start)
    right = 100.0 if scale is whole else whole.x(scale.end)
    parts.append(f'<rect class="brush" x="{_n(left)}%" y="0.5" width="{_n(max(right - left, 0.3))}%" height="39"/>')
    for x in (left, right):
        parts.append(f'<line class="grab" x1="{_n(x)}%" x2="{_n(x)}%" y1="12" y2="28"/>')
    return _svg([*parts, "</svg>"])


_LEGEND: tuple[tuple[str, str, str], ...] = (
    # what is looked for among the segments, its words, its drawing on 28 × 10
    ("queued", "queued", '<path class="q" d="M0 5h28"/>'),
    ("ran", "ran", '<rect class="f c-ok" width="28" height="10"/>'),
    (
        "tried",
        "attempt failed, tried again",
        '<g class="c-fail"><path class="f" d="M0 2h20v6H0z"/><path class="cap" d="M20-2v14"/></g>',
    ),
    (
        "backing_off",
        "backing off",
        '<rect class="box c-retry" fill="url(#p-back-retry)" x=".5" y=".5" width="27" height="9"/>',
    ),
    (
        "final",
        "failed for good",
        '<g class="c-fail"><path class="f" d="M0 0h14v10H0z"/><path class="cap" d="M14-2v14"/><path class="xx" d="m19 1 8 8m0-8-8 8"/></g>',
    ),
    (
        "waited",
        "slept, waited, child at work",
        '<rect class="box c-ok" fill="url(#p-wait-ok)" x=".5" y=".5" width="27" height="9"/>',
    ),
    ("instant", "too short to draw", '<path class="f c-ok" d="M12 0h3v10h-3z"/>'),
    (
        "open",
        "end not known",
        '<path class="f c-run" d="M0 0h9v10H0zM11 0h4v10h-4zM17 0h3v10h-3zM22 0h2v10h-2zM26.5 0h1v10h-1z"/>',
    ),
    ("again", "done again", '<rect class="box c-run" fill="none" x=".5" y=".5" width="27" height="9"/>'),
    ("ghost", "kept, copied from the earlier run", '<rect class="ghost" x=".5" y=".5" width="27" height="9"/>'),
    ("usual", "usual: p50 to p95 of this step", '<rect class="band" width="28" height="10"/>'),
    ("gap", "idle time not drawn", '<rect fill="url(#p-zig)" x="8" width="12" height="10"/>'),
)


def legend(timeline: Timeline) -> SafeString:
    """The marks that this drawing has, in words. Colour says the outcome, everywhere alike."""
    segments = [segment for row in timeline.rows for segment in row.segments]
    present = {segment.pattern.value for segment in segments if not (segment.final or segment.instant)}
    marks = {
        "final": any(segment.final for segment in segments),
        "open": any(segment.open for segment in segments),
        "instant": any(segment.instant and segment.pattern is not Pattern.QUEUED for segment in segments),
        "usual": any(row.band for row in timeline.rows),
        "gap": bool(timeline.scale.gaps),
    }
    present |= {name for name, there in marks.items() if there}
    items = "".join(
        f'<li><svg class="sw" viewBox="0 0 28 10" aria-hidden="true">{picture}</svg>{words}</li>'
        for name, words, picture in _LEGEND
        if name in present
    )
    return _svg([f'<ul class="legend" aria-label="Legend">{items}</ul>'])
