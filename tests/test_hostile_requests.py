"""Requests that no browser of ours would send, against the real command: refused in words, never a hang, never a trace of us."""

import base64
import contextlib
import json
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.dbos_files import ZOO, sql
from tests.serving import ROOT, Answer, Served, served
from tests.wire import abort, answer_on, answers_on, connected, place, request, say

SLUG = "zoo"
RUN = "wf-declined"
PAGE = f"/db/{SLUG}/runs/{RUN}/"
DATABASE = f"/api/v1/databases/{SLUG}/"
JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
# Every address that answers a POST: those of forms, and those of JSON.
FORMS = (
    f"{PAGE}retry/",
    f"{PAGE}retry/copy/",
    "/retries/plan/",
    "/retries/1/release/",
    "/retries/jobs/1/cancel/",
)
WRITES = (f"{DATABASE}runs/{RUN}/retry/", "/api/v1/retries/", "/api/v1/jobs/1/cancel/")
KINDS = ("/", PAGE, "/static/css/base.css", DATABASE, "/healthz", "/nowhere/")
SLOW = 60  # clients, of two workers with eight threads each

# What may never be in an answer that refuses: where we and Python lie, and how far a request came.
OURS = [text.encode() for text in (str(ROOT), sys.prefix, "site-packages", "Traceback", 'File "', "root:x:0")]


@pytest.fixture(scope="module")
def durascope(
    unpacked: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Path]]:
    folder = tmp_path_factory.mktemp("hostile")
    database = Path(shutil.copy(unpacked(ZOO), folder / f"{SLUG}.sqlite"))
    settings = {"DURASCOPE_STATE": str(folder / "state"), "DURASCOPE_WORKERS": "2"}
    with served(str(database), str(folder / "gone.sqlite"), "--allow-retry", SLUG, **settings) as running:
        yield running, database
        assert running.get("/").status == 200
        running.stop()
    # Nothing that was sent broke anything of ours, nor filled the terminal.
    said = [line for line in running.errors.splitlines() if "Service Unavailable: " not in line]
    assert said == [f"durascope: {folder / 'gone.sqlite'} is missing"]


@pytest.fixture
def site(durascope: tuple[Served, Path]) -> Served:
    return durascope[0]


def refuses(answer: Answer | None, *statuses: int) -> None:
    """It is an answer in our words, with every header, and tells nothing of this machine."""
    assert answer is not None
    assert answer.status in statuses, (answer.status, answer.body[:200])
    guarded(answer)
    assert not [text for text in OURS if text in answer.body]
    kind = answer.headers.get("content-type", "").split(";")[0]
    assert kind in ("text/html", "text/plain", "application/json") or not answer.body
    assert b"gunicorn" not in answer.body.lower()
    assert b"django" not in answer.body.lower()


def guarded(answer: Answer) -> None:
    """It has the headers that every answer has."""
    headers = answer.headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert not re.search(r"unsafe|\*|data:|http", headers["content-security-policy"])
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] in ("same-origin", "no-referrer")
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cache-control"]
    assert "access-control-allow-origin" not in headers
    assert headers.get("content-encoding", "gzip") == "gzip"


# Which name it is asked by, and by whom


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "localhost@evil.example", "evil.example:80",
        "0.0.0.0", "127.1", "2130706433", "0x7f000001", "127.0.0.2", "[::ffff:127.0.0.1]", "[::]", "169.254.169.254",
        "localhost:80:80", "localhost:port", "localhost/", "local host", "localhost,evil.example", "", "*", "\xe9vil", "a" * 4000,
    ],
)  # fmt: skip
def test_a_name_that_is_not_ours_is_refused_everywhere(site: Served, host: str) -> None:
    for path in KINDS:
        refuses(say(site, request(path, host=host)), 400)


def test_what_a_proxy_would_say_of_the_host_is_not_believed(site: Served) -> None:
    for header in ("X-Forwarded-Host", "X_Forwarded_Host", "X-Host", "Forwarded", "X-Original-URL", "X-Rewrite-URL"):
        answer = say(site, request(PAGE.rstrip("/"), f"{header}: evil.example"))
        assert answer is not None
        assert (answer.status, answer.headers["location"]) == (301, PAGE)
    refuses(say(site, request("/", "Host: evil.example")), 400)
    refuses(say(site, request("http://evil.example/", host="evil.example")), 400)


