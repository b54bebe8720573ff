"""A whole copy of a database, saved before a retry is confirmed: asked for on the page of its plan, and named there afterwards."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from runs import links, lookup, planning, saving
from runs.catalogue import served
from runs.errors import DurascopeError
from runs.views import retry


def copy(request: HttpRequest, slug: str, segment: str) -> HttpResponse:
    """``POST /db/<slug>/runs/<id>/retry/copy/`` saves it; either way the plan follows, with the options of the address."""
    database = served().database(slug)
    run_id = database.read(lambda engine: lookup.run_id(engine, segment))
    query = request.GET.copy()
    query.pop("copy", None)
    if request.method == "POST":
        try:
            planning.require_allowed(slug)
            query["copy"] = saving.save_copy(database).stem
        except DurascopeError as problem:
            return retry.shown(request, slug, segment, problem)
    options = f"?{query.urlencode()}" if query else ""
    return HttpResponseRedirect(f"{links.plan_page(slug, run_id)}{options}#k5")  # where it is confirmed
