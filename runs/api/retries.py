"""The endpoints of retries: plans, the one write, and what became of it. inspector.writes decides which requests come this far."""

from collections.abc import Collection
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.http import HttpRequest, HttpResponse, JsonResponse
from ninja import P, PathEx, Router

from runs import following, jobs, links, lookup, planning, retrying
from runs.api import parameters, retry_schemas, retry_shapes, schemas
from runs.catalogue import Database, served
from runs.errors import AlreadyRetried, AppendRefused, BadBody, DurascopeError, RetryNotFound
from runs.planning import CHILDREN, PIN_LENGTH, STARTS
from runs.records import Cursor
from runs.retry import Operation, Options
from runs.state import place, retries

router = Router()

READ = ["GET", "HEAD"]
KEY_LENGTH = 200
SlugSegment = PathEx[str, P(description="A database's slug.")]
RunSegment = PathEx[str, P(description="A run's id, as its addresses write it.")]
Number = PathEx[str, P(description="Its id.")]

_STATUSES = {
    **parameters.STATUSES,
    400: "A parameter, a value or the body can't be understood.",
    403: "Retrying is off for this database, the file may not be written, or a page of another site asks.",
    404: "There is no such database, run, retry or job.",
    413: "The body is larger than 2.5 MB.",
    409: "Nothing was appended: it changed meanwhile, or is retried already; then with that retry.",
    415: "The body is not application/json.",
    422: "It can't be retried, the body or the reason is not one, or the schema is unknown.",
    500: "Whether it was appended is not known: look at the run.",
    507: "Nothing was appended: the disk is full.",
}
_CANCEL_ERRORS = frozenset({400, 403, 404, 413, 414, 415, 422})
_WRITE_ERRORS = frozenset({400, 403, 404, 413, 414, 415, 422, 423, 500, 503, 507})
_OPTIONS: tuple[parameters.Parameter, ...] = tuple(
    {
        "in": "query",
        "name": name,
        "required": False,
        "schema": schema,
        "description": description,
        "allowEmptyValue": True,
    }
    for name, description, schema in (
        (
            "operation",
            "What kind of retry; auto, where it is left out: fork where that can be, else run_again.",
            {"type": "string", "enum": ["auto", *(str(operation) for operation in Operation)], "default": "auto"},
        ),
        (
            "from",
            f"{STARTS[0]}, {STARTS[1]}, or the ordinal of the step from which it runs again.",
            {"type": "string", "pattern": "^(auto|failed-only|[0-9]{1,9})$", "default": "auto"},
        ),
        (
            "children",
            "deep: of a failed child only what failed in it. whole: the whole child.",
            {"type": "string", "enum": list(CHILDREN), "default": "deep"},
        ),
        ("pin", "The version of the application that must take it up.", {"type": "string", "maxLength": PIN_LENGTH}),
    )
)
_KEY: parameters.Parameter = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "description": "Of the client's choosing: the same key gives the first answer again.",
    "schema": {"type": "string", "maxLength": KEY_LENGTH},
}


def _described(answer: str, errors: Collection[int], *known: parameters.Parameter, status: int = 200) -> dict[str, Any]:
    responses = {number: {"description": _STATUSES[number]} for number in errors}
    responses[status] = {"description": answer}
    return {"parameters": [dict(parameter) for parameter in known], "responses": responses}


@router.api_operation(
    READ,
    "/databases/{slug}/runs/{run}/retry/",
    operation_id="plan_retry",
    summary="What a retry would append",
    response={200: retry_schemas.Plan, frozenset(parameters.STATUSES): schemas.Problem},
    openapi_extra=_described("The plan, or why there is none.", parameters.STATUSES, *_OPTIONS),
)
def plan_retry(request: HttpRequest, slug: SlugSegment, run: RunSegment) -> object:
    """Nothing is written. The plan is confirmed by its digest, at the same address with the same options."""
    database, run_id, chosen = _asked(request, slug, run)
    return retry_shapes.plan_object(slug, planning.plan(database, run_id, chosen))


@router.post(
    "/databases/{slug}/runs/{run}/retry/",
    operation_id="append_retry",
    summary="Append a confirmed retry",
    response={201: retry_schemas.Answer, 409: retry_schemas.Conflict, _WRITE_ERRORS: schemas.Problem},
    openapi_extra=_described(
        "It was appended; the engine takes it up.", {*_WRITE_ERRORS, 409}, *_OPTIONS, _KEY, status=201
    ),
)
def append_retry(
    request: HttpRequest, slug: SlugSegment, run: RunSegment, confirmed: retry_schemas.Confirmation
) -> HttpResponse:
    """In one transaction, and only where the plan made again inside it is the confirmed one."""
    planning.require_allowed(served().database(slug).slug)
    database, run_id, chosen = _asked(request, slug, run)
    who, where = asker(request)
    try:
        done = retrying.append(
            database, run_id, chosen, confirmed.digest, confirmed.reason, who, where, key=_key(request)
        )
    except AppendRefused as problem:
        earlier = problem.run if isinstance(problem, AlreadyRetried) else ""
        known = following.that_made(database, earlier) if earlier else None
        said = retry_shapes.conflict_object(slug, type(problem).__name__, str(problem), known, earlier)
        return JsonResponse(said, status=problem.status)
    try:
        found = database.read(lambda engine: engine.run(done.new_run))
    except DurascopeError:
        found = None  # it was appended, whether or not it can be read at this moment
    answer = JsonResponse({"retry": retry_shapes.retry_object(done, found)}, status=201)
    answer.headers["Location"] = links.retry_href(done.pk)
    return answer


