"""How a view answers: a page, which remembers what its address chose; after a form that was refused, the page that says so."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from runs.errors import DurascopeError
from runs.views.preferences import remember


class Refusal(HttpResponse):
    """A page that itself says what went wrong: nothing is to be put in its place."""


def page(request: HttpRequest, template: str, context: Mapping[str, Any]) -> HttpResponse:
    """The page."""
    response = render(request, template, dict(context))
    remember(request, response)
    return response


def answered(
    request: HttpRequest, template: str, context: Mapping[str, Any], problem: DurascopeError | None
) -> HttpResponse:
    """The page shown again with what kept a form from being done, and all that was typed: with the status of that problem; 200
    where there is none."""
    shown = render(request, template, {**context, "problem": problem})
    response = Refusal(shown.content, status=problem.status) if problem else shown
    remember(request, response)
    return response
