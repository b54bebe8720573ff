"""Values that no engine writes, in every column of every table: pages, JSON, Markdown and the terminal show them harmlessly."""

import json
import random
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from django.test import Client
from fouling import BIDI, CONTROLS, MARK, VALUES, foul, foul_ids, foul_json, foul_some
from storing import store
from walking import addresses, client, through

from inspector.cli import main
from runs import links
from runs.catalogue import Database, served
from runs.errors import DurascopeError
from runs.filters import Filter
from runs.sources.sqlite import SqliteSource

pytestmark = pytest.mark.no_cover  # the same lines again and again

Unpacked = Callable[[str], Path]
ZOO, SHOP = "zoo-3.4.0", "shop-early"
CRAWLED = 40  # pages of a crawl
QUICK, ALL = 24, 400
# As a browser may draw them out of order, or not at all.
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(autouse=True)
def _as_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURASCOPE_QUERY_SECONDS", "5")


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Client]]:
    """``pages(path)``: that file is served as ``x``, in this process."""

    def serve(path: Path) -> Client:
        monkeypatch.setenv("DURASCOPE_PATHS", f"x={path}")
        served.cache_clear()
        return client()

    yield serve
    served.cache_clear()


class Found(HTMLParser):
    """What a browser would make of a page: its links, and what somebody else made of it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.foreign: list[str] = []
        self.seen = ""  # all text, and what shows when a pointer rests
        self.feed(text)

    def handle_data(self, data: str) -> None:
        self.seen += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.seen += f"{given.get('title') or ''} {given.get('aria-label') or ''}"
        names = [name for name in given if name.startswith("on") or name == "data-pwn" or name == "style"]
        address = (given.get("href") or given.get("src") or "").strip().lower()
        if tag in ("x-pwn", "iframe", "object", "embed", "base") or names:
            self.foreign.append(self.get_starttag_text() or tag)
        if tag == "script" and not (given.get("src") or "").startswith("/static/"):
            self.foreign.append(self.get_starttag_text() or tag)
        if address and not address.startswith(("/", "?", "#", "data:image/", "https://", "./")):
            self.foreign.append(f"{tag} {address}")
        if tag == "a" and (given.get("href") or "").startswith(("/", "?")):
            self.links.append(given["href"] or "")


def _no_json(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


def crawl(get: Client, chance: random.Random, start: str = "/", limit: int = CRAWLED) -> dict[str, str]:
    """The text of pages that links lead to, HTML and other, each looked at for what is not ours."""
    seen: dict[str, str] = {}
    waiting = {start}
    while waiting and len(seen) < limit:
        address = chance.choice(sorted(waiting))
        waiting.discard(address)
        answer = get.get(address, follow=False)
        assert answer.status_code in (200, 302, 400, 404, 422, 503), (address, answer.content)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", address
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"], address
        kind = answer.headers["Content-Type"].partition(";")[0]
        seen[address] = text = answer.content.decode("utf-8", "strict" if kind.startswith("text/") else "replace")
        if kind == "application/json":
            json.loads(text, parse_constant=_no_json)
        if kind == "text/html":
            found = Found(text)
            assert not found.foreign, (address, found.foreign[:3])
            waiting |= {
                page
                for link in found.links
                if (page := urljoin(address, link).partition("#")[0]) not in seen and urlsplit(page).netloc == ""
            }
    return seen


def put_bodies(path: Path, text: str) -> None:
    """The text as workflow, step, error, event, message and stream, in JSON that every body of a DBOS file may hold."""
    body = json.dumps({"positionalArgs": [text, {text: text}], "namedArgs": {text: [text]}})
    error = json.dumps({"name": text, "message": text, "code": text, "data": {text: text}})
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("workflow_status", "operation_outputs", "notifications", "workflow_events", "streams"):
            connection.execute(f"UPDATE {table} SET serialization = 'portable_json'")
        connection.execute("UPDATE workflow_input SET inputs = ?", (body,))
        connection.execute(
            "UPDATE workflow_output SET output = iif(output IS NULL, NULL, :b), error = iif(error IS NULL, NULL, :e)",
            {"b": body, "e": error},
        )
        connection.execute(
            "UPDATE operation_outputs SET output = iif(output IS NULL, NULL, :b), error = iif(error IS NULL, NULL, :e)",
            {"b": body, "e": error},
        )
        connection.execute("UPDATE notifications SET message = ?", (body,))
        connection.execute("UPDATE workflow_events SET value = ?", (body,))
        connection.execute("UPDATE streams SET value = ?", (body,))


def fouled(name: str, fresh: Unpacked, value: str) -> Path:
    path = fresh(name)
    assert foul(path, value) > 30
    if name == SHOP:
        foul_json(path, value)
    else:
        put_bodies(path, value)
    return path


@pytest.mark.parametrize("name", [ZOO, SHOP])
def test_nothing_that_a_database_holds_becomes_part_of_a_page(
    name: str, fresh: Unpacked, pages: Callable[[Path], Client]
) -> None:
    path = fouled(name, fresh, MARK)
    foul_ids(path, "<x-pwn>\"''>{{7*191}}")
    get = pages(path)
    seen = crawl(get, random.Random(3))
    assert len(seen) == CRAWLED
    shown = [text for text in seen.values() if "x-pwn" in text]
    assert len(shown) > CRAWLED // 2, "the pages do not even show it"
    assert not [address for address, text in seen.items() if "1337" in text and "{{7*191}}" not in text]
    run_ids = ids(path, 3)
    for address in addresses("x", run_ids, lambda _: ["run.input", "run.output", "step.1.output"]):
        answer = get.get(address)
        assert answer.status_code in (200, 302, 404, 422), (address, answer.content)
        if "html" in answer.headers["Content-Type"]:
            assert not Found(answer.content.decode()).foreign, address
        elif address.endswith("/markdown/"):
            assert not re.search(r"(?<![\\`])<(x-pwn|script)(?![^`\n]*`)", answer.content.decode()), address


@pytest.mark.parametrize("name", [ZOO, SHOP])
def test_the_terminal_gets_no_character_that_moves_it(
    name: str, fresh: Unpacked, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fouled(name, fresh, CONTROLS + BIDI)
    for arguments in (("check", str(path)), ("runs", str(path), "--all"), ("show", str(path), ids(path, 1)[0])):
        assert main(arguments) == 0
        said = capsys.readouterr()
        assert not UNSEEN.findall(said.out + said.err), arguments
        assert len(said.out) > 100


@pytest.mark.parametrize("name", [ZOO, SHOP])
def test_what_can_not_be_seen_is_written_out_on_pages(
    name: str, fresh: Unpacked, pages: Callable[[Path], Client]
) -> None:
    path = fouled(name, fresh, CONTROLS + BIDI)
    seen = crawl(pages(path), random.Random(5), limit=40)
    shown = {
        address: Found(text)
        for address, text in seen.items()
        if text.startswith("<!doctype html>") and not address.endswith("/retry/")  # a plan holds SQL, to be copied
    }
    assert len(shown) > 30
    for address, found in shown.items():
        assert not UNSEEN.findall(found.seen), address
    assert any("\\u202egnp" in found.seen for found in shown.values())


def answers(get: Client, path: Path) -> None:
    """Asks every page and the JSON about a run of the file."""
    for address in addresses("x", ids(path, 1), lambda _: ["run.input", "run.output"]):
        answer = get.get(address)
        assert answer.status_code in (200, 302, 404, 422), (address, answer.content)
        if "json" in answer.headers["Content-Type"]:
            json.loads(answer.content, parse_constant=_no_json)


@pytest.mark.parametrize("value", VALUES)
def test_a_value_in_every_column_is_an_answer_on_every_page(
    value: str, fresh: Unpacked, pages: Callable[[Path], Client]
) -> None:
    path = fresh("mini-3.4.0")
    assert foul(path, VALUES[value]) > 30
    answers(pages(path), path)


@pytest.mark.soak
@pytest.mark.parametrize("name", [ZOO, SHOP, "go-1.8.0", "mini-1.13.0", "old-0.38.3"])
@pytest.mark.parametrize("value", VALUES)
def test_a_value_in_every_column_of_any_file_is_an_answer_on_every_page(
    value: str, name: str, fresh: Unpacked, pages: Callable[[Path], Client]
) -> None:
    path = fresh(name)
    assert foul(path, VALUES[value]) > 15
    answers(pages(path), path)


ODD = ("no UTF-8", "half characters", "number: year 300,000", "number: infinity", "number: the smallest", "number: bytes",
       "number: an instant of the last day", "number: an instant of the first day")  # fmt: skip


@pytest.mark.parametrize("value", ODD)
def test_a_value_in_every_column_of_obelisk_is_an_answer(value: str, fresh: Unpacked) -> None:
    path = fresh(SHOP)
    assert foul(path, VALUES[value]) > 30
    database = Database(SqliteSource(path, "x"))
    assert database.read(lambda engine: through(engine, random.Random(1), runs=6)) > 20


BODIES = {
    "100,000 deep": ("[" * 100_000 + "]" * 100_000, "nested deeper than 100 levels"),
    "10,000 digits": ("[" + "9" * 10_000 + "]", ""),
    "no numbers": ("[NaN, Infinity, -Infinity, 1e999]", ""),
    "half characters": ('"\\ud800 \\udfff\\ud800"', ""),
    "no character": ('"a\\u0000b"', ""),
    "a million escapes": ('"' + "\\n" * 1_000_000 + '"', ""),
}


def test_bodies_that_no_parser_likes_have_a_page_and_json(fresh: Unpacked, pages: Callable[[Path], Client]) -> None:
    path = fresh("mini-3.4.0")
    for name, (body, _) in BODIES.items():
        store(path, name, body, "portable_json")
    get = pages(path)
    for name, (_, problem) in BODIES.items():
        for address in addresses("x", [name], lambda _: ["run.output"]):
            answer = get.get(address)
            assert answer.status_code in (200, 302), (address, answer.content[:500])
            if "json" in answer.headers["Content-Type"]:
                found = json.loads(answer.content, parse_constant=_no_json)
                assert "value" not in found or problem in (found["problem"] or ""), address
            elif address.endswith("/payloads/run.output/"):
                assert problem in answer.content.decode(), address


def test_what_ended_before_it_began_is_shown_on_every_page(
    fresh: Unpacked, pages: Callable[[Path], Client], capsys: pytest.CaptureFixture[str]
) -> None:
    path = fresh("mini-3.4.0")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE workflow_status SET updated_at = created_at - 9000, completed_at = created_at - 86400000"
        )
        connection.execute("UPDATE operation_outputs SET completed_at_epoch_ms = started_at_epoch_ms - 3600000")
    get = pages(path)
    for run_id in ids(path, 6):
        for address in addresses("x", [run_id], lambda _: []):
            assert get.get(address).status_code in (200, 302), address
        assert main(("show", str(path), run_id)) == 0
        assert run_id in capsys.readouterr().out


def huge(path: Path, output: int, error: int) -> str:
    """A run whose output and error have that many bytes."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous=OFF")
        ((run_id,),) = connection.execute("SELECT workflow_uuid FROM workflow_status WHERE status = 'ERROR' LIMIT 1")
        connection.execute(
            "UPDATE workflow_output SET output = CAST(zeroblob(?) AS TEXT), error = CAST(zeroblob(?) AS TEXT)"
            " WHERE workflow_uuid = ?",
            (output, error, run_id),
        )
    return str(run_id)


