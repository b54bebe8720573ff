"""What templates need beyond Django's own: our wording, status chips, times in the reader's zone."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from html import escape

from django.template import Context, Library
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from runs import links, lookup, wording
from runs.clock import rfc3339
from runs.records import Attempt, Cursor, ErrorSummary, Overview, Payload, Payloads, Run, RunRef, Section, Status
from runs.sources.base import Opened
from runs.templatetags.payloads import hidden_or
from runs.timeline.spans import tone
from runs.views import drawing

register = Library()

register.filter("duration", wording.duration)
register.filter("size", wording.size)
register.filter("short_id", wording.short_id)
register.filter("visible", wording.visible)
register.filter("milliseconds", wording.milliseconds)


@register.filter
def plural(count: int, noun: str) -> str:
    """``{{ 3|plural:"run" }}``: 3 runs. A second word after a comma is the plural."""
    one, _, many = noun.partition(",")
    return wording.plural(count, one, many)


@register.filter
def number(count: int | None) -> str:
    """``10,265``, or a dash where there is none."""
    return wording.NOTHING if count is None else f"{count:,}"


@register.filter
def tone_class(status: Status) -> str:
    """The stylesheet's class for a status: ``c-fail``."""
    return f"c-{tone(status)}"


def _html(text: str, *values: str) -> SafeString:
    """``format_html`` for text that is known to be no HTML: a list has hundreds of such, and Django's looks at each for that."""
    return mark_safe(text.format(*map(escape, values)))  # noqa: S308 - every value is escaped


@register.filter
@cache
def glyph(status: Status) -> SafeString:
    """The status as its glyph alone; the word stands elsewhere."""
    return format_html(
        '<svg class="g c-{}" aria-hidden="true"><use href="#g-{}"/></svg>', tone(status).value, status.value
    )


@register.filter
@cache
def chip(status: Status) -> SafeString:
    """The status as glyph and word."""
    return format_html(
        '<span class="st c-{}"><svg class="g" aria-hidden="true"><use href="#g-{}"/></svg><span>{}</span></span>',
        tone(status).value,
        status.value,
        status.value,
    )


@register.simple_tag(takes_context=True)
def when(
    context: Context, moment: datetime | None, beside: datetime | None = None, *, exact: bool = False
) -> str | SafeString:
    """An instant in the reader's zone: the time of day, ``exact`` with milliseconds; the day where it isn't ``beside``'s."""
    if moment is None:
        return wording.NOTHING
    zone = context["zone"]
    return _html(
        '<time datetime="{}" title="{}">{}</time>',
        rfc3339(moment) or "",
        wording.full_time(moment, zone),
        wording.clock_time(moment, zone, beside=beside or context["present"], exact=exact),
    )


@register.simple_tag(takes_context=True)
def since(context: Context, moment: datetime | None) -> str | SafeString:
    """How long ago an instant was."""
    if not moment:  # a template says "" where a part of what it asked for is None
        return wording.NOTHING
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        rfc3339(moment) or "",
        wording.full_time(moment, context["zone"]),
        wording.ago(moment, context["present"]),
    )


@register.filter
def took(value: timedelta | None) -> str | SafeString:
    """A duration with its exact value in the title."""
    if value is None:
        return wording.NOTHING
    return _html('<span title="{}">{}</span>', wording.milliseconds(value), wording.duration(value))


@register.simple_tag(takes_context=True)
def cell(context: Context, value: object) -> str | SafeString:
    """One cell of a section, by its type."""
    slug = context["slug"]
    match value:
        case None:
            return mark_safe('<span class="mut">–</span>')
        case Status():
            return chip(value)
        case datetime():
            return when(context, value)
        case timedelta():
            return took(value)
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case RunRef():
            return format_html(
                '<a class="id" href="{}" title="{}">{}</a>',
                links.run_page(slug, value.id),
                wording.visible(value.id),
                wording.short_id(value.id),
            )
        case Payload():
            return format_html(
                '<a href="{}">{}</a> <span class="mut sm">{}</span>',
                links.payload_page(slug, value.run_id, value.name),
                wording.visible(value.encoding),
                wording.size(value.size_bytes),
            )
        case ErrorSummary():
            return format_html("<b>{}</b> {}", wording.visible(value.type), hidden_or(context, value.message))
    return wording.visible(str(value))


@register.filter
def numeric(section: Section, column: int) -> bool:
    """Whether a column is aligned right: all that stands in it are numbers, times or durations."""
    values = [row[column] for row in section.rows if row[column] is not None]
    return bool(values) and all(isinstance(value, int | float | timedelta | datetime) for value in values)


