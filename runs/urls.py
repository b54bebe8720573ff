"""Every page's address. Run ids are written by runs.addresses, so that any id survives a server and a router."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from runs import addresses
from runs.views import (
    bulk,
    compare,
    compare_run,
    database,
    fleet,
    jobs,
    markdown,
    pages,
    payload,
    release,
    retry,
    retry_copy,
    run,
    runs,
    search,
)


class Segment(StringConverter):
    """A run id as runs.addresses writes it; decoding it is the view's affair, since long ids need the database."""

    regex = addresses.PATTERN


class Slug(StringConverter):
    """The short name of a database."""

    regex = "[A-Za-z0-9_.~-]+"


class PayloadName(StringConverter):
    """A records.Payload's name."""

    regex = "[A-Za-z0-9_~.-]+"


register_converter(Segment, "id")
register_converter(Slug, "db")
register_converter(PayloadName, "payload")

urlpatterns = [
    path("", fleet.fleet),
    path("runs/", runs.runs),
    path("search/", search.search),
    path("keys/", pages.keys),
    path("db/<db:slug>/", database.database),
    path("db/<db:slug>/runs/", runs.runs),
    path("db/<db:slug>/runs/<id:segment>/", run.run),
    path("compare/", compare.choose),
    path("compare/run/", compare_run.run),
    path("compare/runs/", compare.pairs),
    path("compare/lone/", compare.lone),
    path("compare/steps/", compare.steps),
    path("compare/errors/", compare.errors),
    path("compare/settings/", compare.settings),
    path("compare/integrity/", compare.integrity),
    path("compare/export/", compare.export),
    path("compare/again/", compare.again),
    path("compare/cancel/", compare.cancel),
    path("retries/", jobs.index),
    path("retries/plan/", bulk.plan),
    path("retries/jobs/<int:number>/", jobs.job),
    path("retries/jobs/<int:number>/cancel/", jobs.cancel),
    path("retries/<int:number>/", retry.retry),
    path("retries/<int:number>/release/", release.release),
    path("db/<db:slug>/runs/<id:segment>/retry/", retry.plan),
    path("db/<db:slug>/runs/<id:segment>/retry/copy/", retry_copy.copy),
    path("db/<db:slug>/runs/<id:segment>/markdown/", markdown.markdown),
    path("db/<db:slug>/runs/<id:segment>/payloads/<payload:name>/", payload.payload),
    path("db/<db:slug>/runs/<id:segment>/<str:tab>/", run.run),
]
