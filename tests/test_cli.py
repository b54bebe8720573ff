"""The real command as a process, over real databases: what it prints, answers, refuses and leaves behind."""

import json
import re
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from serving import eventually, run, served

from inspector.cli import main
from inspector.config import Config, variable
from runs import __version__

Unpacked = Callable[[str], Path]
Terminal = Callable[..., CompletedProcess[str]]

ODD_IDS = (
    "a/b", "a%2Fb", "a%252Fb", "/", "..", ".", "../../etc/passwd", "line\nbreak", "\r\n\t", " ", "?x=1#f", "a+b&c=d",
    "\\", "'\"<b>&", "日本語", "👩\u200d👩\u200d👧", "~", "~~", "~2f", "a;b:c@d", "\x1b[31mred", "é", "e\u0301", "%", "%00",
    "x" * 1500, "é/" * 2000,
)  # fmt: skip


def ids(database: Path, where: str = "") -> set[str]:
    with closing(sqlite3.connect(database)) as connection:
        return {row[0] for row in connection.execute(f"SELECT workflow_uuid FROM workflow_status {where}")}


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    """The command within this process: for what only prints."""

    def call(*arguments: str) -> CompletedProcess[str]:
        try:
            code = main(arguments)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        said = capsys.readouterr()
        return CompletedProcess(arguments, code, said.out, said.err)

    return call


@pytest.fixture
def odd(fresh: Unpacked) -> Path:
    """A real database whose runs have the oddest ids."""
    database = fresh("mini-3.4.0")
    columns = "status, name, created_at, updated_at, workflow_uuid"
    with closing(sqlite3.connect(database)) as connection, connection:
        for number, odd_id in enumerate(ODD_IDS):
            connection.execute(
                f"INSERT INTO workflow_status ({columns}) VALUES ('SUCCESS', 'odd', ?, ?, ?)",
                (1_795_000_000_000 + number, 1_795_000_000_000 + number, odd_id),
            )
    return database


def test_it_serves_and_prints_one_line(unpacked: Unpacked, tmp_path: Path) -> None:
    zoo, shop = unpacked("zoo-3.4.0"), unpacked("shop")
    with served("serve", str(zoo), f"other={shop}", cwd=tmp_path) as durascope:
        assert durascope.line == f"Durascope serves 2 databases at {durascope.url}\n"
        page = durascope.get("/")
        assert page.status == 200
        assert "zoo-3.4.0" in page.text
        assert "other" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert durascope.get("/static/css/base.css").status == 200
        assert durascope.stop() == 0
    assert (durascope.rest, durascope.errors) == ("", "")


def test_a_path_alone_is_served_and_settings_come_from_variables(unpacked: Unpacked, tmp_path: Path) -> None:
    zoo = str(unpacked("zoo-3.4.0"))
    with served("--host", "localhost", zoo, cwd=tmp_path) as durascope:
        assert durascope.line.startswith("Durascope serves 1 database at ")
    with served("serve", cwd=tmp_path, DURASCOPE_PATHS=f"a={zoo}", DURASCOPE_WORKERS="1") as durascope:
        answer = json.loads(durascope.get("/api/v1/databases/").text)
        assert [database["slug"] for database in answer["databases"]] == ["a"]


