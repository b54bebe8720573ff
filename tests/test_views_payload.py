"""The payload page, asked over HTTP: bounded however large the payload, exact where bytes are asked for, silent while hidden."""

import base64
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from html import unescape
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client

from tests.serving import served
from tests.storing import png, store, store_json, store_pickle

MEGABYTE = 1_000_000


@pytest.fixture
def path(fresh: Callable[[str], Path]) -> Path:
    return fresh("mini-3.4.0")


@pytest.fixture
def client(ask: Callable[..., object], path: Path) -> Client:
    ask(f"db={path}")
    return Client()


def page(run: str) -> str:
    return f"/db/db/runs/{run}/payloads/run.output/"


def get(client: Client, address: str, **headers: str) -> str:
    answer = client.get(address, headers=headers)
    assert answer.status_code == 200, (address, answer.status_code)
    return answer.content.decode()


def words(markup: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def output(path: Path, run: str) -> bytes:
    with closing(sqlite3.connect(path)) as connection:
        (value,) = connection.execute(
            "SELECT CAST(output AS BLOB) FROM workflow_output WHERE workflow_uuid = ?", (run,)
        ).fetchone()
    assert isinstance(value, bytes)
    return value


def test_the_page_says_whose_payload_it_is_and_shows_it(client: Client, path: Path) -> None:
    store_pickle(path, "order", {"args": [{"order_id": "ord-1", "n": 2}], "kwargs": {}})
    shown = words(get(client, page("order")))
    assert "Output of shows" in shown
    assert 'order_id : "ord-1"' in shown


def test_a_part_has_an_address_with_the_way_to_it(client: Client, path: Path) -> None:
    store_json(path, "nested", {"a": {"b": [10, 20]}, "c": 1})
    shown = words(get(client, f"{page('nested')}?at=0.0"))
    assert "whole › a › b" in shown
    assert "1 : 20" in shown
    assert "c :" not in shown


def test_a_fragment_holds_the_lines_alone(client: Client, path: Path) -> None:
    store_json(path, "many", {"rows": list(range(250))})
    more = get(client, f"{page('many')}?at=0&from=200", **{"HX-Request-Type": "partial"})
    assert more.startswith("<li")
    assert re.findall(r'data-at="0\.(\d+)"', more) == [str(number) for number in range(200, 250)]
    assert "<html" not in more
    opened = get(client, f"{page('many')}?at=0", **{"HX-Request-Type": "partial"})
    assert opened.startswith('<li data-at="0" data-key=".rows"><details open><summary autofocus><i>rows</i>: [')
    # What htmx selects out of a page, and what a browser asks for, are pages.
    assert "<html" in get(client, f"{page('many')}?at=0", **{"HX-Request-Type": "full"})


@pytest.mark.no_cover  # the same lines again and again
def test_every_link_of_the_tree_leads_to_a_part(client: Client, path: Path) -> None:
    store_json(path, "many", {"rows": [{"a": [{"b": number}] * 30} for number in range(300)]})
    shown = get(client, page("many"))
    links = {unescape(link) for link in re.findall(r'hx-get="([^"]+)"', shown)}
    assert len(links) > 10
    for link in sorted(links)[:3]:
        assert get(client, link, **{"HX-Request-Type": "partial"}).startswith("<li")
        assert "<html" in get(client, link)


@pytest.mark.parametrize("query", ["at=7", "at=0.0", "at=x", "as=picture", "as=image&at=0", "raw&at=0"])
def test_what_is_not_there_is_a_page_that_says_so(client: Client, path: Path, query: str) -> None:
    store_json(path, "small", {"a": 1})
    answer = client.get(f"{page('small')}?{query}")
    assert answer.status_code == 404
    assert "nothing of the kind at this place" in words(answer.content.decode())


@pytest.mark.parametrize("query", ["from=-1", "from=x", "from=²", "from=" + "9" * 10, "as=svg"])
def test_what_can_not_be_understood_is_refused(client: Client, path: Path, query: str) -> None:
    store_json(path, "small", {"a": 1})
    assert client.get(f"{page('small')}?{query}").status_code == 400


def test_a_search_lists_places_marks_them_and_says_what_was_searched(client: Client, path: Path) -> None:
    store_json(
        path, "lines", {"note": "a <b>blue</b> pen", "blue": 1, "rows": [{"colour": f"BLUE {n}"} for n in range(200)]}
    )
    shown = get(client, f"{page('lines')}?find=blue")
    assert "“blue” in 202 places" in words(shown)
    assert "The first 100 are listed." in words(shown)
    assert "All keys and values were searched" in words(shown)
    assert "<i><mark>blue</mark></i>: 1" in shown
    assert "a &lt;b&gt;<mark>blue</mark>&lt;/b&gt; pen" in shown
    links = [unescape(link) for link in re.findall(r'<li><a class="id" href="([^"]+)"', shown)]
    assert len(links) == 100
    assert links[:2] == ["#at-0", "#at-1"]
    for link in links[:5] + links[5::10]:
        assert_shows(client, page("lines"), link, "at-")


def assert_shows(client: Client, address: str, link: str, what: str) -> None:
    """The page that a hit leads to has the place of its fragment, and the found text is marked there."""
    parts = urlsplit(link)
    target = f"{address}?{parts.query}" if parts.query else f"{address}?find=blue"
    shown = get(client, target)
    (line,) = re.findall(rf'id="{re.escape(parts.fragment)}".*?</li>', shown, re.DOTALL)
    assert parts.fragment.startswith(what)
    assert "<mark>" in line


def test_a_hit_deep_in_a_long_text_leads_to_that_part_of_it(client: Client, path: Path) -> None:
    store_json(path, "long", {"rows": ["-" * 900_000 + "blue sky" + "-" * 900_000]})
    shown = get(client, f"{page('long')}?find=blue")
    (link,) = (unescape(link) for link in re.findall(r'<li><a class="id" href="([^"]+)"', shown))
    assert parse_qs(urlsplit(link).query) == {"find": ["blue"], "at": ["0.0"], "from": ["899800"]}
    assert "<mark>blue</mark> sky" in get(client, page("long") + link.partition("#")[0])


def test_a_hit_far_along_a_container_leads_there(client: Client, path: Path) -> None:
    store_json(path, "far", {"rows": [{"n": number} for number in range(100)] + [{"colour": "blue"}]})
    shown = get(client, f"{page('far')}?find=blue")
    (link,) = (unescape(link) for link in re.findall(r'<li><a class="id" href="([^"]+)"', shown))
    assert link == "?find=blue&at=0.100&from=0#at-0.100.0"
    assert_shows(client, page("far"), link, "at-0.100.0")


def test_a_search_says_what_it_could_not_search(client: Client, path: Path) -> None:
    store(path, "broken", '{"a": 1, "b": [2, 3', "portable_json")
    shown = words(get(client, f"{page('broken')}?find=zebra"))
    assert "“zebra” is not in it" in shown
    assert "Not searched: what was left out (the JSON text ends too early)." in shown


def test_a_partial_payload_stands_between_hatched_bands_with_a_sentence(client: Client, path: Path) -> None:
    store(path, "broken", '{"a": 1, "b": [2, 3', "portable_json")
    shown = get(client, page("broken"))
    before, _, after = shown.partition('<div class="json"')
    assert 'fill="url(#p-cut)"' in before
    assert 'fill="url(#p-cut)"' in after
    assert "Not all of it: the JSON text ends too early." in words(after)


def test_what_can_not_be_decoded_shows_type_size_sum_bytes_and_download(client: Client, path: Path) -> None:
    junk = b"\x00\x01\xff\xfe not a pickle" * 100
    store(path, "junk", junk, "py_pickle")
    shown = get(client, page("junk"))
    digest = hashlib.sha256(junk).hexdigest()
    assert f"Can’t be decoded. py_pickle, 1.70 kB, sha256 {digest[:8]}…{digest[-8:]}" in words(shown)
    assert "00000000  00 01 ff fe 20 6e 6f 74  20 61 20 70 69 63 6b 6c  .... not a pickl" in shown
    assert client.get(f"{page('junk')}?raw").content == junk


def test_a_serializer_that_nobody_knows_is_said_and_its_text_shown(client: Client, path: Path) -> None:
    store(path, "foreign", "uryyb gurer", "rot13")
    shown = get(client, page("foreign"))
    assert "The serializer rot13 is not known: shown as text." in words(shown)
    assert "url(#p-cut)" not in shown.partition("<main")[2]


def test_stored_text_goes_slice_by_slice(client: Client, path: Path) -> None:
    stored = store_json(path, "text", {"a": "ключ\n" * 30_000})
    address, shown = f"{page('text')}?as=stored", ""
    while True:
        answer = get(client, address)
        assert len(answer) < MEGABYTE
        (part,) = re.findall(r"<pre[^>]*>(.*?)</pre>", answer, re.DOTALL)
        shown += unescape(part)
        after = re.search(r'rel="next" href="([^"]+)"', answer)
        if after is None:
            break
        address = unescape(after[1])
    assert shown == stored


def test_bytes_are_shown_in_hexadecimal_and_downloaded_alone(client: Client, path: Path) -> None:
    store_pickle(path, "bytes", {"a": 1, "key": b"\x00\xffkey bytes"})
    shown = get(client, f"{page('bytes')}?as=hex&at=1")
    assert "00000000  00 ff 6b 65 79 20 62 79  74 65 73                 ..key bytes" in shown
    assert client.get(f"{page('bytes')}?raw&at=1").content == b"\x00\xffkey bytes"


def test_json_of_a_part_is_exact(client: Client, path: Path) -> None:
    store_pickle(path, "order", {"args": [{"amount": 2**60, "sku": "KB-1 🎉", "b": b"x"}]})
    answer = client.get(f"{page('order')}?as=json&at=0.0")
    assert answer["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(answer.content) == {
        "amount": {"$type": "int", "value": str(2**60)},
        "sku": "KB-1 🎉",
        "b": {"$type": "bytes", "value": "eA=="},
    }


def test_a_picture_is_offered_shown_when_asked_for_and_can_not_act(client: Client, path: Path) -> None:
    red = png(200, 0, 0)
    store_pickle(path, "photo", {"photo": red, "text": base64.b64encode(red).decode(), "svg": b"<svg onload='x()'/>"})
    shown = get(client, page("photo"))
    assert "<img" not in shown
    assert re.findall(r'\?as=picture&amp;at=(\d)">show as picture, PNG', shown) == ["0", "1"]
    asked = get(client, f"{page('photo')}?as=picture&at=1")
    assert '<img src="?as=image&amp;at=1"' in asked
    answer = client.get(f"{page('photo')}?as=image&at=1")
    assert answer.content == red
    assert answer["Content-Type"] == "image/png"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert client.get(f"{page('photo')}?as=image&at=2").status_code == 404


SECRET = "s3cret-value"


@pytest.mark.parametrize("query", ["", "at=0", "find=s3cret", "as=stored", "as=hex", "as=picture&at=1", "at=0&from=0"])
def test_while_payloads_are_hidden_no_page_shows_them(client: Client, path: Path, query: str) -> None:
    store_pickle(path, "secret", {SECRET: SECRET, "photo": png(1, 2, 3)})
    assert get(client, f"{page('secret')}?hide=on")
    shown = get(client, f"{page('secret')}?{query}")
    assert SECRET not in shown
    assert SECRET.encode().hex(" ")[:20] not in shown
    assert "<img" not in shown
    assert "Hidden." in shown
    part = get(client, f"{page('secret')}?{query}", **{"HX-Request-Type": "partial"})
    assert SECRET not in part
    # The switch stays on by its cookie until it is turned off.
    assert SECRET in get(client, f"{page('secret')}?hide=off")
    assert SECRET in get(client, page("secret"))


def test_the_switch_says_what_it_does(client: Client, path: Path) -> None:
    store_json(path, "small", {"a": 1})
    assert 'aria-label="Payloads and messages: shown. Hide them"' in get(client, page("small"))
    assert 'aria-label="Payloads and messages: hidden. Show them"' in get(client, f"{page('small')}?hide=on")


def test_forty_megabytes_open_fold_are_searched_and_download_to_the_byte(path: Path) -> None:
    store_json(
        path,
        "json",
        {"rows": [{"id": number, "text": "x" * 110, "who": f"user-{number}"} for number in range(260_000)]},
    )
    store_pickle(path, "pickle", "0123456789" * 4_000_000 + "needle")
    for run in ("json", "pickle"):
        assert len(output(path, run)) > 40 * MEGABYTE
    with served(f"db={path}") as running:
        for run, text, expected in (
            ("json", "user-7777", "$.rows[7777].who"),
            ("pickle", "needle", "…"),
        ):
            opened = running.get(page(run))
            assert opened.status == 200
            assert len(opened.body) < MEGABYTE
            assert "<details" in opened.text
            if run == "json":
                assert "Not all of it: too large: the first 300,000 values are shown." in words(opened.text)
            found = running.get(f"{page(run)}?find={text}")
            assert f"“{text}” in 1 place" in words(found.text)
            assert expected in words(found.text)
            assert len(found.body) < MEGABYTE
            downloaded = running.get(f"{page(run)}?raw")
            assert downloaded.body == output(path, run)
            assert downloaded.headers["content-disposition"].startswith("attachment")
        if Path("/proc/self/status").exists():
            assert _peak(running.process.pid) < 500 * MEGABYTE


def _peak(group: int) -> int:
    """Bytes that the largest of a group of processes has ever taken."""
    peaks = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            if os.getpgid(int(status.parent.name)) == group and (
                peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
            ):
                peaks.append(int(peak[1]) * 1024)
    return max(peaks)
