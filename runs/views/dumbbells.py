"""Two values joined on a logarithmic axis: A a square, B a circle. And the bar of how two databases' runs were matched."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from runs.clock import MICROSECOND
from runs.compare.records import Counts, Group
from runs.wording import duration

_LEFT, _RIGHT = 5.0, 95.0  # per cent: the marks keep inside
_SMALLEST = 1.5  # per cent of the matching bar


@dataclass(frozen=True, slots=True)
class LogAxis:
    """From ``low`` to ``high`` microseconds, whole decades."""

    low: int
    high: int

    @property
    def label(self) -> str:
        return f"{duration(self.low * MICROSECOND)} to {duration(self.high * MICROSECOND)}"

    def x(self, value: int) -> float:
        span = math.log10(self.high / self.low)
        return _LEFT + (_RIGHT - _LEFT) * math.log10(min(max(value, self.low), self.high) / self.low) / span


def axis(groups: Iterable[Group]) -> LogAxis:
    """The decades that hold the p95 of every group that has one on both sides; 1 ms to 1 s where there are none."""
    values = [
        value
        for group in groups
        if group.a_took.p95 is not None and group.b_took.p95 is not None
        for value in (group.a_took.p95, group.b_took.p95)
        if value > 0
    ]
    if not values:
        return LogAxis(1_000, 1_000_000)
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return LogAxis(10**low, 10 ** max(high, low + 1))


def dumbbell(axis: LogAxis, a: int | None, b: int | None, name: str) -> SafeString:
    """``name`` (p95) of both sides; empty where a side has none."""
    if a is None or b is None:
        return SafeString("")
    at_a, at_b = f"{axis.x(a):.2f}%", f"{axis.x(b):.2f}%"
    words = escape(f"{name} {duration(a * MICROSECOND)} in A, {duration(b * MICROSECOND)} in B")
    return mark_safe(  # noqa: S308 - numbers and escaped words
        f'<svg class="pairb" role="img" aria-label="{words}"><line class="tick zero" x1="0" x2="100%" y1="9.5" y2="9.5"/>'
        f'<line class="box" x1="{at_a}" x2="{at_b}" y1="9.5" y2="9.5"/>'
        f'<svg x="{at_a}" y="9.5"><path class="f" d="M-4-4h8v8h-8z"/></svg>'
        f'<svg x="{at_b}" y="9.5"><circle class="dotb" r="4.25"/></svg></svg>'
    )


def matching_bar(counts: Counts) -> SafeString:
    """The shares of what was matched, of runs in A alone, in B alone, and of the rest."""
    rest = counts.outside_a + counts.outside_b + counts.ambiguous + counts.scheduled
    parts = [
        (counts.matched, "f c-edge", "", "matched"),
        (counts.only_a, "box c-quiet", "url(#p-wait-quiet)", "only in A"),
        (counts.only_b, "box c-quiet", "url(#p-b)", "only in B"),
        (rest, "box c-quiet", "none", "not compared"),
    ]
    filled = [part for part in parts if part[0]]
    total = sum(part[0] for part in filled)
    widths = [max(_SMALLEST, 100 * part[0] / total) for part in filled]
    squeeze = 100 / sum(widths) if widths else 1
    drawn, x = [], 0.0
    for (_, css, fill, _), width in zip(filled, widths, strict=True):
        width *= squeeze
        pattern = f' fill="{fill}"' if fill else ""
        y, height = ("0", "10") if not fill else (".5", "9")
        drawn.append(
            f'<rect class="{css}"{pattern} x="{x:.3f}%" y="{y}" width="{max(width - 0.3, 0.2):.3f}%" height="{height}"/>'
        )
        x += width
    words = escape(", ".join(f"{number:,} {name}" for number, _, _, name in filled) or "no runs")
    return mark_safe(f'<svg class="bar" role="img" aria-label="{words}">{"".join(drawn)}</svg>')  # noqa: S308 - numbers and constants