def foreign(site: Served) -> list[str]:
    """What a browser adds when a page of another origin sends something."""
    port = place(site)[1]
    origins = [
        "https://evil.example", "null", "", "file://", f"https://127.0.0.1:{port}", "http://127.0.0.1", f"http://localhost:{port}",
        f"http://127.0.0.1:{port + 1}", f"http://127.0.0.1:{port}.evil.example", f"http://127.0.0.1:{port}/", "http://[::1]",
    ]  # fmt: skip
    return [f"Origin: {origin}" for origin in origins] + [
        f"Sec-Fetch-Site: {site}" for site in ("cross-site", "same-site", "evil")
    ]


@pytest.mark.parametrize("path", [*FORMS, *WRITES])
def test_a_page_of_another_origin_can_send_nothing_to_any_address(durascope: tuple[Served, Path], path: str) -> None:
    site, database = durascope
    host = "{}:{}".format(*place(site))
    before = sql(database, "SELECT count(*) FROM workflow_status")
    for header in foreign(site):
        refuses(say(site, request(path, header, FORM, method="POST", host=host, body=b"reason=x")), 403)
        refuses(say(site, request(path, header, JSON, method="POST", host=host, body=b'{"reason":"x"}')), 403)
    assert sql(database, "SELECT count(*) FROM workflow_status") == before


@pytest.mark.parametrize("path", FORMS)
def test_a_form_needs_the_token_of_our_own_page(site: Served, path: str) -> None:
    own = "Origin: http://localhost"
    for cookie in ((), ("Cookie: durascope_csrf=" + "x" * 32,), ("Cookie: durascope_csrf=",)):
        for body in (b"reason=x", b"csrfmiddlewaretoken=" + b"y" * 64, b"csrfmiddlewaretoken="):
            refuses(say(site, request(path, own, FORM, *cookie, method="POST", body=body)), 403)


@pytest.mark.parametrize("path", WRITES)
def test_json_is_taken_from_what_no_foreign_form_can_send(site: Served, path: str) -> None:
    for kind in (
        "text/plain", "text/plain; application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b",
        "application/jsonx", "application/xml", "", "json", "\xe9", ",application/json",
    ):  # fmt: skip
        refuses(say(site, request(path, f"Content-Type: {kind}", method="POST", body=b"{}")), 415)


# What it is asked


ODD = (
    "x", "%00", "%FF%FE", "-1", "0", "1e9", "99999999999999999999", "²", "%F0%9F%92%A9", "'%22%3E<script>", "%0d%0aSet-Cookie:a=b",
    "../..", "[]", "{}", "W10", "WzFd", "W251bGwsbnVsbF0", "a" * 4001, "None", "NaN", "${7*7}", "{{7*7}}", "%25s%25n",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", ["after", "limit", "status", "since", "until", "active_at", "root", "recovered", "nonsense"]
)
def test_a_bad_value_is_refused_by_every_list_in_words(site: Served, name: str) -> None:
    lists = ("/runs/", f"/db/{SLUG}/runs/", "/api/v1/runs/", f"{DATABASE}runs/")
    for path in (*lists, f"{DATABASE}runs/{RUN}/events/") if name in ("after", "limit") else lists:
        for value in ODD:
            answer = say(site, request(f"{path}?{name}={value}"))
            assert answer is not None
            assert "set-cookie" not in answer.headers
            if name == "limit" and value == "0" and answer.status == 200:
                raise AssertionError("a list of none")
            if answer.status != 200:
                refuses(answer, 400)
            elif name in ("status", "since", "until", "active_at", "root", "recovered"):
                raise AssertionError((path, name, value))