@register.simple_tag
def favicon_for(state: object) -> str:
    """The favicon that says the state: a failure is visible in the tab."""
    name = (
        {Status.FAILED: "failed", Status.RUNNING: "running", Status.RETRYING: "running"}.get(state)
        if isinstance(state, Status)
        else "failed"
        if state
        else None
    )
    return static(f"img/favicon-{name}.svg" if name else "img/favicon.svg")


register.filter("status_bar", drawing.status_bar)
register.filter("attempts_bar", drawing.attempts_bar)
register.filter("ledger_bar", drawing.ledger_bar)
register.filter("swatch", drawing.swatch)
register.filter("axis", drawing.axis)
register.filter("minimap", drawing.minimap)
register.filter("legend", drawing.legend)
register.filter("columns", drawing.columns)
register.simple_tag(drawing.bars, name="bars_of")
register.filter("iso", rfc3339)
register.filter("position", lambda at: lookup.write_position(Cursor(at=at, id="")))


@register.filter
def failures_by_hour(overview: Overview) -> SafeString:
    """The failures of the window as a sparkline."""
    count = sum(overview.failures)
    return drawing.sparkline(overview.failures, f"failures an hour over 24 h, {count:,} in all")


@register.filter
def total(values: Iterable[int]) -> int:
    return sum(values)


@register.filter
def by_status(counts: Mapping[Status, int]) -> list[tuple[Status, int]]:
    """All statuses that are worth naming, in our order, with their counts."""
    return [(status, counts.get(status, 0)) for status in Status if counts.get(status) or status is not Status.UNKNOWN]


@register.filter
def opened_words(opened: Opened) -> str:
    return {Opened.LIVE: "live", Opened.CLOSED: "closed file", Opened.COPY: "recovered copy"}[opened]


@register.filter
def workflow_name(name: str) -> str:
    """The name without the package of a WIT function: ``shop:orders/workflow.fulfil-order`` → ``fulfil-order``. Whole in titles."""
    shown = wording.visible(name)
    return shown.rpartition(".")[2] if ":" in shown and "/" in shown and "." in shown else shown


@register.filter
def run_took(run: Run, as_of: datetime) -> str | SafeString:
    """How long a run took; for an unfinished one that was taken up, at least how long."""
    if run.duration is not None:
        return took(run.duration)
    if run.status.finished or (run.status in (Status.QUEUED, Status.SCHEDULED) and run.started_at is None):
        return wording.NOTHING
    since_start = max(as_of, run.created_at) - run.created_at
    return _html('<span title="{}">≥ {}</span>', wording.milliseconds(since_start), wording.duration(since_start))


@register.filter
def attempt_took(attempt: Attempt) -> str | SafeString:
    if attempt.started_at is None or attempt.finished_at is None:
        return wording.NOTHING
    return took(attempt.finished_at - attempt.started_at)


@register.filter
def item(mapping: Mapping[str, object], key: str) -> object:
    """A mapping's value, or None."""
    return mapping.get(key)


@register.filter
def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


@register.filter
def cell_text(value: object) -> str:
    """A value of a row that is to be written, on one line."""
    match value:
        case None:
            return "NULL"
        case {"$type": "now", "text": str(template)}:
            return wording.visible(template.replace("{now}", "‹the instant of the append›"))
        case {"$type": "now", "later": later}:
            return f"the instant of the append{f', {later:g} s later' if later else ''}"
        case {"$type": "bytes", **facts}:
            return wording.visible(", ".join(f"{name} {fact}" for name, fact in facts.items()))
    text = str(value)
    return wording.visible(text if len(text) <= 400 else f"{text[:400]}… ({len(text):,} characters)")


@register.filter
def kind_words(kind: str) -> str:
    return kind.replace("_", " ")


@register.filter
def share(value: float) -> str:
    return wording.percent(value, 1)


@register.filter
def slots(payloads: Payloads) -> list[Payload]:
    return [payload for payload in (payloads.input, payloads.output, payloads.error) if payload is not None]


@register.filter
def stored(payloads: Payloads) -> int | None:
    """Bytes of all slots; None where nothing is stored."""
    filled = slots(payloads)
    return sum(payload.size_bytes for payload in filled) if filled else None


@register.filter
def slot(name: str) -> str:
    """``step.14.output`` → output, ``event.3.data`` → data of event 3."""
    parts = name.split(".")
    if parts[0] == "event" and len(parts) > 1:
        return f"event {parts[1]}"
    return parts[-1] if parts[0] in ("run", "step") else name


@register.filter
def one_line(data: object) -> str:
    """An event's data, cut to one line."""
    text = json.dumps(data, ensure_ascii=False) if data is not None else ""
    return wording.visible(text if len(text) <= 300 else f"{text[:300]}…")


@register.filter
def indented(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2)
