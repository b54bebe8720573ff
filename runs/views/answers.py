"""Pages that answer a form: shown again, with what kept it from being done, and all that was typed."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from runs.errors import DurascopeError
from runs.views.preferences import remember


class Refusal(HttpResponse):
    """A page that itself says what went wrong: nothing is to be put in its place."""


def answered(
    request: HttpRequest, template: str, context: Mapping[str, Any], problem: DurascopeError | None
) -> HttpResponse:
    """The page, with the status of the problem that it says; 200 where there is none."""
    page = render(request, template, {**context, "problem": problem})
    response = Refusal(page.content, status=problem.status) if problem else page
    remember(request, response)
    return response