def test_a_file_that_comes_into_a_folder_is_found_while_serving(fresh: Unpacked, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    with served("serve", str(folder)) as durascope:
        assert durascope.line.startswith("Durascope serves no databases yet at ")
        fresh("mini-2.0.0").rename(folder / "came.sqlite")
        assert eventually(lambda: '"slug": "came"' in durascope.get("/api/v1/databases/").text)
        durascope.stop()
    assert "nothing to read in" in durascope.errors


def test_a_missing_file_is_said_and_served_as_missing(unpacked: Unpacked, tmp_path: Path) -> None:
    missing = tmp_path / "gone.sqlite"
    with served("serve", str(missing), str(unpacked("mini-2.0.0"))) as durascope:
        assert durascope.line.startswith("Durascope serves 2 databases at ")
        page = durascope.get("/")
        assert page.status == 200
        assert "File missing" in page.text
        durascope.stop()
    assert f"{missing} is missing" in durascope.errors


def test_a_mistyped_command_is_not_served_as_a_path() -> None:
    done = run("chekc", "shop.sqlite")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "durascope: 'chekc' is neither a command nor a file here. See durascope --help.\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_leaves_nothing_behind(fresh: Unpacked, tmp_path: Path, number: signal.Signals) -> None:
    database = fresh("zoo-3.4.0")
    before = database.read_bytes()
    places = [tmp_path / name for name in ("home", "temporary", "here")]
    for place in places:
        place.mkdir()
    home, temporary, here = places
    with served("serve", str(database), cwd=here, HOME=str(home), TMPDIR=str(temporary)) as durascope:
        assert durascope.get("/").status == 200
        assert durascope.stop(number) == 0
    assert eventually(lambda: durascope.gone)
    assert [list(place.iterdir()) for place in places] == [[], [], []]
    assert [path.name for path in database.parent.iterdir()] == [database.name]
    assert database.read_bytes() == before


def test_a_taken_port_is_said_with_another_to_take(unpacked: Unpacked) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", str(unpacked("mini-2.0.0")), "--port", str(port))
    assert (done.returncode, done.stdout) == (1, "")
    assert "durascope: The server can't start. " in done.stderr
    assert f"Can't listen on 127.0.0.1 port {port}: address already in use." in done.stderr
    assert f"--port {max(port + 1, 8765)}" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_path_it_says_which_command_to_use(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "durascope serve PATH" in done.stderr
    assert "durascope demo" in done.stderr


def test_a_setting_that_cannot_be_understood_is_refused(unpacked: Unpacked) -> None:
    done = run("serve", str(unpacked("mini-2.0.0")), DURASCOPE_QUERY_SECONDS="soon")
    assert done.returncode == 1
    assert "DURASCOPE_QUERY_SECONDS='soon' is not a number of seconds" in done.stderr


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    done = run("serve", "x.sqlite", f"--port={port}")
    assert done.returncode == 2
    assert "a whole number from 0 to 65,535" in done.stderr


def test_the_help_names_every_command_and_setting() -> None:
    done = run("--help")
    assert done.returncode == 0
    for word in ("serve", "demo", "check", "runs", "show", "manage", *map(variable, Config.__slots__)):
        assert word in done.stdout
    assert run("--version").stdout == f"Durascope {__version__}\n"


def test_only_known_host_names_are_answered(unpacked: Unpacked) -> None:
    with served("serve", str(unpacked("mini-2.0.0")), DURASCOPE_ALLOWED_HOSTS="inspect.example") as durascope:
        assert durascope.get("/", Host="evil.example").status == 400
        assert durascope.get("/static/css/base.css", Host="evil.example").status == 400
        assert durascope.get("/api/v1/databases/", Host="127.0.0.1.evil.example").status == 400
        assert durascope.get("/", Host="inspect.example").status == 200
        assert durascope.get("/", Host="localhost:1").status == 200
        durascope.stop()
    assert durascope.errors == ""


def test_open_opens_the_browser_at_the_address(unpacked: Unpacked, tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    with served("serve", str(unpacked("mini-2.0.0")), "--open", BROWSER=str(browser)) as durascope:
        assert eventually(lambda: opened.exists() and opened.read_text().strip() == durascope.url)


def test_runs_of_any_id_are_found_at_their_addresses(odd: Path) -> None:
    with served("serve", str(odd)) as durascope:
        seen: set[str] = set()
        following: str | None = ""
        while following is not None:
            listed = json.loads(durascope.get(f"/api/v1/databases/{odd.stem}/runs/?limit=7&after={following}").text)
            for item in listed["runs"]:
                answer = durascope.get(item["href"])
                assert answer.status == 200, item["id"]
                assert json.loads(answer.text)["run"]["id"] == item["id"]
                page = durascope.get(item["page"])
                assert page.status == 200, item["id"]
                assert "<html" in page.text
                assert item["id"] not in seen
                seen.add(item["id"])
            following = listed["next"]
    assert seen == ids(odd)
    assert seen >= set(ODD_IDS)


def test_the_terminal_shows_no_control_character_of_an_id(odd: Path, terminal: Terminal) -> None:
    done = terminal("runs", str(odd), "--all")
    assert done.returncode == 0
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout) == []
    assert "\\x1b[31mred" in done.stdout
    shown = terminal("show", str(odd), "\x1b[31mred")
    assert shown.returncode == 0
    assert "\x1b" not in shown.stdout


def test_check_says_the_same_as_the_api(unpacked: Unpacked, terminal: Terminal) -> None:
    paths = [str(unpacked("zoo-3.4.0")), str(unpacked("shop")), str(unpacked("mini-1.13.0"))]
    done = terminal("check", *paths, "--json")
    assert done.returncode == 0
    with served("serve", *paths) as durascope:
        assert json.loads(done.stdout) == json.loads(durascope.get("/api/v1/databases/").text)


def test_the_exit_code_reaches_the_shell(unpacked: Unpacked, tmp_path: Path) -> None:
    assert run("check", str(unpacked("mini-2.0.0"))).returncode == 0
    assert run("check", str(tmp_path / "gone.sqlite")).returncode == 1


def test_check_in_words_counts_what_sql_counts(unpacked: Unpacked, terminal: Terminal) -> None:
    done = terminal("check", str(unpacked("zoo-3.4.0")))
    assert done.returncode == 0
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("zoo-3.4.0 "))
    assert re.search(r"DBOS +125 +closed +6\.28 MB", line)
    for words in ("34 succeeded", "8 failed", "5 queued", "2 cancelled", "2 running", "1 scheduled"):
        assert words in line


def test_check_exits_1_where_one_cannot_be_read_and_lists_all(
    unpacked: Unpacked, tmp_path: Path, terminal: Terminal
) -> None:
    strange = tmp_path / "strange.sqlite"
    with closing(sqlite3.connect(strange)) as connection, connection:
        connection.execute("CREATE TABLE invoices (id)")
    text = tmp_path / "notes.sqlite"
    text.write_text("no database\n" * 100)
    good = unpacked("mini-2.0.0")
    done = terminal("check", str(strange), str(text), str(good))
    assert done.returncode == 1
    assert "strange: SQLite of an unknown schema. Tables: invoices." in done.stdout
    assert "notes: Not a SQLite database." in done.stdout
    assert "mini-2.0.0" in done.stdout
    listed = json.loads(terminal("check", str(strange), str(good), "--json").stdout)["databases"]
    assert [item["problem"] and item["problem"]["error"] for item in listed] == ["UnknownSchema", None]


def test_check_exits_1_where_a_folder_holds_none(tmp_path: Path, terminal: Terminal) -> None:
    done = terminal("check", str(tmp_path))
    assert done.returncode == 1
    assert "there is no database in" in done.stderr


def test_runs_lists_parents_until_children_are_asked_for(unpacked: Unpacked, terminal: Terminal) -> None:
    zoo = unpacked("zoo-3.4.0")
    roots = json.loads(terminal("runs", str(zoo), "--json", "--limit", "500").stdout)
    everything = json.loads(terminal("runs", str(zoo), "--json", "--limit", "500", "--all").stdout)
    assert {item["id"] for item in everything["runs"]} == ids(zoo)
    assert {item["id"] for item in roots["runs"]} == ids(zoo, "WHERE parent_workflow_id IS NULL")


def test_runs_pages_and_filters(unpacked: Unpacked, terminal: Terminal) -> None:
    zoo = unpacked("zoo-3.4.0")
    failed = json.loads(terminal("runs", str(zoo), "--json", "--all", "--status", "failed").stdout)
    assert {item["id"] for item in failed["runs"]} == ids(zoo, "WHERE status = 'ERROR'")
    first = json.loads(terminal("runs", str(zoo), "--json", "--limit", "3").stdout)
    second = json.loads(terminal("runs", str(zoo), "--json", "--limit", "3", "--after", first["next"]).stdout)
    both = json.loads(terminal("runs", str(zoo), "--json", "--limit", "6").stdout)
    assert first["runs"] + second["runs"] == both["runs"]
    tasks = terminal("runs", str(zoo), "--all", "--workflow", "task").stdout.splitlines()[1:]
    assert len(tasks) == len(ids(zoo, "WHERE name = 'task'"))


def test_an_unknown_status_is_refused_with_the_known_ones(unpacked: Unpacked, terminal: Terminal) -> None:
    done = terminal("runs", str(unpacked("zoo-3.4.0")), "--status", "broken")
    assert done.returncode == 2
    assert "status='broken' is not one of failed, retrying, running" in done.stderr


def test_show_says_the_same_as_the_api(unpacked: Unpacked, terminal: Terminal) -> None:
    zoo = unpacked("zoo-3.4.0")
    done = terminal("show", str(zoo), "wf-declined", "--json")
    assert done.returncode == 0
    with served("serve", str(zoo)) as durascope:
        href = json.loads(done.stdout)["run"]["href"]
        assert json.loads(done.stdout) == json.loads(durascope.get(href).text)


def test_show_draws_every_step_in_order(
    unpacked: Unpacked, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    zoo = unpacked("zoo-3.4.0")
    with closing(sqlite3.connect(zoo)) as connection:
        recorded = connection.execute(
            "SELECT function_id, function_name FROM operation_outputs WHERE workflow_uuid = ? ORDER BY 1",
            ("wf-declined",),
        ).fetchall()
    assert recorded
    done = terminal("show", str(zoo), "wf-declined")
    assert done.stdout.startswith("✖ failed (ERROR)  fails_declined  wf-declined\n")
    rows = [line for line in done.stdout.splitlines() if "│" in line]
    assert [tuple(line.split("│")[0].split()[1:]) for line in rows[1:]] == [(str(n), name) for n, name in recorded]
    assert len({line.rindex("│") for line in rows}) == 1
    assert "PaymentDeclined" in done.stdout


def test_show_says_where_there_is_no_such_run(unpacked: Unpacked, terminal: Terminal) -> None:
    done = terminal("show", str(unpacked("zoo-3.4.0")), "nope")
    assert (done.returncode, done.stdout) == (1, "")
    assert "The database has no run with this id." in done.stderr


def test_a_run_is_found_by_the_beginning_of_its_id_or_by_its_error(unpacked: Unpacked, terminal: Terminal) -> None:
    zoo = unpacked("zoo-3.4.0")
    done = terminal("show", str(zoo), "wf-decl")
    assert done.returncode == 1
    assert "durascope runs PATH --find TEXT" in done.stderr
    for text, clause in (
        ("wf-decl", "WHERE workflow_uuid LIKE 'wf-decl%'"),
        ("insufficient FUNDS", "WHERE workflow_uuid = 'wf-declined'"),
    ):
        found = json.loads(terminal("runs", str(zoo), "--json", "--find", text).stdout)
        assert {item["id"] for item in found["runs"]} >= ids(zoo, clause) != set()
        assert len(found["runs"]) < len(ids(zoo))


def test_a_folder_of_many_is_no_database(unpacked: Unpacked, tmp_path: Path, terminal: Terminal) -> None:
    for number in range(12):
        (tmp_path / f"copy-{number:02}.sqlite").write_bytes(unpacked("mini-2.0.0").read_bytes())
    done = terminal("runs", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"durascope: One database is asked for here. {tmp_path} leads to 12: copy-00, copy-01, "
    )
    assert done.stderr.endswith(", copy-09 and 2 more. Name one file.\n")


def test_manage_runs_djangos_own_commands(tmp_path: Path) -> None:
    done = run("manage", "check", cwd=tmp_path)
    assert done.returncode == 0
    assert "no issues" in done.stdout
