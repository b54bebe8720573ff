"""A run as Markdown, ready for an issue or a ticket: what the page says, without bodies of payloads."""

from datetime import UTC

from django.http import HttpRequest, HttpResponse

from runs import links, lookup, wording
from runs.catalogue import served
from runs.diagnosis import diagnose, known_until
from runs.engines.base import Engine
from runs.records import Run, Step

STEPS = 200


def markdown(request: HttpRequest, slug: str, segment: str) -> HttpResponse:
    """``GET /db/<slug>/runs/<id>/markdown/``: text."""

    def read(engine: Engine) -> tuple[str, Run, tuple[Step, ...]]:
        run = engine.run(lookup.run_id(engine, segment))
        return engine.label, run, engine.steps(run.id)

    label, run, steps = served().database(slug).read(read)
    address = request.build_absolute_uri(links.run_page(slug, run.id))
    return HttpResponse(write(label, slug, run, steps, address), content_type="text/plain; charset=utf-8")


def write(engine: str, slug: str, run: Run, steps: tuple[Step, ...], address: str) -> str:
    """The text: a heading, the diagnosis, facts, a table of the steps."""
    said = diagnose(run, steps, known_until(run, None)[0])
    lines = [f"## {_plain(run.workflow)}: {run.status.value} (`{_code(run.native_status)}`)", ""]
    if said is not None:
        named = f" `{_code(said.step.name)}`" if said.step else ""
        lines += [f"**{_plain(said.lead)}{named}{_plain(said.after)}** {_plain(said.rest)}".rstrip(), ""]
    lines += [f"- run: [`{_code(run.id)}`]({address}) in {slug} ({engine})"]
    lines += [f"- created {wording.full_time(run.created_at, UTC)}, took {wording.duration(run.duration)}"]
    lines += [f"- code: `{_code(run.version)}`"] if run.version else []
    lines += [f"- forked from: `{_code(run.forked_from)}`"] if run.forked_from else []
    lines += [f"- retried as: `{_code(retry.id)}`, {retry.status.value}" for retry in run.retries]
    lines += [f"- parent: `{_code(run.parent)}`"] if run.parent else []
    shown = [step for step in steps if step.folded_into is None]
    if shown:
        lines += ["", "| # | step | status | started | took | error |", "|--:|---|---|--:|--:|---|"]
        lines += [_row(step, run) for step in shown[:STEPS]]
    if len(shown) > STEPS:
        lines += ["", f"{len(shown) - STEPS:,} more steps are not listed."]
    return "\n".join(lines) + "\n"


def _row(step: Step, run: Run) -> str:
    begun = f"+{wording.duration(step.started_at - run.created_at)}" if step.started_at and not step.inherited else ""
    tried = f" after {step.attempt_count} attempts" if (step.attempt_count or 0) > 1 else ""
    error = f"{_plain(step.error.type)}: {_plain(step.error.message[:120])}" if step.error else ""
    cells = (f"`{_code(step.name)}`", step.status.value + tried, begun, wording.duration(step.duration), error)
    return f"| {step.ordinal} | {' | '.join(cells)} |"


def _code(text: str) -> str:
    return wording.visible(text).replace("`", "'").replace("|", "\\|")


def _plain(text: str) -> str:
    shown = wording.visible(text)
    for mark in "\\`*_[]<>|#":
        shown = shown.replace(mark, f"\\{mark}")
    return shown