def test_64_mb_in_a_value_are_shown_in_part(fresh: Unpacked, pages: Callable[[Path], Client]) -> None:
    path = fresh("mini-3.4.0")
    run_id = huge(path, 64 * 2**20, 64 * 2**20)
    get = pages(path)
    page = links.run_page("x", run_id)
    for address in (
        "/",
        "/db/x/runs/",
        page,
        f"{page}payloads/run.output/?as=hex",
        links.payload_href("x", run_id, "run.error"),
    ):
        answer = get.get(address)
        assert answer.status_code == 200, address
        assert len(answer.content) < 2_000_000, address


@pytest.mark.soak
def test_500_mb_in_a_value_are_refused_in_words_and_disturb_no_other_database(
    fresh: Unpacked, unpacked: Unpacked, pages: Callable[[Path], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fresh("mini-3.4.0")
    run_id = huge(path, 500 * 2**20, 300 * 2**20)
    get = pages(path)
    monkeypatch.setenv("DURASCOPE_PATHS", f"x={path}\ny={unpacked(ZOO)}")
    served.cache_clear()
    for address in addresses("x", [run_id], lambda _: ["run.output"]):
        answer = get.get(address)
        assert answer.status_code in (200, 302, 503), address
        if answer.status_code == 503:
            assert b"larger than Durascope reads at once" in answer.content, address
    for address in ("/", "/runs/", "/db/y/runs/", "/api/v1/runs/"):
        assert get.get(address).status_code == 200
        assert b"wf-retry-exhausted" in get.get("/db/y/runs/").content


def some(seed: int, path: Path) -> None:
    chance = random.Random(seed)
    foul_some(path, chance)
    with suppress(DurascopeError):
        Database(SqliteSource(path, "x")).read(lambda engine: through(engine, chance, runs=6))


@pytest.mark.parametrize("name", ["mini-3.4.0", "old-0.38.3"])
def test_odd_values_in_some_columns_never_raise(name: str, unpacked: Unpacked, tmp_path: Path) -> None:
    for seed in range(QUICK // 2):
        path = tmp_path / f"{seed}.sqlite"
        path.write_bytes(unpacked(name).read_bytes())
        some(seed, path)


@pytest.mark.soak
@pytest.mark.parametrize("name", [ZOO, "mini-1.13.0", "go-gob-1.8.0", "mini-2.14.0", SHOP, "old-0.38.3"])
def test_odd_values_in_many_columns_never_raise(name: str, unpacked: Unpacked, tmp_path: Path) -> None:
    for seed in range(ALL):
        path = tmp_path / "x.sqlite"
        path.write_bytes(unpacked(name).read_bytes())
        some(seed, path)


def ids(path: Path, count: int) -> list[str]:
    """Ids of runs as the engine lists them; one that there is not, where it lists none."""

    def listed(engine: object) -> list[str]:
        return [run.id for run in engine.runs(Filter(), None, count).rows]  # type: ignore[attr-defined]

    return Database(SqliteSource(path, "x")).read(listed) or ["wf-ok"]
