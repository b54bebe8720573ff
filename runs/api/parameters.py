"""The parameters of the JSON interface, as its OpenAPI document says them; runs.lookup and runs.filters read them."""

from collections.abc import Collection, Mapping
from typing import Any

from runs.filters import MAX_TEXT
from runs.lookup import DEFAULT_LIMIT, MAX_LIMIT
from runs.records import Status

Parameter = Mapping[str, Any]

DEFAULT_VALUE_LIMIT = 4 * 1024 * 1024
MAX_VALUE_LIMIT = 64 * 1024 * 1024


def query(name: str, description: str, schema: Mapping[str, Any], **more: Any) -> Parameter:
    """A parameter of the query; ``more`` are further keys of OpenAPI's."""
    about = {"description": description, "allowEmptyValue": True}  # an empty one counts as left out
    return {"in": "query", "name": name, "required": False, "schema": schema, **about, **more}


def _instant(name: str, description: str) -> Parameter:
    return query(name, description, {"type": "string", "format": "date-time"})


def _text(name: str, description: str) -> Parameter:
    return query(name, description, {"type": "string", "maxLength": MAX_TEXT})


PLACE: tuple[Parameter, ...] = (
    query(
        "limit",
        "How many at most.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    query("after", "Where to go on: the next of the answer before.", {"type": "string"}),
)
FILTERS: tuple[Parameter, ...] = (
    query(
        "status",
        "Runs of this status; give it several times for several.",
        {"type": "array", "items": {"type": "string", "enum": [status.value for status in Status]}},
        style="form",
        explode=True,
    ),
    _text("workflow", "Runs of the workflow of this name."),
    _text("q", "Runs whose id begins with this text, or whose error's text holds it."),
    _instant("since", "Runs created at this instant or later."),
    _instant("until", "Runs created before this instant."),
    _instant("active_at", "Runs that had begun and not ended at this instant."),
    _text("version", "Runs of this version of the application's code."),
    _text("queue", "Runs of this queue."),
    query(
        "root",
        "true: only runs without a parent. false: only those with one. Left out: both.",
        {"type": "string", "enum": ["true", "false"]},
    ),
    query(
        "recovered",
        "false: without failed and cancelled runs of which a retry has succeeded. true: only those. Left out: both.",
        {"type": "string", "enum": ["true", "false"]},
    ),
)
DATABASES: Parameter = query(
    "db",
    "Only the database of this slug; give it several times for several.",
    {"type": "array", "items": {"type": "string"}},
    style="form",
    explode=True,
)
VALUE: tuple[Parameter, ...] = (
    query(
        "limit",
        "About how many bytes of JSON the value may have; what doesn't fit is marked.",
        {"type": "integer", "minimum": 1, "maximum": MAX_VALUE_LIMIT, "default": DEFAULT_VALUE_LIMIT},
    ),
    query(
        "raw",
        "Given without a value: the bytes as stored, as a file.",
        {"type": "string", "maxLength": 0},
    ),
)

COMPARED_BY: tuple[Parameter, ...] = (
    query(
        "ignore",
        "A path into payloads that does not count, like $..created_at; give it several times for several.",
        {"type": "array", "items": {"type": "string"}},
        style="form",
        explode=True,
    ),
    query("tolerance", "By how much durations may differ: 20%,50ms.", {"type": "string"}),
)

STATUSES: Mapping[int, str] = {
    400: "A parameter, or its value, is unknown.",
    404: "There is no such database, run or payload.",
    414: "The address is longer than 8,190 bytes.",
    422: "The file is SQLite of an unknown schema.",
    423: "The database is locked by another process.",
    503: "The database can't be read.",
}


def described(
    *parameters: Parameter,
    answer: str,
    errors: Collection[int] = tuple(STATUSES),
    content: Mapping[str, Any] | None = None,
    begun: str = "",
) -> dict[str, Any]:
    """What the OpenAPI document says of an operation beside what its signature says.

    ``answer`` describes the answer with status 200, ``content`` its forms other than JSON; ``begun`` one with 202, if there is one.
    """
    responses: dict[int, Any] = {status: {"description": STATUSES[status]} for status in errors}
    responses[200] = {"description": answer} | ({"content": content} if content else {})
    if begun:
        responses[202] = {"description": begun}
    return {"parameters": [dict(parameter) for parameter in parameters], "responses": responses}
