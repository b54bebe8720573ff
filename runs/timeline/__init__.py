"""From a run and its steps to a drawing: pure, without a database, without HTML."""

from runs.timeline.lanes import Drawn, Lane, Lanes, two_lanes
from runs.timeline.layout import Branch, Row, Timeline, Whole, lay_out, whole_of
from runs.timeline.ledger import Ledger, keep_ledger
from runs.timeline.scale import Gap, Scale, Tick
from runs.timeline.spans import Pattern, Segment, Span, Tone, spans_of
from runs.timeline.zoom import Zoom, zoom

__all__ = [
    "Branch",
    "Drawn",
    "Gap",
    "Lane",
    "Lanes",
    "Ledger",
    "Pattern",
    "Row",
    "Scale",
    "Segment",
    "Span",
    "Tick",
    "Timeline",
    "Tone",
    "Whole",
    "Zoom",
    "keep_ledger",
    "lay_out",
    "spans_of",
    "two_lanes",
    "whole_of",
    "zoom",
]
