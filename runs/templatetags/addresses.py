"""Addresses in templates: this page's with something changed, and those of what it names."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.template import Context, Library
from django.utils.safestring import SafeString, mark_safe

from runs import links
from runs.clock import rfc3339
from runs.records import Payload
from runs.timeline.zoom import Window

register = Library()


@register.simple_tag(takes_context=True)
def here_with(context: Context, **changes: Any) -> str:
    """This address with some parameters changed; None or empty takes one away. The place in a list is given up."""
    request: HttpRequest = context["request"]
    query = dict(request.GET.lists())
    query.pop("after", None)
    return _address(request.path, query, changes)


@register.simple_tag(takes_context=True)
def here_plus(context: Context, **changes: Any) -> str:
    """As ``here_with``, but the place in a list is kept."""
    request: HttpRequest = context["request"]
    return _address(request.path, dict(request.GET.lists()), changes)


def _address(path: str, query: dict[str, list[str]], changes: dict[str, Any]) -> str:
    for name, value in changes.items():
        name = name.rstrip("_")
        if value in (None, "", False):
            query.pop(name, None)
        elif isinstance(value, list | tuple | frozenset | set):
            query[name] = [str(item) for item in value]
        else:
            query[name] = [str(value)]
    text = urlencode(query, doseq=True)
    return f"{path}?{text}" if text else path


@register.simple_tag
def run_page(slug: str, run_id: str, tab: str = "") -> str:
    return links.run_page(slug, run_id) + (f"{tab}/" if tab else "")


@register.simple_tag
def database_page(slug: str, tab: str = "") -> str:
    return links.database_page(slug) + (f"{tab}/" if tab else "")


@register.simple_tag
def payload_page(slug: str, payload: Payload) -> str:
    return links.payload_page(slug, payload.run_id, payload.name)


@register.simple_tag(takes_context=True)
def here_without(context: Context, name: str) -> str:
    """This address without a parameter."""
    return here_with(context, **{name: None})


@register.simple_tag(takes_context=True)
def here_choose(context: Context, name: str, value: str) -> str:
    """This address with a value chosen besides those that are, or no longer chosen; the list starts anew."""
    request: HttpRequest = context["request"]
    chosen = request.GET.getlist(name)
    return here_with(
        context, **{name: [other for other in chosen if other != value] if value in chosen else [*chosen, value]}
    )


@register.simple_tag(takes_context=True)
def is_chosen(context: Context, name: str, value: str) -> bool:
    """Whether a parameter of this address has the value."""
    return value in context["request"].GET.getlist(name)


@register.simple_tag(takes_context=True)
def here_window(context: Context, window: Window) -> str:
    """This address, zoomed to a part of the run."""
    return here_plus(context, from_=rfc3339(window.start), to=rfc3339(window.end))


@register.simple_tag(takes_context=True)
def links_to(context: Context, windows: Iterable[Window], since: str, until: str) -> SafeString:
    """A link for each part of this page's time, named by two parameters of its address."""
    base = here_with(context, **{since: None, until: None, "within": None})
    start = escape(f"{base}{'&' if '?' in base else '?'}")
    # Instants and what joins them need no escaping of their own; there are hundreds in a page that asks for itself all the time.
    spans = (f"{since}={_in_address(window.start)}&amp;{until}={_in_address(window.end)}" for window in windows)
    return mark_safe("".join(f'<a href="{start}{span}" tabindex="-1"></a>' for span in spans))  # noqa: S308


@lru_cache(maxsize=1024)  # one part ends where the next begins
def _in_address(moment: datetime) -> str:
    return (rfc3339(moment) or "").replace(":", "%3A")


@register.simple_tag(takes_context=True)
def here_toggle(context: Context, path: str) -> str:
    """This address with a child opened, or folded where it is open; what lies below it goes with it."""
    request: HttpRequest = context["request"]
    opened = request.GET.getlist("open")
    if path in opened:
        opened = [other for other in opened if other != path and not other.startswith(f"{path}.")]
    else:
        opened = [*opened, path]
    return here_plus(context, open=opened)


@register.simple_tag
def plan_page(slug: str, run_id: str) -> str:
    return links.plan_page(slug, run_id)


@register.simple_tag
def runs_page(slug: str) -> str:
    return links.runs_page(slug)
