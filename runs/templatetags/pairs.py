"""What the page of two runs needs: verdicts of steps, both bars of a step, addresses that open and close rows."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.template import Context, Library
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runs import links
from runs.compare.cause import place_of
from runs.compare.records import Cause
from runs.compare.verdicts import StepRow
from runs.compare.words import CAUSES
from runs.records import Step
from runs.templatetags.compare import signed
from runs.templatetags.durascope import took
from runs.views import lanes
from runs.views.aligned import Item
from runs.views.compare_run import ENDS
from runs.wording import NOTHING

register = Library()

register.simple_tag(lanes.lanes_axis, name="lanes_axis")
register.simple_tag(lanes.lane, name="lane")
register.filter("place_of", place_of)
_ENDS = {number: name for name, number in ENDS.items()}


@register.filter
def pair_bars(item: Item) -> SafeString:
    """A step in both runs: A above, B below."""
    return lanes.pair_bars(item.bars.a, item.bars.b)


@register.filter
def row_verdict(row: StepRow) -> SafeString:
    """A row's verdict as sign and words."""
    return signed(row.verdict.sign, row.words)


@register.filter
def longer(value: timedelta | None) -> str | SafeString:
    """How much longer B took; negative where it was faster."""
    if value is None:
        return NOTHING
    return format_html("{}{}", "+" if value > timedelta() else "", took(value))


@register.filter
def offset(value: timedelta | None) -> str | SafeString:
    """An instant as the time since the beginning."""
    return NOTHING if value is None else format_html("+{}", took(max(value, timedelta())))


@register.filter
def outcome(step: Step) -> str:
    """What a step came to beside its status: ``Timeout ×3``."""
    tried = f"×{step.attempt_count}" if step.attempt_count and step.attempt_count > 1 else ""
    return " ".join(part for part in (step.error.type if step.error else "", tried) if part)


@register.filter
def place_in(step: Step) -> str:
    """``step 13``, with its attempts."""
    tried = f", tried {step.attempt_count} times" if step.attempt_count and step.attempt_count > 1 else ""
    return f"step {step.ordinal}{tried}"


@register.filter
def cause_name(cause: str) -> str:
    return "a different result" if cause == Cause.RESULT else CAUSES[Cause(cause)]


@register.simple_tag(takes_context=True)
def row_page(context: Context, number: int, *, opening: bool, alone: bool = False) -> str:
    """This address with a row opened or closed; ``alone``: of that row without the page around it."""
    request: HttpRequest = context["request"]
    query = request.GET.copy()
    name = _ENDS.get(number, str(number))
    query.pop("row", None)
    opened = [other for other in query.getlist("open") if other != name]
    query.setlist("open", [*opened, name] if opening else opened)
    if alone:
        query["row"] = name
    return f"{request.path}?{query.urlencode()}{'' if alone else f'#d{name}'}"


@register.simple_tag(takes_context=True)
def unfolded_page(context: Context, number: int) -> str:
    """This address with a block of equal rows unfolded."""
    request: HttpRequest = context["request"]
    query = request.GET.copy()
    query.appendlist("unfold", str(number))
    return f"{request.path}?{query.urlencode()}#d{number}"


@register.simple_tag(takes_context=True)
def first_page(context: Context) -> str:
    """Where the first difference is shown: on this page, or on the window that has it."""
    number, start = context["it"].first.row, context["first_from"]
    shown = any(item.number == number for item in context["shown"].items)
    if shown:
        return f"#d{number}"
    request: HttpRequest = context["request"]
    query = request.GET.copy()
    query["from"] = str(start)
    return f"{request.path}?{query.urlencode()}#d{number}"


@register.simple_tag
def step_page(slug: str, run_id: str, step: Step) -> str:
    """A step on its own run's page."""
    return f"{links.run_page(slug, run_id)}?step={step.ordinal}#s{step.ordinal}"


@register.simple_tag
def compare_with_page(slug: str, run_id: str) -> str:
    return links.compare_with_page(slug, run_id)


@register.filter
def opened_row(details: dict[int, Any], number: int) -> Any:
    """What an opened row shows; None where it is not opened, or hidden."""
    return details.get(number)
