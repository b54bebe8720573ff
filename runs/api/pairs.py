"""The endpoint of two runs: every step of both, and where and why they first part."""

from django.http import HttpRequest
from ninja import Router

from runs import lookup
from runs.api import pair_schemas, parameters, schemas
from runs.catalogue import served
from runs.compare import asking
from runs.compare.pair import compare_runs
from runs.compare.pair_shapes import run_comparison_object
from runs.errors import BadFilter

router = Router()

READ = ["GET", "HEAD"]
SIDES = ("a", "a_run", "b", "b_run")
_ERRORS = (400, 404, 414, 422, 423, 503)
_HOW: tuple[parameters.Parameter, ...] = (
    parameters.query("a", "The slug of the database of run A.", {"type": "string"}, required=True),
    parameters.query("a_run", "The id of run A.", {"type": "string"}, required=True),
    parameters.query("b", "The slug of the database of run B: it may be the same.", {"type": "string"}, required=True),
    parameters.query("b_run", "The id of run B.", {"type": "string"}, required=True),
    *parameters.COMPARED_BY,
)


@router.api_operation(
    READ,
    "/compare/runs/",
    operation_id="compare_runs",
    summary="Two runs",
    response={200: pair_schemas.RunComparison, frozenset(_ERRORS): schemas.Problem},
    openapi_extra=parameters.described(*_HOW, answer="Where they first part, and every step of both.", errors=_ERRORS),
)
def compare_two_runs(request: HttpRequest) -> object:
    """Steps are aligned by name, branch by branch; payloads are compared by value."""
    query = dict(request.GET.lists())
    lookup.refuse_unknown(query, [parameter["name"] for parameter in _HOW])
    a, a_run, b, b_run = (lookup.last(query, name) or "" for name in SIDES)
    if not (a and a_run and b and b_run):
        raise BadFilter("Two runs are needed: a, a_run, b and b_run.")
    options = asking.options(ignore=query.get("ignore", ()), tolerance=lookup.last(query, "tolerance") or "")
    return run_comparison_object(compare_runs(served().database(a), a_run, served().database(b), b_run, options))
