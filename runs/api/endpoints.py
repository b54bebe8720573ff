"""The endpoints of ``/api/v1/``. Each reads one snapshot a database, closes it, and only then says what it found.

Errors are raised as they are: inspector.middleware writes them as ``{"error", "detail"}``.
"""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import conditional_page
from ninja import NinjaAPI, P, PathEx
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema

from runs import __version__, fleet, links, lookup, merge
from runs.api import comparisons, pairs, parameters, schemas, shapes
from runs.api.excerpt import excerpt
from runs.api.reference import Reference
from runs.api.retries import router
from runs.catalogue import Database, served
from runs.engines.base import Engine
from runs.errors import BadBody, BadFilter
from runs.paging import write_cursor
from runs.payloads import decode, to_json
from runs.records import Body, Event, Page, Run, Step

READ = ["GET", "HEAD"]
ERRORS = frozenset(parameters.STATUSES)
RAW = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}

SlugSegment = PathEx[str, P(description="A database's slug.")]
RunSegment = PathEx[str, P(description="A run's id, as its addresses write it.")]
PayloadName = PathEx[str, P(description="A payload's name, as its addresses write it.")]


class Api(NinjaAPI):
    """Ninja's, but for two things: errors are left to the middleware, and HEAD is not described beside GET."""

    def set_default_exception_handlers(self) -> None:
        """What an endpoint raises goes to inspector.middleware; of a body that can't be understood, our error does."""
        self.add_exception_handler(ValidationError, _refuse_value)
        self.add_exception_handler(HttpError, _refuse_body)

    def get_openapi_schema(self, **where: Any) -> OpenAPISchema:
        """The OpenAPI 3.1 document."""
        document = super().get_openapi_schema(**where)
        for operations in document["paths"].values():
            operations.pop("head", None)
        return document


def _refuse_value(_request: HttpRequest, problem: Any) -> HttpResponse:
    first = problem.errors[0]
    place = ".".join(str(part) for part in first["loc"][2:]) or "The body"
    raise BadBody(f"{place}: {first['msg']}.") from None


def _refuse_body(_request: HttpRequest, problem: Any) -> HttpResponse:
    raise BadBody(f"{problem}.") from None


api = Api(
    title="Durascope",
    version=__version__,
    description="Runs, steps, events and payloads of durable-workflow databases, and their retry. Times are RFC 3339 in UTC, "
    "durations seconds, cursors opaque. Every answer of 400 and above is a Problem.",
    urls_namespace="api",
    docs=Reference(),
)
# The tag is of the answer, not of the file: some statuses change with the clock alone.
api.add_decorator(conditional_page, "view")
api.add_router("", router)
api.add_router("", comparisons.router)
api.add_router("", pairs.router)


@api.api_operation(
    READ,
    "/databases/",
    operation_id="list_databases",
    summary="All databases",
    response={200: schemas.Databases, 400: schemas.Problem},
    openapi_extra=parameters.described(answer="Every database that is served.", errors=(400,)),
)
def list_databases(request: HttpRequest) -> object:
    """One that can't be read is listed with its problem."""
    lookup.refuse_unknown(_query(request), ())
    return {"databases": [shapes.database_object(entry) for entry in fleet.survey(served().databases())]}


@api.api_operation(
    READ,
    "/databases/{slug}/",
    operation_id="show_database",
    summary="One database",
    response={200: schemas.Database, frozenset({400, 404}): schemas.Problem},
    openapi_extra=parameters.described(answer="What is known of it.", errors=(400, 404)),
)
def show_database(request: HttpRequest, slug: SlugSegment) -> object:
    """As in the list of all: if it can't be read, its problem says why."""
    lookup.refuse_unknown(_query(request), ())
    (entry,) = fleet.survey([served().database(slug)])
    return shapes.database_object(entry)


@api.api_operation(
    READ,
    "/databases/{slug}/runs/",
    operation_id="list_database_runs",
    summary="Runs of one database",
    response={200: schemas.Runs, ERRORS: schemas.Problem},
    openapi_extra=parameters.described(*parameters.FILTERS, *parameters.PLACE, answer="Newest first."),
)
def list_database_runs(request: HttpRequest, response: HttpResponse, slug: SlugSegment) -> object:
    """Newest first, children included unless root=true."""
    asked = lookup.list_query(_query(request))
    database = served().database(slug)

    def read(engine: Engine) -> Page[Run]:
        return engine.runs(asked.where, lookup.cursor(engine, asked.after), asked.limit)

    page = database.read(read)
    following = write_cursor(page.next)
    _link_next(request, response, following)
    return {
        "runs": [shapes.run_object(database.slug, run) for run in page.rows],
        "next": following,
        "problems": _partial([(database.slug, page.partial)] if page.partial else []),
    }


@api.api_operation(
    READ,
    "/runs/",
    operation_id="list_runs",
    summary="Runs of all databases",
    response={200: schemas.Runs, 400: schemas.Problem},
    openapi_extra=parameters.described(
        *parameters.FILTERS, parameters.DATABASES, *parameters.PLACE, answer="Newest first.", errors=(400,)
    ),
)
def list_runs(request: HttpRequest, response: HttpResponse) -> object:
    """Merged, newest first. A database that can't be read is named in problems; the others are shown."""
    query = _query(request)
    asked = lookup.list_query(query, also=("db",))
    merged = merge.merged_runs(_chosen(query.get("db", ())), asked.where, asked.after, asked.limit)
    _link_next(request, response, merged.next)
    unread = [{"database": slug, **shapes.problem_object(error)} for slug, error in merged.problems]
    return {
        "runs": [shapes.run_object(slug, run) for slug, run in merged.rows],
        "next": merged.next,
        "problems": unread + _partial(merged.partial),
    }


