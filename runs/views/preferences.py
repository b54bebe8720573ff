"""How a reader wants to see things: time zone, theme, whether payloads are hidden; from the address, else from a cookie."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest, HttpResponseBase

YEAR = 365 * 24 * 3600
THEMES = ("light", "dark")
COOKIES = {"tz": "durascope_tz", "theme": "durascope_theme", "hide": "durascope_hide"}
BROWSER_ZONE = "durascope_zone"  # what the browser says its zone is called


@dataclass(frozen=True, slots=True)
class Preferences:
    """``tz`` is utc, local or the name of a zone; ``theme`` light, dark, or empty for the system's; ``hide`` says that nothing
    that was stored as a value may be shown.
    """

    tz: str
    theme: str
    zone: tzinfo
    hide: bool = False


def preferences(request: HttpRequest) -> Preferences:
    """From the query string over the cookie; what can't be understood is the default."""
    tz = _chosen(request, "tz")
    theme = _chosen(request, "theme")
    theme = theme if theme in THEMES else ""
    hide = _chosen(request, "hide") == "on"
    if tz == "local":
        return Preferences("local", theme, _zone(request.COOKIES.get(BROWSER_ZONE, "")) or _machine_zone(), hide)
    if tz and (zone := _zone(tz)):
        return Preferences(tz, theme, zone, hide)
    return Preferences("utc", theme, UTC, hide)


def remember(request: HttpRequest, response: HttpResponseBase) -> None:
    """What the address chose becomes the cookie."""
    for name, cookie in COOKIES.items():
        if (value := request.GET.get(name)) is not None and len(value) < 64:
            response.set_cookie(cookie, value, max_age=YEAR, samesite="Strict", httponly=True)


def _chosen(request: HttpRequest, name: str) -> str:
    return request.GET.get(name) or request.COOKIES.get(COOKIES[name], "")


def _zone(name: str) -> ZoneInfo | None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+/-]{0,60}", name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _machine_zone() -> tzinfo:
    return datetime.now().astimezone().tzinfo or UTC
