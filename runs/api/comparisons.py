"""The endpoint of comparisons: two databases, and how they differ."""

from dataclasses import asdict

from django.http import HttpRequest
from ninja import Router, Status

from runs import comparing, lookup
from runs.api import comparison_schemas, parameters, schemas
from runs.catalogue import served
from runs.compare import asking
from runs.compare.records import Progress
from runs.compare.shapes import comparison_object
from runs.errors import BadFilter, Unreadable

router = Router()

READ = ["GET", "HEAD"]
HOW: tuple[parameters.Parameter, ...] = (
    parameters.query("a", "The slug of database A.", {"type": "string"}, required=True),
    parameters.query("b", "The slug of database B.", {"type": "string"}, required=True),
    parameters.query(
        "match", "What runs are matched by.", {"type": "string", "enum": list(asking.MATCHES), "default": asking.AUTO}
    ),
    parameters.query("path", "A path into the input, like $.order_id, by which runs are matched.", {"type": "string"}),
    *parameters.COMPARED_BY,
)
_ERRORS = (400, 404, 414, 422, 423, 503)


@router.api_operation(
    READ,
    "/compare/",
    operation_id="compare_databases",
    summary="Two databases",
    response={
        200: comparison_schemas.Comparison,
        202: comparison_schemas.Comparing,
        frozenset(_ERRORS): schemas.Problem,
    },
    openapi_extra=parameters.described(
        *HOW,
        answer="How they are related, and what differs.",
        errors=_ERRORS,
        begun="They are being compared: ask again.",
    ),
)
def compare_databases(request: HttpRequest) -> object:
    """Kept until one of the files changes. Large ones are compared in the background: until then the answer is 202."""
    query = dict(request.GET.lists())
    lookup.refuse_unknown(query, [parameter["name"] for parameter in HOW])
    a, b = lookup.last(query, "a"), lookup.last(query, "b")
    if not a or not b:
        raise BadFilter("A comparison needs two databases, a and b.")
    options = asking.options(
        lookup.last(query, "match") or "",
        lookup.last(query, "path") or "",
        query.get("ignore", ()),
        lookup.last(query, "tolerance") or "",
    )
    found = comparing.find(served().database(a), served().database(b), options)
    if isinstance(found, Progress):
        if found.problem:
            raise Unreadable(found.problem)
        return Status(202, asdict(found))
    return comparison_object(found.comparison)