@router.api_operation(
    READ,
    "/retries/",
    operation_id="list_retries",
    summary="Retries of every outcome",
    response={200: retry_schemas.Retries, frozenset({400, 414}): schemas.Problem},
    openapi_extra=_described("Newest first.", (400, 414), *parameters.PLACE, parameters.DATABASES),
)
def list_retries(request: HttpRequest, response: HttpResponse) -> object:
    """Those that are recorded here; none where nothing may be retried."""
    query = dict(request.GET.lists())
    lookup.refuse_unknown(query, ("limit", "after", "db"))
    after, limit = lookup.read_position(lookup.last(query, "after")), lookup.page_length(query)
    found = retries.newest(after, limit + 1, query.get("db", ())) if place.is_kept() else []
    following = lookup.write_position(Cursor(at=found[limit - 1].pk, id="") if len(found) > limit else None)
    if following:
        onward = request.GET.copy()
        onward["after"] = following
        response.headers["Link"] = f'<{request.path}?{onward.urlencode()}>; rel="next"'
    return {"retries": [retry_shapes.retry_object(retry) for retry in found[:limit]], "next": following}


@router.api_operation(
    READ,
    "/retries/{number}/",
    operation_id="follow_retry",
    summary="How a retry fares",
    response={200: retry_schemas.FollowUp, frozenset(parameters.STATUSES): schemas.Problem},
    openapi_extra=_described("The run that goes on, or what it seems to wait for.", parameters.STATUSES),
)
def follow_retry(request: HttpRequest, number: Number) -> object:
    """Read from the engine's own rows, at the moment of asking."""
    lookup.refuse_unknown(dict(request.GET.lists()), ())
    if not place.is_kept():
        raise RetryNotFound(f"{number[:40]!r} is none.")
    pk = _number(number)
    database = served().database(retries.retry_of(pk).database)
    return retry_shapes.follow_up_object(following.follow(database, following.retry(pk, database)))


@router.post(
    "/retries/",
    operation_id="append_retries",
    summary="Append several confirmed retries",
    response={202: retry_schemas.Started, _WRITE_ERRORS: schemas.Problem},
    openapi_extra=_described("A job appends them, one transaction each.", _WRITE_ERRORS, _KEY, status=202),
)
def append_retries(request: HttpRequest, confirmed: retry_schemas.Several) -> HttpResponse:
    """One after another, each only where its plan still holds. It goes on whatever becomes of this server."""
    who, where = asker(request)
    chosen = [_chosen(one) for one in confirmed.runs]
    job = jobs.start(chosen, confirmed.reason, confirmed.count, who, where, key=_key(request))
    said = {"job": {"id": str(job.pk), "href": links.job_href(job.pk)}}
    return JsonResponse(said, status=202, headers={"Location": links.job_href(job.pk)})


@router.api_operation(
    READ,
    "/jobs/{number}/",
    operation_id="show_job",
    summary="How several retries fare",
    response={200: retry_schemas.Job, frozenset({400, 404, 414}): schemas.Problem},
    openapi_extra=_described("What became of each.", (400, 404, 414)),
)
def show_job(request: HttpRequest, number: Number) -> object:
    """Each run's result as soon as there is one."""
    lookup.refuse_unknown(dict(request.GET.lists()), ())
    return retry_shapes.job_object(jobs.named(number))


@router.post(
    "/jobs/{number}/cancel/",
    operation_id="cancel_job",
    summary="Stop appending",
    response={200: retry_schemas.Job, _CANCEL_ERRORS: schemas.Problem},
    openapi_extra=_described("It stops before its next run; what is appended stays.", _CANCEL_ERRORS),
)
def cancel_job(request: HttpRequest, number: Number, nothing: retry_schemas.Nothing) -> object:
    """What was appended is the engine's."""
    return retry_shapes.job_object(jobs.cancel(jobs.named(number)))


def asker(request: HttpRequest) -> tuple[str, str]:
    """Who asks, and from where, as the audit keeps them. Until there is a sign-in, an address is all that is known."""
    return str(request.META.get("REMOTE_ADDR") or "unknown"), request.path


def _asked(request: HttpRequest, slug: str, segment: str) -> tuple[Database, str, Options]:
    query = dict(request.GET.lists())
    lookup.refuse_unknown(query, ("operation", "from", "children", "pin"))
    chosen = _options({name: values[-1] for name, values in query.items()})
    database = served().database(slug)
    return database, database.read(lambda engine: lookup.run_id(engine, segment)), chosen


def _options(query: dict[str, str]) -> Options:
    return planning.options(*(query.get(name, "") for name in ("operation", "from", "children", "pin")))


def _key(request: HttpRequest) -> str:
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > KEY_LENGTH:
        raise BadBody(f"An Idempotency-Key has {KEY_LENGTH} characters at most.")
    return key


def _chosen(one: retry_schemas.Chosen) -> jobs.Chosen:
    """A run of several from the address of its plan."""
    parts = urlsplit(one.href)
    found = jobs.PLAN_ADDRESS.fullmatch(parts.path)
    if not found:
        raise BadBody(f"{one.href[:200]!r} is not the address of a run here, nor of its plan.")
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    lookup.refuse_unknown(dict.fromkeys(query, ()), ("operation", "from", "children", "pin"))
    database = served().database(found["slug"])
    run_id = database.read(lambda engine: lookup.run_id(engine, found["run"]))
    return jobs.Chosen(database.slug, run_id, _options(query), one.digest)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise RetryNotFound(f"{text[:40]!r} is none.")
    return int(text)
