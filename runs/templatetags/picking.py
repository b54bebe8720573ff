"""Tags of lists whose runs can be chosen: a box a line."""

from django.template import Library
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from runs import links
from runs.records import Run
from runs.wording import short_id

register = Library()


@register.simple_tag
def plans_page() -> str:
    return links.plans_page()


@register.simple_tag
def box(run: Run, value: str, ticked: bool) -> str | SafeString:
    """The box that chooses the run, which the form names so; empty where none is offered."""
    if not value:
        return ""
    return format_html(
        '<label class="tick-l"><span class="vh">Select {}</span><input type="checkbox" name="run" value="{}"{}></label>',
        short_id(run.id),
        value,
        mark_safe(" checked") if ticked else "",
    )
