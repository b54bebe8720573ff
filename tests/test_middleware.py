"""Headers on every answer, and errors in the form that the request can read."""

import json
import logging
from typing import Any

import pytest
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.test import Client
from django.urls import path

from inspector.logging import OneLine
from runs.errors import DatabaseLocked, RunNotFound

SECRET = "card 4111 1111"


def _fine(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("<p>fine</p>")


def _run_not_found(_request: HttpRequest) -> HttpResponse:
    raise RunNotFound("<script>alert(1)</script> is none.", remedy="Look in the list.")


def _locked(_request: HttpRequest) -> HttpResponse:
    raise DatabaseLocked


def _http404(_request: HttpRequest) -> HttpResponse:
    raise Http404("no such thing")


def _broken(_request: HttpRequest) -> HttpResponse:
    raise ValueError(SECRET)


def _strict(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"raw", headers={"Content-Security-Policy": "sandbox", "Cache-Control": "no-store"})


def _library(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"detail": [{"loc": ["query", "limit"]}]}, status=422)


def _own_words(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"error": "BadFilter", "detail": "status=x"}, status=400)


urlpatterns = [
    path("fine/", _fine),
    path("missing/", _run_not_found),
    path("locked/", _locked),
    path("broken/", _broken),
    path("strict/", _strict),
    path("api/missing/", _run_not_found),
    path("api/locked/", _locked),
    path("api/broken/", _broken),
    path("api/http404/", _http404),
    path("api/library/", _library),
    path("api/own/", _own_words),
]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def browser() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.parametrize("address", ["/fine/", "/missing/", "/nowhere/", "/api/missing/", "/static/css/base.css"])
def test_every_answer_has_the_strict_headers(browser: Client, address: str) -> None:
    answer = browser.get(address)
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in answer["Permissions-Policy"]
    answer.close()


def test_pages_are_kept_by_nobody_and_vary_with_htmx(browser: Client) -> None:
    answer = browser.get("/fine/")
    assert answer["Cache-Control"] == "private, no-cache"
    assert "HX-Request-Type" in answer["Vary"]


def test_a_view_may_be_stricter(browser: Client) -> None:
    answer = browser.get("/strict/")
    assert answer["Content-Security-Policy"] == "sandbox"
    assert answer["Cache-Control"] == "no-store"


def test_an_error_is_a_page_with_its_own_status(browser: Client) -> None:
    answer = browser.get("/missing/")
    assert answer.status_code == 404
    text = answer.content.decode()
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert "The database has no run with this id." in text
    assert "&lt;script&gt;" in text
    assert "<script>alert" not in text


def test_htmx_gets_the_error_as_a_fragment(browser: Client) -> None:
    answer = browser.get("/missing/", headers={"HX-Request-Type": "partial"})
    assert answer.status_code == 404
    assert "The database has no run with this id." in answer.content.decode()
    assert "<html" not in answer.content.decode()


@pytest.mark.parametrize(
    ("address", "status", "name"),
    [
        ("/api/missing/", 404, "RunNotFound"),
        ("/api/locked/", 423, "DatabaseLocked"),
        ("/api/http404/", 404, "AddressNotFound"),
        ("/api/nowhere/", 404, "AddressNotFound"),
        ("/api/library/", 422, "BadRequest"),
        ("/api/broken/", 500, "DurascopeError"),
    ],
)
def test_below_api_every_error_is_the_same_object(browser: Client, address: str, status: int, name: str) -> None:
    answer = browser.get(address)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/json")
    body = json.loads(answer.content)
    assert body.keys() == {"error", "detail"}
    assert body["error"] == name
    assert body["detail"]


def test_an_address_below_api_that_is_none_says_where_they_are_listed(browser: Client) -> None:
    for address in ("/api/http404/", "/api/nowhere/"):
        assert json.loads(browser.get(address).content)["detail"].endswith(" /api/v1/docs lists the addresses.")
    assert "/api/v1/docs" not in browser.get("/nowhere/").content.decode()


def test_an_error_object_that_is_ours_already_stays(browser: Client) -> None:
    answer = browser.get("/api/own/")
    assert (answer.status_code, json.loads(answer.content)["error"]) == (400, "BadFilter")


@pytest.mark.parametrize("address", ["/broken/", "/api/broken/"])
def test_a_mistake_of_ours_shows_no_traceback_and_logs_no_text(
    browser: Client, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = browser.get(address)
    assert answer.status_code == 500
    text = answer.content.decode()
    assert SECRET not in text
    assert "Traceback" not in text
    assert "ValueError" not in text
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    line = OneLine().format(record)
    assert "ValueError at " in line
    assert "tests/test_middleware.py:" in line
    assert SECRET not in line
    assert "\n" not in line


def test_the_log_shows_all_when_developing(browser: Client, caplog: pytest.LogCaptureFixture) -> None:
    browser.get("/broken/")
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert f"ValueError: {SECRET}" in OneLine(traceback=True).format(record)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
@pytest.mark.parametrize("address", ["/fine/", "/api/missing/"])
def test_only_reading_is_answered(browser: Client, method: str, address: str) -> None:
    answer: Any = getattr(browser, method)(address)
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


def test_an_unknown_host_gets_a_plain_400(browser: Client) -> None:
    answer = browser.get("/fine/", headers={"Host": "evil.example"})
    assert (answer.status_code, answer["Content-Type"]) == (400, "text/plain; charset=utf-8")
    assert b"fine" not in answer.content
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_an_address_without_its_last_slash_leads_on(browser: Client) -> None:
    answer = browser.get("/fine")
    assert (answer.status_code, answer["Location"]) == (301, "/fine/")
