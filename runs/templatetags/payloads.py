"""Tags of the payload viewer, and of all that shows what runs stored: marks, names, and the block that hides a value."""

import re

from django.template import Context, Library
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from runs.payloads.pictures import NAMES
from runs.records import Body
from runs.wording import size, visible

register = Library()

HIDDEN = mark_safe('<span class="hidden"><span>hidden</span></span>')


@register.simple_tag(takes_context=True)
def hidden_or(context: Context, value: object) -> str | SafeString:
    """A stored value, an error's message or a log's text on one line; a hatched block while payloads are hidden."""
    if value in (None, ""):
        return ""
    return HIDDEN if context.get("hide") else visible(str(value))


@register.simple_tag
def hidden_block() -> SafeString:
    """The hatched block itself."""
    return HIDDEN


@register.simple_tag(takes_context=True)
def marked(context: Context, text: str) -> str | SafeString:
    """A text in which what the reader searches for (``find``) is marked."""
    wanted = context.get("find")
    if not wanted:
        return text
    parts = re.split(f"({re.escape(wanted)})", text, flags=re.IGNORECASE)
    return format_html_join("", "{}", ((_mark(part) if odd % 2 else part,) for odd, part in enumerate(parts)))


def _mark(text: str) -> SafeString:
    return format_html("<mark>{}</mark>", text)


@register.filter
def picture_name(media_type: str) -> str:
    """``image/png`` → PNG."""
    return NAMES[media_type]


@register.filter
def slot_of(name: str) -> str:
    """Whose payload it is, where not the run's: ``step.14.output`` → of step 14."""
    parts = name.split(".")
    return f"of step {parts[1]}" if parts[0] == "step" and len(parts) == 3 else ""


@register.filter
def kept(body: Body) -> str:
    """How much of a payload was read: ``1.20 kB``, or ``the first 67.1 MB of 80.0 MB``."""
    whole = size(body.payload.size_bytes)
    return f"the first {size(len(body.data))} of {whole}" if body.truncated else whole
