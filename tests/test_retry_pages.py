"""The pages of a retry as text: a copy saved first, and what happened to the file between the plan and its confirmation."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from html import unescape
from pathlib import Path

import apsw
import pytest
from dbos import run_dbos_database_migrations
from django.test import Client

from runs import links, planning, retrying, saving
from runs.catalogue import served
from runs.engines.obelisk.executions import execution
from runs.errors import AppendUnsure, DatabaseLocked
from runs.retry import Options
from runs.sources.sqlite import SqliteSource
from runs.state import retries
from runs.state.models import Retry
from tests.dbos_files import sql

Fresh = Callable[[str], Path]
RUN = "/db/it/runs/fails/retry/"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, state: Path) -> Iterator[Callable[[Path], Client]]:
    """``serve(path)``: a client of the pages about this database, whose runs may be retried."""

    def start(path: Path) -> Client:
        monkeypatch.setenv("DURASCOPE_PATHS", f"it={path}")
        monkeypatch.setenv("DURASCOPE_RETRY", "it")
        served.cache_clear()
        return Client(headers={"host": "127.0.0.1"})

    yield start
    served.cache_clear()


def digest(client: Client, address: str) -> str:
    (found,) = re.finditer(r'name="digest" value="([^"]+)"', client.get(address).content.decode())
    return found[1]


def confirm(client: Client, address: str, confirmed: str) -> tuple[int, str]:
    answer = client.post(address, {"digest": confirmed, "reason": "it is mended"})
    return answer.status_code, answer.content.decode()


def failing(fresh: Fresh, name: str) -> Path:
    """A file whose run ``fails`` nobody has retried."""
    path = fresh(name)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")  # its steps go with it
        connection.execute("DELETE FROM workflow_status WHERE forked_from IS NOT NULL")
    return path


def test_an_engine_upgraded_since_the_plan_is_not_appended_to(fresh: Fresh, serve: Callable[[Path], Client]) -> None:
    path = failing(fresh, "mini-2.25.0")
    client = serve(path)
    confirmed = digest(client, RUN)
    run_dbos_database_migrations(system_database_url=f"sqlite:///{path}")
    before = sql(path, "SELECT count(*) FROM workflow_status")
    status, text = confirm(client, RUN, confirmed)
    assert status == 409
    assert "Nothing was appended" in text
    assert "it is mended" in text  # the reason need not be written again
    assert sql(path, "SELECT count(*) FROM workflow_status") == before
    status, _ = confirm(client, RUN, digest(client, RUN))  # the plan that is shown now is one for the new schema
    assert status == 302
    assert sql(path, "SELECT count(*) FROM workflow_input WHERE workflow_uuid = 'fails.retry-1'") == [(1,)]


def test_a_file_replaced_since_the_plan_is_not_appended_to(
    fresh: Fresh, serve: Callable[[Path], Client], tmp_path: Path
) -> None:
    path = failing(fresh, "mini-3.4.0")
    client = serve(path)
    confirmed = digest(client, RUN)
    equal = Path(shutil.copy(path, tmp_path / "equal.sqlite"))
    equal.replace(path)
    before = path.read_bytes()
    status, text = confirm(client, RUN, confirmed)
    assert status == 409
    assert "Nothing was appended" in text
    assert path.read_bytes() == before


def test_an_obelisk_of_a_schema_to_come_is_refused_although_it_was_planned(
    fresh: Fresh, serve: Callable[[Path], Client]
) -> None:
    path = fresh("shop")
    client = serve(path)
    address = "/db/it/runs/E_01M81XSVVB70VEGXBWHFGFSJ4F/retry/"  # paused
    confirmed = digest(client, address)
    sql(path, "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (18, 'new', '', '1')")
    status, text = confirm(client, address, confirmed)
    assert status in (409, 422)
    assert "V18" in text
    found = SqliteSource(path, "it").read(lambda reader: execution(reader, "E_01M81XSVVB70VEGXBWHFGFSJ4F"))
    assert found is not None
    assert found.lifecycle == "paused"


def test_a_copy_is_saved_and_named_with_the_options_kept(
    fresh: Fresh, serve: Callable[[Path], Client], state: Path
) -> None:
    path = failing(fresh, "mini-3.4.0")
    client = serve(path)
    assert re.search(r'action="[^"]*/copy/\?from=1"', client.get(f"{RUN}?from=1").content.decode())
    answer = client.post(f"{RUN}copy/?from=1")
    (copy,) = (state / "copies").glob("it-*.sqlite")
    assert answer.headers["Location"] == f"{RUN}?from=1&copy={copy.stem}#k5"
    text = client.get(answer.headers["Location"]).content.decode()
    assert str(copy) in text
    assert '<option value="1" selected>' in text
    with closing(sqlite3.connect(copy)) as saved, closing(sqlite3.connect(path)) as original:
        assert list(saved.iterdump()) == list(original.iterdump())


def test_a_plan_in_the_way_of_which_another_durascopes_retry_stands_says_so(
    fresh: Fresh, serve: Callable[[Path], Client], state: Path
) -> None:
    client = serve(failing(fresh, "mini-3.4.0"))
    assert confirm(client, RUN, digest(client, RUN))[0] == 302
    said = unescape(re.sub("<[^>]+>", "", client.get(RUN).content.decode()))
    assert "See that run, which retry 1 appended." in said
    Retry.objects.all().delete()
    said = unescape(re.sub("<[^>]+>", "", client.get(RUN).content.decode()))
    assert "It was not appended from here: another Durascope, or the engine’s own tools, made it." in said


def test_a_plan_says_what_is_exchanged_in_columns_that_are_copied_otherwise(
    shop: Callable[[str], Path], serve: Callable[[Path], Client]
) -> None:
    path = shop("shop-staging")
    client = serve(path)
    plans = (
        client.get(f"/api/v1/databases/it/runs/{run_id}/retry/?operation=fork").json()
        for (run_id,) in sql(
            path, "SELECT execution_id FROM t_state WHERE result_kind IS NOT '\"ok\"' AND is_top_level"
        )
    )
    plan = next(plan for plan in plans if plan["eligible"])
    second = plan["rows"]["t_execution_log"][1]
    old, new = second["key"]["execution_id"].removeprefix("E_"), plan["new_run"].removeprefix("E_")
    assert second["exchanged"] == {"within": ["execution_id", "json_value"], "old": old, "new": new}
    assert not {"execution_id", "json_value"} & set(second["copied"])
    text = client.get(f"/db/it/runs/E_{old}/retry/?operation=fork").content.decode()
    assert f"{new} in the place of {old}" in text


@pytest.mark.parametrize(
    "name", ["", "it-1", "it-20261122T202835289426", "../durascope", "it-20261122T202835289426/../x"]
)
def test_only_a_copy_that_is_there_is_named(
    fresh: Fresh, serve: Callable[[Path], Client], state: Path, name: str
) -> None:
    text = serve(failing(fresh, "mini-3.4.0")).get(RUN, {"copy": name}).content.decode()
    assert "A copy is saved" not in text


def test_a_folder_that_cannot_be_written_is_said_and_the_plan_stays(
    fresh: Fresh, serve: Callable[[Path], Client], state: Path
) -> None:
    client = serve(failing(fresh, "mini-3.4.0"))
    (state / "copies").write_text("a file stands where the folder should be")
    answer = client.post(f"{RUN}copy/")
    text = answer.content.decode()
    assert answer.status_code == 500
    assert "No copy was saved" in text
    assert f'action="{RUN}"' in text  # what is confirmed on this page goes to the plan, not to the copy


def test_a_full_disk_is_said_and_leaves_no_half_copy(
    fresh: Fresh, serve: Callable[[Path], Client], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(failing(fresh, "mini-3.4.0"))
    opened = apsw.Connection

    def small(*arguments: object, **named: object) -> apsw.Connection:
        connection = opened(*arguments, **named)  # type: ignore[arg-type]
        if "copies" in str(arguments[0]):
            connection.pragma("max_page_count", 5)  # SQLite's own way to be full
        return connection

    monkeypatch.setattr("runs.sources.backups.apsw.Connection", small)
    answer = client.post(f"{RUN}copy/")
    assert answer.status_code == 507
    assert "There is no room for a copy" in answer.content.decode()
    assert list((state / "copies").iterdir()) == []


def test_what_was_taken_back_has_a_page_that_says_so(fresh: Fresh, serve: Callable[[Path], Client]) -> None:
    path = failing(fresh, "mini-3.4.0")
    client = serve(path)
    address = client.post(RUN, {"digest": digest(client, RUN), "reason": "it is mended"}).headers["Location"]
    back = re.search(
        r'<pre class="code" id="back-sql" tabindex="0">(.*?)</pre>', client.get(address).content.decode(), re.DOTALL
    )
    assert back is not None
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(unescape(back[1]))
    answer = client.get(address)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "Not in the database any more." in text
    assert "fails.retry-1 is no longer in the database." in text
    assert "To take it back" not in text
    fares = client.get(f"/api/v1{address}").json()
    assert (fares["run"], fares["retry"]["progress"]) == (None, "appended")


def test_where_no_plan_can_be_shown_what_happened_and_the_reason_are(
    fresh: Fresh, serve: Callable[[Path], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(failing(fresh, "mini-3.4.0"))
    confirmed = digest(client, RUN)

    def unsure(*_: object, **__: object) -> None:
        raise AppendUnsure("The process that appends ended without an answer.")

    def locked(*_: object) -> None:
        raise DatabaseLocked("Another process holds it.")

    monkeypatch.setattr(retrying, "append", unsure)
    monkeypatch.setattr(planning, "plan", locked)
    status, text = confirm(client, RUN, confirmed)
    assert status == 500
    for words in (AppendUnsure().title, "ended without an answer", "Another process holds it", "it is mended"):
        assert words in text
    assert client.get(RUN).status_code == 423


def test_of_one_that_is_being_appended_nothing_is_claimed_yet(fresh: Fresh, serve: Callable[[Path], Client]) -> None:
    path = failing(fresh, "mini-3.4.0")
    client = serve(path)
    asked = retries.Request("it", str(path), "fails", Options(), digest(client, RUN), "it is mended", "ada", RUN)
    begun, _ = retries.begin(asked)
    text = client.get(links.retry_page(begun.pk)).content.decode()
    assert "It is not known yet whether it was appended." in text
    assert "Nothing was appended" not in text


def test_where_retrying_is_off_nothing_is_copied(
    fresh: Fresh, serve: Callable[[Path], Client], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(failing(fresh, "mini-3.4.0"))
    monkeypatch.delenv("DURASCOPE_RETRY")
    assert "copy/" not in client.get(RUN).content.decode()
    assert client.post(f"{RUN}copy/").status_code == 403
    assert not (state / saving.COPIES).exists()


def test_a_form_without_our_token_copies_nothing(fresh: Fresh, serve: Callable[[Path], Client], state: Path) -> None:
    serve(failing(fresh, "mini-3.4.0"))
    stranger = Client(headers={"host": "127.0.0.1"}, enforce_csrf_checks=True)
    assert stranger.post(f"{RUN}copy/").status_code == 403
    assert stranger.get(f"{RUN}copy/").status_code == 302
    assert not (state / saving.COPIES).exists()