def test_a_cursor_cannot_be_made_up(site: Served) -> None:
    for place_ in ([1, None], ["x" * 3000, "y"], [10**30, "a"], [1.5, "a"], [True, "a"], {"at": 1}, [[], []], "x"):
        text = base64.urlsafe_b64encode(json.dumps(place_).encode()).decode().rstrip("=")
        for path in ("/api/v1/runs/", f"{DATABASE}runs/", "/runs/", f"/db/{SLUG}/runs/"):
            answer = say(site, request(f"{path}?after={text}"))
            assert answer is not None
            if answer.status != 200:  # a place between runs may lie anywhere
                refuses(answer, 400)


@pytest.mark.parametrize("size", [8_190, 100_000, 1_000_000])
def test_an_address_that_is_too_long_is_414(site: Served, size: int) -> None:
    for path in ("/runs/?q=", f"{DATABASE}runs/?q=", "/db/", "/static/", f"/db/{SLUG}/runs/"):
        for character in ("a", "%41", "&", "../"):
            refuses(say(site, request(path + character * (size // len(character)))), 414)
    said = say(site, request(f"{DATABASE}runs/?q={'a' * size}"))
    assert said is not None
    assert json.loads(said.body)["error"] == "AddressTooLong"


def test_headers_that_are_too_long_or_too_many_are_431(site: Served) -> None:
    for headers in (
        [f"Cookie: {'a' * 9_000}"], [f"X: {'a' * 100_000}"], [f"X-{'a' * 9_000}: 1"], ["A: b"] * 101, ["A: b"] * 100_000,
        [f"Cookie: {'a=b; ' * 6_000}"],
    ):  # fmt: skip
        refuses(say(site, request("/", *headers)), 431)


@pytest.mark.parametrize(
    "method",
    ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "PURGE", "FOO", "get", "POST", "G\xc9T", "GET\t", ""],
)  # fmt: skip
def test_a_method_that_is_not_asked_for_is_refused(site: Served, method: str) -> None:
    for path in (*KINDS, f"{DATABASE}runs/", *WRITES):
        if method == "POST" and path in WRITES:
            continue
        answer = say(site, request(path, method=method))
        refuses(answer, 400, 405)
        assert answer is not None
        if answer.status == 405 and path in WRITES:
            assert "POST" in answer.headers["allow"]
    refuses(say(site, request(PAGE, "X-HTTP-Method-Override: DELETE", method="POST")), 405)


UPWARDS = (
    "../",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    "..%5c",
    "..\\",
    "%252e%252e%252f",
    "....//",
    "..;/",
    "%c0%ae%c0%ae/",
    "..%00/",
)


@pytest.mark.parametrize("upwards", UPWARDS)
def test_no_address_leads_to_a_file_of_this_machine(site: Served, upwards: str) -> None:
    for start in (
        "/",
        "/static/",
        "/static/css/",
        f"/db/{SLUG}/",
        f"{PAGE}payloads/",
        f"{DATABASE}runs/{RUN}/payloads/",
    ):
        for target in ("etc/passwd", "pyproject.toml", "inspector/settings.py", f"{SLUG}.sqlite"):
            for times in (1, 3, 12):
                path = start + upwards * times + target
                refuses(say(site, request(path)), 301, 400, 404)  # 301: to itself with a slash
                refuses(say(site, request(f"{path}/")), 400, 404)
    for path in ("/static//etc/passwd", "/static/%2fetc%2fpasswd", "//etc/passwd", "/static/", "/static/css/", "/static/css",
                 "/static/file:///etc/passwd", "/static/css/base.css%00.png", "/static/css/base.css/", "/%00"):  # fmt: skip
        refuses(say(site, request(path)), 400, 404)


def test_a_leading_slash_leads_to_no_other_site(site: Served) -> None:
    for path in (
        "//evil.example",
        "//evil.example/%2e%2e",
        "/\\evil.example",
        "/%5cevil.example",
        "//evil.example/runs",
    ):
        answer = say(site, request(path))
        assert answer is not None
        if answer.status != 404:
            assert answer.status == 301
            assert not urlsplit(answer.headers["location"]).netloc


def test_a_setting_in_the_address_can_add_no_header(site: Served) -> None:
    for value in ("%0d%0aX-Evil:1", "a%3b%20Domain=evil.example", "%22%3b%20Path=/", "%ff%0a"):
        for name in ("tz", "theme", "hide"):
            answer = say(site, request(f"/runs/?{name}={value}"))
            assert answer is not None
            assert "x-evil" not in answer.headers
            if cookie := answer.headers.get("set-cookie"):
                attributes = [part.strip().lower() for part in re.sub(r'"[^"]*"', "", cookie).split(";")[1:]]
                assert "samesite=strict" in attributes
                assert "httponly" in attributes
                assert not [part for part in attributes if part.startswith("domain")]


# What is sent with it


def test_a_body_too_large_is_refused_before_it_comes(site: Served) -> None:
    for length in ("2621441", "1000000000000", "9" * 17):
        for path, status in (*((path, 413) for path in (*FORMS, *WRITES)), ("/", 413)):
            raw = request(path, JSON, f"Content-Length: {length}", method="POST")
            refuses(say(site, raw + b"{"), status)
    refuses(say(site, request(WRITES[0], JSON, method="POST", body=b"[" * 3_000_000)), 413)


def test_a_body_in_pieces_is_refused_and_so_is_one_of_unclear_length(site: Served) -> None:
    pieces = b"2\r\n{}\r\n0\r\n\r\n"
    for method, path in (("GET", "/"), ("POST", WRITES[0]), ("GET", DATABASE)):
        for coding in ("chunked", "gzip, chunked", "identity", "CHUNKED", "x", ""):
            refuses(say(site, request(path, f"Transfer-Encoding: {coding}", method=method) + pieces), 411)
        for lengths in (
            ["2", "3"],
            ["2", "2"],
            ["-1"],
            ["+2"],
            ["0x2"],
            ["2 "],
            ["two"],
            ["1,2"],
            ["9" * 30],
            [""],
            ["²"],
        ):
            headers = [f"Content-Length: {length}" for length in lengths]
            answer = say(site, request(path, JSON, *headers, method=method) + b"{}")
            if lengths != ["2 "]:
                refuses(answer, 400)
        refuses(
            say(site, request(path, "Content-Length: 2", "Transfer-Encoding: chunked", method=method) + pieces), 411
        )


def test_a_body_that_nobody_asked_for_is_passed_over(site: Served) -> None:
    with connected(site) as connection:
        for _ in range(3):
            connection.sendall(request("/healthz", close=False, body=b"GET /evil HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            answer = answer_on(connection)
            assert answer is not None
            assert answer.status == 200


@pytest.mark.parametrize("path", WRITES)
def test_what_is_no_json_or_not_the_json_that_is_asked_for_is_refused(site: Served, path: str) -> None:
    for body in (
        b" ", b"{", b"[1]", b'"x"', b"null", b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"reason": "\\ud800"}', b"[" * 100_000,
        b'{"a":' * 50_000, b'{"digest": NaN}', b'{"count": 1e999}', b'{"count": ' + b"9" * 5_000 + b"}", b'{"digest": {}}',
        b'{"__proto__": {}}', b'{"digest": "x", "reason": "x", "more": 1}', b'{"runs": [], "reason": "x", "count": 0}',
        b'{"runs": [{"href": "file:///etc/passwd", "digest": "x"}], "reason": "x", "count": 1}',
        b'{"runs": [{"href": "http://evil.example/", "digest": "x"}], "reason": "x", "count": 1}', b"0" * 2_000_000,
    ):  # fmt: skip
        refuses(say(site, request(path, JSON, method="POST", body=body)), 400, 404, 422)


def test_a_form_of_very_many_fields_or_none_at_all_is_refused(site: Served) -> None:
    for kind, body in (
        (FORM, b"&".join(b"a=%d" % number for number in range(20_000))), (FORM, b"%" * 100_000), (FORM, b"\xff=\xff"),
        ("Content-Type: multipart/form-data", b"x"), ("Content-Type: multipart/form-data; boundary=b", b"--b\r\n" * 10_000),
        ("Content-Type: multipart/form-data; boundary=" + "b" * 300, b"x"), (f"{FORM}; charset=evil", b"a=b"),
    ):  # fmt: skip
        for path in FORMS:
            refuses(say(site, request(path, kind, method="POST", body=body)), 400, 403)


def test_what_is_no_http_is_refused_or_closed(site: Served) -> None:
    for raw in (
        b"\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n",
        b"GET / HTTP/1.1\nHost: localhost\n\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", b"GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: \x00\r\n\r\n", b"GET \x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n\r\n", b"EHLO evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: evil\r\n\r\n",
    ):  # fmt: skip
        refuses(say(site, raw), 400)


def test_an_old_client_is_answered_and_several_requests_at_once_in_their_order(site: Served) -> None:
    old = say(site, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert old is not None
    assert (old.status, old.headers["connection"]) == (200, "close")
    paths = ["/healthz", "/nowhere/", "/static/css/base.css", PAGE.rstrip("/")] * 5
    with connected(site) as connection:
        connection.sendall(b"".join(request(path, close=False) for path in paths))
        found = [answer.status for answer in answers_on(connection, *["GET"] * len(paths))]
    assert found == [200, 404, 200, 301] * 5


# How it is sent


def trickle(connections: list[socket.socket], raw: bytes, site: Served, times: int = 6) -> None:
    """Each sends a byte, and another client is answered; some times over."""
    for number in range(times):
        for connection in connections:
            connection.send(raw[number : number + 1])
        assert site.get("/healthz").status == 200
        assert site.get(PAGE).status == 200


@pytest.mark.parametrize(
    "begins",
    [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", request(WRITES[0], JSON, "Content-Length: 1000", method="POST")],
    ids=["nothing", "headers", "body"],
)
def test_clients_that_send_a_byte_now_and_then_stop_no_other(site: Served, begins: bytes) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(site)) for _ in range(SLOW)]
        for connection in slow:
            connection.sendall(begins)
        trickle(slow, b"GET / HTTP" if not begins else b'{"reason": "', site)


def test_idle_clients_stop_no_other(site: Served) -> None:
    with ExitStack() as stack:
        for _ in range(SLOW):
            stack.enter_context(connected(site))
        assert site.get(PAGE).status == 200
        used = [stack.enter_context(connected(site)) for _ in range(SLOW)]
        for connection in used:  # idle after an answer
            connection.sendall(request("/healthz", close=False))
        assert [answer.status for connection in used if (answer := answer_on(connection))] == [200] * SLOW
        for connection in used:
            connection.sendall(b"GET")
        assert site.get(PAGE).status == 200


def test_clients_that_do_not_read_what_they_asked_for_stop_no_other(site: Served) -> None:
    with ExitStack() as stack:
        deaf = [stack.enter_context(connected(site, takes=2048)) for _ in range(SLOW)]
        for connection in deaf:
            connection.sendall(request("/static/vendor/htmx-4.0.1.min.js", close=False) * 20)
        for _ in range(3):
            assert site.get(PAGE).status == 200
        # They are not forgotten either: whoever reads gets it all.
        assert [answer.status for answer in answers_on(deaf[0], "GET", "GET")] == [200, 200]


def test_clients_that_ask_and_do_not_close_stop_no_other(site: Served) -> None:
    with ExitStack() as stack:
        for _ in range(SLOW):
            stack.enter_context(connected(site)).sendall(request("/healthz"))
        assert site.get(PAGE).status == 200


def test_clients_that_go_away_at_any_point_harm_nobody(site: Served) -> None:
    raw = request(PAGE) + request(WRITES[0], JSON, method="POST", body=b'{"reason": "x"}')
    for sent in range(0, len(raw), 7):
        with connected(site) as half:
            half.sendall(raw[:sent])
            half.shutdown(socket.SHUT_WR)
            first = answer_on(half)
            assert (first is None) is (sent < len(request(PAGE)))
        with connected(site) as gone:
            gone.sendall(raw[:sent])
            abort(gone)
    assert site.get(PAGE).status == 200


def test_500_clients_at_once_are_all_answered(site: Served) -> None:
    paths = ("/healthz", PAGE, "/static/css/base.css", "/runs/", DATABASE)
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(site)) for _ in range(500)]
        for number, client in enumerate(clients):
            client.sendall(request(paths[number % len(paths)]))
        found = [answer_on(client) for client in clients]
    assert [answer.status for answer in found if answer] == [200] * 500


# What every answer carries


def kinds(site: Served) -> Iterator[tuple[int, Mapping[str, str], Answer | None]]:
    """A request for every kind of answer, with its status."""
    tag = site.get(f"/db/{SLUG}/runs/").text.partition('data-live="')[2].partition('"')[0]
    etag = site.get("/api/v1/databases/").headers["etag"]
    modified = site.get("/static/css/base.css").headers["last-modified"]
    asked: list[tuple[int, str, list[str], str]] = [
        (200, "GET", [], "/"), (200, "HEAD", [], "/"), (200, "GET", [], PAGE), (200, "GET", [], f"{PAGE}retry/"),
        (200, "GET", [], "/api/v1/openapi.json"), (200, "GET", [], "/api/v1/docs"), (200, "GET", [], "/healthz"),
        (200, "GET", ["Accept-Encoding: gzip"], PAGE), (200, "GET", ["HX-Request: true", "HX-Request-Type: partial"], "/runs/"),
        (200, "GET", [], f"{DATABASE}runs/{RUN}/payloads/run.input/?raw"), (200, "GET", [], f"{PAGE}markdown/"),
        (200, "GET", [], "/static/css/base.css"), (304, "GET", [f"If-Modified-Since: {modified}"], "/static/css/base.css"),
        (304, "GET", [f"If-None-Match: {etag}"], "/api/v1/databases/"),
        (204, "GET", [f"Durascope-Tag: {tag}"], f"/db/{SLUG}/runs/"),
        (301, "GET", [], "/runs"), (302, "GET", [], f"/search/?q={RUN}"), (400, "GET", [], "/runs/?status=x"),
        (400, "GET", [], "/api/v1/runs/?status=x"), (403, "POST", [FORM], FORMS[0]), (404, "GET", [], "/nowhere/"),
        (404, "GET", [], "/static/nowhere.css"), (404, "GET", [], "/api/v1/nowhere/"), (405, "PUT", [], "/"),
        (415, "POST", [], WRITES[0]), (503, "GET", [], "/api/v1/databases/gone/runs/"), (503, "GET", [], "/db/gone/runs/x/"),
    ]  # fmt: skip
    for status, method, headers, path in asked:
        yield status, {"path": path}, say(site, request(path, *headers, method=method))


def test_every_kind_of_answer_has_every_header(site: Served) -> None:
    for status, asked, answer in kinds(site):
        assert answer is not None
        assert answer.status == status, (asked, answer.status)
        guarded(answer)


def test_cookies_of_ours_are_strict_and_out_of_reach_of_scripts(site: Served) -> None:
    seen = set()
    for path in (f"{PAGE}retry/", "/?tz=local&theme=dark&hide=on", "/runs/?theme=light", f"{PAGE}?tz=utc"):
        with connected(site) as connection:
            connection.sendall(request(path))
            raw = b""
            with contextlib.suppress(ConnectionError):
                while data := connection.recv(65536):
                    raw += data
        cookies = re.findall(rb"(?im)^set-cookie: (.*?)\r$", raw.partition(b"\r\n\r\n")[0] + b"\r\n")
        assert cookies, path
        for cookie in cookies:
            seen.add(cookie.partition(b"=")[0])
            assert b"samesite=strict" in cookie.lower()
            assert b"httponly" in cookie.lower()
            assert b"path=/" in cookie.lower()
            assert b"domain" not in cookie.lower()
    assert seen == {b"durascope_csrf", b"durascope_tz", b"durascope_theme", b"durascope_hide"}


def test_an_address_can_be_written_in_no_way_that_reaches_another_run(site: Served) -> None:
    for run in (quote("../" + RUN, safe=""), f"{RUN}%00", f"{RUN}/..", f"./{RUN}", f"{RUN}%2F", f"{RUN};x", f"{RUN}\\"):
        refuses(say(site, request(f"{DATABASE}runs/{run}/")), 400, 404)
