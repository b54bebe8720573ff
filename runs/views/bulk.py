"""Planning several runs at once, and confirming them: ``runs.selection`` plans, ``runs.jobs`` has them appended."""

import re
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from runs import jobs, links, lookup, planning, selection
from runs.catalogue import served
from runs.engines.base import Engine
from runs.errors import BadCount, BadFilter, DurascopeError
from runs.records import Run
from runs.retry import Operation
from runs.selection import MOST, Outline, Reference
from runs.sources.openers import openers
from runs.views.answers import answered
from runs.views.retry import held
from runs.views.runs import asked_of, databases_of
from runs.wording import plural

KNOWN = 12  # sentences about what to know first; what is said of fewer runs stands in their own plans
OPENED = 60  # runs of all groups together that are shown unfolded


@dataclass(frozen=True, slots=True)
class Group:
    """Plans of one operation on one workflow."""

    operation: Operation
    workflow: str
    outlines: tuple[Outline, ...]

    @property
    def rows(self) -> int:
        return sum(sum(one.rows.values()) for one in self.outlines)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be planned, and what there is to say about how it was chosen."""

    references: tuple[Reference, ...]
    notes: tuple[str, ...] = ()


def plan(request: HttpRequest) -> HttpResponse:
    """``GET /retries/plan/`` plans the runs that are named, all that a filter matches, or the rest of a job; so does POST, for
    those that no address can hold. POST of what was planned has it appended, and leads to the job."""
    problem: DurascopeError | None = None
    if "planned" in request.POST:
        try:
            return HttpResponseRedirect(links.job_page(_begin(request)))
        except DurascopeError as refused:
            problem = refused
    chosen = _chosen(request)
    outlines = selection.plan_all(chosen.references)
    eligible = [one for one in outlines if one.eligible]
    known = _known(eligible)
    context = {
        "here": "retries",
        "miscounted": isinstance(problem, BadCount),
        "notes": chosen.notes,
        "outlines": outlines,
        "eligible": eligible,
        "refused": [one for one in outlines if not one.eligible],
        "groups": _groups(eligible),
        "unfolded": len(eligible) <= OPENED,
        "rows": _rows(eligible),
        "known": known[:KNOWN],
        "unsaid": len(known[KNOWN:]),
        "holders": [(slug, held(openers(_place(slug)))) for slug in dict.fromkeys(_slugs(eligible))],
        "operations": Counter(one.operation for one in eligible).most_common(),
        "slugs": list(dict.fromkeys(_slugs(eligible))),
        "planned": "\n".join(f"{one.reference} {one.digest}" for one in outlines),
        "reason": request.POST.get("reason", ""),
        "key": secrets.token_urlsafe(16),
    }
    return answered(request, "runs/retries_plan.html", context, problem)


def _begin(request: HttpRequest) -> int:
    """Records the job and has it begun; its number."""
    confirmed = [(reference, digest) for reference, digest in _planned(request) if digest]
    typed = request.POST.get("count", "").strip().replace(",", "")
    if not (typed.isascii() and typed.isdecimal() and len(typed) < 10):
        raise BadCount(f"Type {len(confirmed):,}.")
    job = jobs.start(
        [
            jobs.Chosen(reference.slug, run_id, selection.CHOSEN, digest)
            for (reference, digest), run_id in zip(confirmed, _ids([one for one, _ in confirmed]), strict=True)
        ],
        request.POST.get("reason", ""),
        int(typed),
        who=str(request.META.get("REMOTE_ADDR") or "unknown"),
        where=request.path,
        key=request.POST.get("key", "")[:200],
    )
    return job.pk


def _ids(references: Sequence[Reference]) -> list[str]:
    """The ids that the segments stand for: each database is read once."""

    def ask(engine: Engine, some: Sequence[Reference]) -> dict[Reference, str]:
        return {one: lookup.run_id(engine, one.segment) for one in some}

    found: dict[Reference, str] = {}
    for slug in dict.fromkeys(one.slug for one in references):
        planning.require_allowed(slug)
        some = [one for one in references if one.slug == slug]
        found |= served().database(slug).read(lambda engine, some=some: ask(engine, some))  # type: ignore[misc]
    return [found[one] for one in references]


def _planned(request: HttpRequest) -> Iterator[tuple[Reference, str]]:
    """What a form of ours was made of: a line a run, with the digest of its plan where it has one. It is one field, for a form may
    have no thousand of them."""
    for line in request.POST["planned"].splitlines():
        text, _, digest = line.partition(" ")
        yield selection.reference(text), digest[:200]


def _chosen(request: HttpRequest) -> Chosen:
    if "planned" in request.POST:
        return Chosen(tuple(reference for reference, _ in _planned(request)))
    if number := request.GET.get("job"):
        rest = jobs.rest_of(jobs.named(number))
        return Chosen(rest.references[:MOST], tuple(_left(rest)))
    named = request.POST.getlist("run") or request.GET.getlist("run")
    if named or not request.GET.get("status"):
        return Chosen(tuple(map(selection.reference, named)))
    where = asked_of(request).where
    if not selection.are_retried(where.statuses):
        raise BadFilter(
            "Only runs that failed, were cancelled, wait for another attempt or are paused are retried together."
        )
    databases = databases_of(request)
    allowed = [database for database in databases if planning.allowed(database.slug)]
    for database in databases[: 1 if not allowed else 0]:
        planning.require_allowed(database.slug)
    found = selection.matching(allowed, where)
    return Chosen(found.references, tuple(_notes([d.slug for d in databases if d not in allowed], found)))


def _left(rest: jobs.Rest) -> Iterator[str]:
    if len(rest.references) > MOST:
        yield f"{len(rest.references):,} are left: these are the first {MOST:,}. Retry them, then those that are left."
    if rest.left_out:
        yield (
            f"{plural(rest.left_out, 'run is', 'runs are')} not among them: options were chosen for them, or another file is "
            "served under their database’s name. Plan them one by one."
        )


def _notes(off: Sequence[str], found: selection.Matching) -> Iterator[str]:
    if found.more:
        yield f"More than {MOST:,} runs match: these are the newest {MOST:,}. Retry them, then those that are left."
    if off:
        yield f"Retrying is off for {', '.join(off)}: what matches there is left out."
    yield from (f"{slug}: {words}" for slug, words in found.problems)


def _groups(eligible: Sequence[Outline]) -> list[Group]:
    """By operation and workflow, the largest first."""
    found: dict[tuple[Operation, str], list[Outline]] = {}
    for one in eligible:
        if one.run is not None and one.operation is not None:
            found.setdefault((one.operation, one.run.workflow), []).append(one)
    groups = [Group(operation, workflow, tuple(some)) for (operation, workflow), some in found.items()]
    return sorted(groups, key=lambda group: -len(group.outlines))


def _rows(eligible: Sequence[Outline]) -> list[tuple[str, Mapping[str, int]]]:
    """By database, how many rows of each table."""
    totals: dict[str, Counter[str]] = {}
    for one in eligible:
        totals.setdefault(one.reference.slug, Counter()).update(one.rows)
    return [(slug, dict(tables)) for slug, tables in totals.items()]  # a template takes any name for a key of a Counter


def _known(eligible: Sequence[Outline]) -> list[tuple[str, int]]:
    """What to know first, what is true of most runs first, each with how many."""
    words: Counter[str] = Counter()
    for one in eligible:
        if one.run is not None:
            words.update(dict.fromkeys(_impersonal(text, one.run) for text in one.known).keys())
    return words.most_common()


def _impersonal(text: str, run: Run) -> str:
    """A sentence about one run, as it can be said of others: without its id and the name of its workflow."""
    for name in filter(None, (run.id, run.workflow)):
        named = re.escape(name)
        text = re.sub(rf"\bthe workflow {named}(?![\w-])", "its workflow", text)
        text = re.sub(rf"(?<![\w.:/-]){named}(?![\w/-])", "it", text)
    return text[:1].upper() + text[1:]


def _slugs(outlines: Sequence[Outline]) -> Iterator[str]:
    return (one.reference.slug for one in outlines)


def _place(slug: str) -> Path:
    return Path(served().database(slug).source.place)
