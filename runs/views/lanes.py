"""Two runs on one scale as SVG: both as a line each with a mark where they part, and the two bars of a step."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from runs.timeline import Lanes, Pattern, Segment
from runs.views.drawing import draw_segment

MOST = 40  # segments of one bar
LEAST = 0.4  # per cent: what is shorter is drawn so wide
_MIDDLE = "50%"


def lanes_axis(lanes: Lanes, mark: float | None) -> SafeString:
    """The ticks of both lines, and ▼ at so many per cent, where the two part."""
    ticks = [tick for tick in lanes.scale.ticks(lanes.zero) if tick.x < 97]
    parts = ['<svg class="lax" aria-hidden="true">']
    for number, tick in enumerate(ticks):
        hidden = " hid" if number % 2 else ""
        anchor = "start" if tick.x < 6 else "middle"
        parts.append(
            f'<text class="ax{hidden}" x="{tick.x:.2f}%" y="14" text-anchor="{anchor}">{escape(tick.label)}</text>'
        )
    if mark is not None:
        parts.append(f'<svg x="{mark:.2f}%" y="12" overflow="visible"><path class="f" d="M-4 0H4L0 8z"/></svg>')
    return _svg([*parts, "</svg>"])


def lane(lanes: Lanes, segments: Sequence[Segment], mark: float | None, words: str) -> SafeString:
    """One run as a line; ``mark`` is where it parts from the other."""
    parts = [f'<svg role="img" aria-label="{escape(words)}">']
    for tick in lanes.scale.ticks(lanes.zero):
        parts.append(f'<line class="tick" x1="{tick.x:.2f}%" x2="{tick.x:.2f}%" y1="0" y2="100%"/>')
    for gap in lanes.scale.gaps:
        parts.append(f'<rect class="gapbg" x="{gap.x:.2f}%" width="{gap.width:.2f}%" height="100%"/>')
    parts += [draw_segment(segment, _MIDDLE) for segment in segments]
    if mark is not None:
        parts.append(f'<line class="part" x1="{mark:.2f}%" x2="{mark:.2f}%" y1="0" y2="100%"/>')
    return _svg([*parts, "</svg>"])


def pair_bars(a: Sequence[Segment], b: Sequence[Segment]) -> SafeString:
    """A step in both runs: A above, B below."""
    return _svg(['<svg class="pairb" aria-hidden="true">', *_bar(a, 2.0), *_bar(b, 10.0), "</svg>"])


def offset_words(lanes: Lanes, segments: Sequence[Segment]) -> timedelta | None:
    """How long after the beginning a step began, as it is drawn."""
    return lanes.scale.moment(segments[0].x) - lanes.zero if segments else None


def _bar(segments: Sequence[Segment], y: float) -> Iterator[str]:
    for segment in segments[:MOST]:
        x, width, tone = f"{segment.x:.2f}", f"{max(segment.width, LEAST):.2f}", segment.tone.value
        match segment.pattern:
            case Pattern.QUEUED | Pattern.LINE:
                yield f'<rect class="f c-quiet" x="{x}%" y="{y + 2.5}" width="{width}%" height="1"/>'
            case Pattern.TRIED:
                yield f'<rect class="f c-fail" x="{x}%" y="{y + 1.5}" width="{width}%" height="3"/>'
            case Pattern.BACKING_OFF:
                yield f'<rect class="box c-retry" fill="url(#p-back-retry)" x="{x}%" y="{y + 0.5}" width="{width}%" height="5"/>'
            case Pattern.WAITED:
                kind = tone if tone in ("ok", "fail", "wait") else "quiet"
                yield f'<rect class="box c-{kind}" fill="url(#p-wait-{kind})" x="{x}%" y="{y + 0.5}" width="{width}%" height="5"/>'
            case _:
                yield f'<rect class="f c-{tone}" x="{x}%" y="{y:g}" width="{width}%" height="6"/>'


def _svg(parts: Sequence[str]) -> SafeString:
    return mark_safe("".join(parts))  # noqa: S308 - numbers, constants and escaped words
