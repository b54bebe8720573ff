"""What the pages of a comparison need: verdicts, changes and rates in words, addresses of pairs."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.template import Context, Library
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from runs import links, wording
from runs.clock import MICROSECOND
from runs.compare import words
from runs.compare.records import Cause, Change, Errors, Group, Pair, Presence, Rate, Rung, Verdict
from runs.templatetags.durascope import took, workflow_name
from runs.views import dumbbells

register = Library()

register.filter("matching_bar", dumbbells.matching_bar)
register.simple_tag(dumbbells.dumbbell, name="dumbbell")


def signed(sign: str, word: str, *, loud: bool = False) -> SafeString:
    """A verdict as its sign and a word. Few fonts have a stopwatch: it is drawn."""
    drawn = mark_safe('<svg class="g"><use href="#g-scheduled"/></svg>') if sign == "⏱" else sign
    css = "vd up" if loud else "vd"
    return format_html('<span class="{}"><b aria-hidden="true">{}</b>{}</span>', css, drawn, word)


@register.filter
def micros(value: int | None) -> str | SafeString:
    """Microseconds as a duration."""
    return took(None if value is None else value * MICROSECOND)


@register.filter
def delta(pair: Pair) -> str | SafeString:
    """How much longer B took; negative where it was faster."""
    if pair.a_took is None or pair.b_took is None:
        return wording.NOTHING
    between = (pair.b_took - pair.a_took) * MICROSECOND
    return format_html("{}{}", "+" if between > timedelta() else "", took(between))


@register.filter
def rate(found: Rate) -> str:
    """``4.8 %``, a dash where nothing has finished."""
    return wording.NOTHING if found.value is None else f"{100 * found.value:.1f} %"


@register.filter
def interval(found: Rate) -> str:
    """``3 of 172, 0.6 to 5.0 %``"""
    return f"{found.failed:,} of {found.of:,}, {100 * found.low:.1f} to {100 * found.high:.1f} %"


@register.filter
def verdict(value: str) -> SafeString:
    """A pair's verdict as sign and word."""
    sign, word = words.VERDICTS[Verdict(value)]
    return signed(sign, word, loud=value in (Verdict.REWRITTEN, Verdict.DIVERGED))


@register.filter
def change(value: Change) -> SafeString:
    """What a difference is worth, as sign and word."""
    sign, word = words.CHANGES[value]
    css = {Change.WORSE: " up", Change.TOO_FEW: " mut"}.get(value, "")
    return format_html('<span class="vd{}"><b aria-hidden="true">{}</b>{}</span>', css, sign, word)


@register.filter
def group_change(group: Group) -> SafeString:
    """A workflow's or step's change in one word."""
    return change(words.group_change(group))


@register.filter
def rung_words(rung: str) -> str:
    return words.RUNGS[Rung(rung)]


@register.filter
def cause_words(cause: str) -> str:
    return words.CAUSES[Cause(cause)]


@register.filter
def presence_name(presence: Presence) -> str:
    """Without the side: ``only there``."""
    return words.PRESENCES[presence].replace("in {side}, ", "").replace("only in {side}", "missing on the other side")


@register.filter
def kinds(errors: Errors, side: str = "") -> int:
    """How many kinds of errors there are, on one side or on either."""
    groups = (*errors.new, *errors.gone, *errors.more, *errors.fewer, *errors.same)
    return sum(1 for group in groups if not side or getattr(group, f"{side}_count"))


@register.simple_tag(takes_context=True)
def day_and_time(context: Context, moment: datetime | None) -> str:
    """An instant in full: for what is read on another day."""
    return wording.full_time(moment, context["zone"]) if moment else wording.NOTHING


@register.filter
def against(text: str, other: str) -> SafeString:
    """A list of words, those that the other side has not in bold."""
    known = other.split(", ")
    parts = (
        (mark_safe("") if part in known or not other else mark_safe(' class="up"'), part) for part in text.split(", ")
    )
    return format_html_join(", ", "<span{}>{}</span>", ((css, wording.visible(part)) for css, part in parts))


@register.filter
def further_cause(pair: Pair) -> bool:
    """Whether the cause says more than the verdict does."""
    return pair.cause not in (None, Cause.TIMING, Cause.PROGRESS, Cause.REWRITTEN)


@register.filter
def told_twice(groups: Sequence[Group]) -> set[str]:
    """The names of those whose short name another one has as well."""
    short = Counter(workflow_name(group.name) for group in groups)
    return {group.name for group in groups if short[workflow_name(group.name)] > 1}


@register.filter
def workflow_place(name: str) -> str:
    """What ``workflow_name`` leaves out: ``shop:orders/workflow.fulfil-order`` → ``shop:orders/workflow``."""
    return wording.visible(name).removesuffix(workflow_name(name)).removesuffix(".")


@register.simple_tag
def pair_page(a: str, a_run: str, b: str, b_run: str) -> str:
    return links.pair_page(a, a_run, b, b_run)
