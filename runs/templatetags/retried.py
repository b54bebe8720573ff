"""What became of a run's retries, for wherever a run is shown in a line."""

from django.template import Library
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runs import links
from runs.records import UNSUCCESSFUL, Run
from runs.templatetags.durascope import glyph

register = Library()


@register.simple_tag
def retried(slug: str, run: Run) -> SafeString:
    """``retried → succeeded``, leading to the retry that says so; nothing where there is none."""
    if run.retried is None:
        return SafeString()
    return format_html(
        '<a class="tag mark" href="{}" title="{}">{} → {}{}</a> ',
        links.run_page(slug, run.retried.id),
        run.retried.id,
        "retried" if run.status in UNSUCCESSFUL else "forked",
        glyph(run.retried.status),
        run.retried.status.value,
    )
