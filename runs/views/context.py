"""What every page knows: the reader's zone and theme, whether payloads are hidden, the present instant, the version."""

from typing import Any

from django.http import HttpRequest

from runs import __version__, clock
from runs.state import place
from runs.views.preferences import preferences


def page(request: HttpRequest) -> dict[str, Any]:
    """Template variables of base.html."""
    chosen = preferences(request)
    return {
        "theme": chosen.theme,
        "next_theme": "light" if chosen.theme == "dark" else "dark",
        "hide": chosen.hide,
        "next_hide": "off" if chosen.hide else "on",
        "tz": chosen.tz,
        "zone": chosen.zone,
        "zone_name": clock.now().astimezone(chosen.zone).tzname() or chosen.tz,
        "present": clock.now(),
        "retries_kept": place.is_kept(),
        "version": __version__,
    }