@api.api_operation(
    READ,
    "/databases/{slug}/runs/{run}/",
    operation_id="show_run",
    summary="One run with its steps",
    response={200: schemas.Detail, ERRORS: schemas.Problem},
    openapi_extra=parameters.described(answer="The run, where its payloads lie, and its steps by ordinal."),
)
def show_run(request: HttpRequest, response: HttpResponse, slug: SlugSegment, run: RunSegment) -> object:
    """Without payload bodies: their addresses are in payloads. The Link header names the run's events."""
    lookup.refuse_unknown(_query(request), ())
    database = served().database(slug)

    def read(engine: Engine) -> tuple[Run, Sequence[Step]]:
        run_id = lookup.run_id(engine, run)
        return engine.run(run_id), engine.steps(run_id)

    found, steps = database.read(read)
    response.headers["Link"] = f'<{links.events_href(database.slug, found.id)}>; rel="events"'
    return shapes.detail_object(database.slug, found, steps)


@api.api_operation(
    READ,
    "/databases/{slug}/runs/{run}/events/",
    operation_id="list_events",
    summary="The history of a run",
    response={200: schemas.Events, ERRORS: schemas.Problem},
    openapi_extra=parameters.described(*parameters.PLACE, answer="Oldest first."),
)
def list_events(request: HttpRequest, response: HttpResponse, slug: SlugSegment, run: RunSegment) -> object:
    """By position, from the first."""
    query = _query(request)
    lookup.refuse_unknown(query, ("limit", "after"))
    after = lookup.read_position(lookup.last(query, "after"))
    limit = lookup.page_length(query)
    database = served().database(slug)

    def read(engine: Engine) -> Page[Event]:
        return engine.events(lookup.run_id(engine, run), after, limit)

    page = database.read(read)
    following = lookup.write_position(page.next)
    _link_next(request, response, following)
    return {"events": [shapes.event_object(database.slug, event) for event in page.rows], "next": following}


@api.api_operation(
    READ,
    "/databases/{slug}/runs/{run}/payloads/{name}/",
    operation_id="show_payload",
    summary="One payload",
    response={200: schemas.Payload, ERRORS: schemas.Problem},
    openapi_extra=parameters.described(
        *parameters.VALUE,
        answer="The value; or the bytes as stored, where the header Durascope-Truncated says if they lack their end.",
        content=RAW,
    ),
)
def show_payload(request: HttpRequest, slug: SlugSegment, run: RunSegment, name: PayloadName) -> object:
    """Decoded, or with ?raw the bytes as stored. Nothing in it is ever executed."""
    query = _query(request)
    lookup.refuse_unknown(query, ("limit", "raw"))
    limit = lookup.whole_number(
        query, "limit", default=parameters.DEFAULT_VALUE_LIMIT, least=1, most=parameters.MAX_VALUE_LIMIT
    )
    if any(query.get("raw", ())):
        raise BadFilter("raw takes no value.", remedy="Ask for ?raw.")

    def read(engine: Engine) -> Body:
        return engine.payload(lookup.run_id(engine, run), name)

    body = served().database(slug).read(read)
    return _raw(body) if "raw" in query else _decoded(body, limit)


def _decoded(body: Body, limit: int) -> shapes.Json:
    decoded = decode(body.payload.encoding, body.data, truncated=body.truncated)
    value, cut = None, False
    if decoded.tree is not None:
        tree, cut = excerpt(decoded.tree, limit)
        value = to_json(tree)
    return {
        "encoding": body.payload.encoding,
        "size_bytes": body.payload.size_bytes,
        "truncated": body.truncated or cut,
        "value": value,
        "problem": decoded.problem or None,
    }


def _raw(body: Body) -> HttpResponse:
    # A file that lacks its end must not be taken for the whole: its name and a header say so.
    name = f"{body.payload.name}.cut" if body.truncated else body.payload.name
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        "Durascope-Truncated": str(body.truncated).lower(),
    }
    return HttpResponse(body.data, content_type="application/octet-stream", headers=headers)


def _query(request: HttpRequest) -> lookup.Query:
    return dict(request.GET.lists())


def _chosen(slugs: Sequence[str]) -> tuple[Database, ...]:
    """The databases asked for, all where none is named. Raises BadFilter for one that isn't served."""
    databases = served().databases()
    wanted = {slug for slug in slugs if slug}
    for slug in wanted - {database.slug for database in databases}:
        raise BadFilter(f"db={slug[:80]!r} is not one of {', '.join(database.slug for database in databases[:20])}.")
    return tuple(database for database in databases if not wanted or database.slug in wanted)


def _partial(partial: Sequence[tuple[str, str]]) -> list[shapes.Json]:
    return [{"database": slug, "error": shapes.PARTLY_READ, "detail": detail} for slug, detail in partial]


def _link_next(request: HttpRequest, response: HttpResponse, after: str | None) -> None:
    """The address of the next page as a Link header (RFC 8288), so that no client builds one."""
    if after is not None:
        query = request.GET.copy()
        query["after"] = after
        response.headers["Link"] = f'<{request.path}?{query.urlencode()}>; rel="next"'
