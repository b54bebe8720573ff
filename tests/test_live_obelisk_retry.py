"""Retries taken up by a live Obelisk server, of exec activities and of workflows whose small components lie beside their text."""

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from runs import appending, clock, following, planning, retrying
from runs.appending import Appender, confirmation
from runs.catalogue import Database
from runs.errors import AppendUnsure, ReplayDiverged
from runs.retry import Operation, Options
from runs.sources.files import look
from runs.sources.sqlite import SqliteSource
from runs.state.models import Progress, Retry
from tests.dbos_files import sql
from tests.retrying import follow, plan, retry
from tests.serving import eventually
from tests.test_retry_killed import appends

OBELISK = shutil.which("obelisk")
DEPLOYMENT = Path(__file__).parent / "live" / "obelisk"
TOKEN = "a-token-for-this-test-alone-0123456789"
# How releases are told to run exec activities: none before 0.40, then this, then that.
ALLOWING = ("allow_exec_activities = true", 'allowed_exec_activities = "*"', "")

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(
        OBELISK is None, reason="no obelisk on PATH: retries of Obelisk were not tried on a live server"
    ),
]


class Server:
    """A server with its folder: its database, what its activities wrote, and its address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "sqlite" / "obelisk.sqlite"
        self.address = ""
        self.ids = 0

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        request = urllib.request.Request(
            f"{self.address}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {TOKEN}",
                "Accept": "application/json",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    def submit(self, function: str, name: str, interface: str = "activity") -> str:
        self.ids += 1
        run_id = f"E_01M81XWFPPZH5AFRNPNDB2{self.ids:04d}"
        self.ask("PUT", f"/v1/executions/{run_id}", {"ffqn": f"live:retries/{interface}.{function}", "params": [name]})
        return run_id

    def state(self, run_id: str) -> tuple[str, str | None]:
        ((state, kind),) = sql(
            self.database, "SELECT state, result_kind FROM t_state WHERE execution_id = ?", run_id
        ) or [("", None)]
        return state, kind

    def variants(self, run_id: str) -> list[str]:
        asked = "SELECT variant FROM t_execution_log WHERE execution_id = ? ORDER BY version"
        return [variant for (variant,) in sql(self.database, asked, run_id)]

    def executed(self) -> list[str]:
        return (self.folder / "executed").read_text().split()

    def mend(self) -> None:
        (self.folder / "mended").touch()


@contextmanager
def running(folder: Path, deployment: str = "deployment.toml", workflow: str = "workflow") -> Iterator[Server]:
    """A server that answers; stopped afterwards. ``deployment``: empty for one that runs nothing, whatever the file says is active.
    ``workflow``: the component that is deployed under that name."""
    server = Server(folder)
    for allowing in ALLOWING:
        process = start(server, allowing, deployment, workflow)
        try:
            if (
                eventually(lambda process=process: process.poll() is not None or answers(server))
                and process.poll() is None
            ):
                yield server
                return
        finally:
            process.terminate()
            process.wait(30)
    pytest.fail((folder / "server.log").read_text()[-3000:])


def start(server: Server, allowing: str, deployment: str, workflow: str) -> "subprocess.Popen[bytes]":
    assert OBELISK is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server.address = f"http://127.0.0.1:{port}"
    config = server.folder / "server.toml"
    config.write_text(
        f'{allowing}\napi.listening_addr = "127.0.0.1:{port}"\nwebui.enabled = false\nexternal.enabled = false\n'
        f'database.sqlite.directory = "{server.folder / "sqlite"}"\n'
    )
    for file in DEPLOYMENT.iterdir():
        shutil.copy(file, server.folder)
    shutil.copy(DEPLOYMENT / f"{workflow}.wasm", server.folder / "workflow.wasm")
    deploying = ["--deployment", deployment] if deployment else ["--empty"]
    with (server.folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            [OBELISK, "server", "run", "--server-config", str(config), *deploying],
            cwd=server.folder,
            env={**os.environ, "HOME": str(server.folder), "OBELISK_API_TOKEN": TOKEN, "OBELISK__API__TOKEN": TOKEN},
            stdout=log,
            stderr=log,
        )


def answers(server: Server) -> bool:
    try:
        server.ask("GET", "/v1/executions")
    except OSError:
        return False
    return True


def test_activities_that_failed_or_wait_are_taken_up_and_run_once(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        broken = server.submit("fails", "failed")
        waiting = server.submit("backs-off", "waiting")
        paused = server.submit("backs-off", "paused")
        assert eventually(lambda: server.state(broken)[0] == "finished")
        for run_id in waiting, paused:
            assert eventually(lambda run_id=run_id: server.variants(run_id)[-1:] == ["temporarily_failed"])
        server.ask("PUT", f"/v1/executions/{paused}/pause")
        server.mend()
        before = len(server.executed())
        assert plan(server.database, waiting).operation is Operation.RETRY_NOW
        assert plan(server.database, paused).operation is Operation.UNPAUSE
        assert plan(server.database, broken).operation is Operation.RUN_AGAIN
        unpaused = retry(server.database, paused)
        done = [retry(server.database, run_id) for run_id in (broken, waiting, paused)]
        for each in done:
            assert eventually(lambda each=each: server.state(each.new_run) == ("finished", '"ok"'))
            assert follow(server.database, each).taken_up_after is not None
        assert sorted(server.executed()[before:]) == ["failed", "paused", "waiting"]
        assert server.variants(waiting)[-3:] == ["unlocked", "locked", "finished"]
        assert "unpaused" in server.variants(unpaused.new_run)
        for run_id in broken, waiting, paused:
            assert not plan(server.database, run_id).eligible
    assert is_sound(server)


def test_what_was_appended_while_the_server_was_down_runs_when_it_starts(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        broken = server.submit("fails", "failed")
        waiting = server.submit("backs-off", "waiting")
        assert eventually(lambda: server.state(broken)[0] == "finished")
        assert eventually(lambda: server.variants(waiting)[-1:] == ["temporarily_failed"])
    server.mend()
    before = len(server.executed())
    done = [retry(server.database, run_id) for run_id in (broken, waiting)]
    assert all(follow(server.database, each).why_not for each in done)
    with running(tmp_path) as again:
        for each in done:
            assert eventually(lambda each=each: again.state(each.new_run) == ("finished", '"ok"'))
    assert sorted(again.executed()[before:]) == ["failed", "waiting"]


def failed(server: Server, function: str, name: str, interface: str = "workflow") -> str:
    """A run that has failed."""
    run_id = server.submit(function, name, interface)
    assert eventually(lambda: server.state(run_id) == ("finished", '{"err":"error"}'))
    return run_id


def succeeds(server: Server, run_id: str) -> bool:
    return eventually(lambda: server.state(run_id) == ("finished", '"ok"'))


def blocked(server: Server, function: str, name: str) -> str:
    """A workflow that waits: for a delay of an hour, or for a child that does."""
    run_id = server.submit(function, name, "workflow")
    assert eventually(lambda: server.state(run_id)[0] == "blocked_by_join_set")
    return run_id


def backing_off(server: Server, name: str) -> tuple[str, str]:
    """A blocked workflow, and its child, which failed and waits for its back-off."""
    parent = blocked(server, "waits", name)
    child = f"{parent}.o:1-backs-off_1"
    assert eventually(lambda: server.variants(child)[-1:] == ["temporarily_failed"])
    return parent, child


def is_sound(server: Server) -> bool:
    return (
        sql(server.database, "PRAGMA integrity_check") == [("ok",)]
        and sql(server.database, "PRAGMA foreign_key_check") == []
        and b"ERROR" not in (server.folder / "server.log").read_bytes()
    )


@pytest.mark.parametrize(("children", "again"), [("deep", ["nested"]), ("whole", ["steady-nested", "nested"])])
def test_of_a_failed_child_only_what_failed_in_it_runs_again_or_all_of_it(
    tmp_path: Path, children: str, again: list[str]
) -> None:
    with running(tmp_path, "forks.toml") as server:
        run_id = failed(server, "outer", "nested", "outer")
        assert server.executed() == ["steady-nested", "nested"]
        server.mend()
        assert plan(server.database, run_id, children=children).operation is Operation.FORK
        done = retry(server.database, run_id, children=children)
        assert succeeds(server, done.new_run)
        assert server.executed()[2:] == again
        assert follow(server.database, done).taken_up_after is not None
        assert not plan(server.database, run_id).eligible
    assert is_sound(server)


def test_a_workflow_runs_again_from_its_beginning_where_that_is_chosen(tmp_path: Path) -> None:
    with running(tmp_path, "forks.toml") as server:
        run_id = failed(server, "through", "anew")
        server.mend()
        done = retry(server.database, run_id, operation=Operation.RUN_AGAIN)
        assert succeeds(server, done.new_run)
        assert server.executed() == ["steady-anew", "anew"] * 2
    assert is_sound(server)


def test_a_fork_without_a_known_address_goes_on_at_once(tmp_path: Path) -> None:
    with running(tmp_path, "forks.toml") as server:
        run_id = failed(server, "through", "forked")
        server.mend()
        done = retry(server.database, run_id)
        assert succeeds(server, done.new_run)
        assert server.executed() == ["steady-forked", "forked", "forked"]
        assert not [kind for kind in server.variants(done.new_run) if "paused" in kind]
    assert is_sound(server)


def test_a_delay_is_skipped_and_a_back_off_below_a_workflow_cut_short(tmp_path: Path) -> None:
    with running(tmp_path, "forks.toml") as server:
        sleeping, paused = blocked(server, "sleeps", "sleeping"), blocked(server, "sleeps", "paused")
        parent, child = backing_off(server, "waiting")
        server.ask("PUT", f"/v1/executions/{paused}/pause")
        server.mend()
        before = len(server.executed())
        planned = [plan(server.database, run_id).operation for run_id in (sleeping, child, paused)]
        assert planned == [Operation.SKIP_DELAY, Operation.RETRY_NOW, Operation.UNPAUSE]
        for run_id in sleeping, child, paused:
            retry(server.database, run_id)
        assert succeeds(server, sleeping)
        assert succeeds(server, parent)
        assert eventually(lambda: server.variants(paused)[-1] == "unpaused")
        retry(server.database, paused)  # what it waited for before it was paused
        assert succeeds(server, paused)
        assert sorted(server.executed()[before:]) == ["steady-paused", "steady-sleeping", "waiting"]
    assert is_sound(server)


def test_every_kind_of_retry_waits_in_the_file_for_a_server_that_is_down(tmp_path: Path) -> None:
    with running(tmp_path, "forks.toml") as server:
        forked, nested = failed(server, "through", "forked"), failed(server, "outer", "nested", "outer")
        anew = failed(server, "through", "anew")
        sleeping, (parent, child) = blocked(server, "sleeps", "sleeping"), backing_off(server, "waiting")
    server.mend()
    before = len(server.executed())
    done = [retry(server.database, run_id).new_run for run_id in (forked, nested)]
    done.append(retry(server.database, anew, operation=Operation.RUN_AGAIN).new_run)
    for run_id in sleeping, child:
        retry(server.database, run_id)
    with running(tmp_path, "forks.toml") as again:
        for run_id in (*done, sleeping, parent):
            assert succeeds(again, run_id)
    expected = ["anew", "forked", "nested", "steady-anew", "steady-sleeping", "waiting"]
    assert sorted(again.executed()[before:]) == expected
    assert is_sound(again)


@pytest.mark.parametrize("name", ["shop", "shop-staging"])
def test_a_server_reads_everything_that_was_appended_to_a_file_of_many_kinds(
    name: str, shop: Callable[[str], Path], tmp_path: Path
) -> None:
    """It leaves out of its lists what it can't read, so they must be complete; what nobody exports stays pending."""
    (tmp_path / "sqlite").mkdir()
    path = tmp_path / "sqlite" / "obelisk.sqlite"
    shutil.move(shop(name), path)
    new = []
    with closing(Appender(path)) as appender:
        for (run_id,) in sql(path, "SELECT execution_id FROM t_state WHERE result_kind IS NOT '\"ok\"'"):
            found = plan(path, run_id)
            if found.eligible:
                confirmed = confirmation(found, look(path).identity)
                new.append(appender.append(run_id, Options(), confirmed, clock.now()).new_run)
    assert len(new) > 50
    with running(tmp_path, deployment="") as server:
        listed = json.loads(server.ask("GET", "/v1/executions?length=20000&show_derived=true"))
        assert len(listed) == sql(path, "SELECT count(*) FROM t_state")[0][0]
        for run_id in new:
            address = f"/v1/executions/{quote(run_id, safe='')}"
            events = json.loads(server.ask("GET", f"{address}/events?length=2000&version=0&including_cursor=true"))[
                "events"
            ]
            assert len(events) == sql(path, "SELECT count(*) FROM t_execution_log WHERE execution_id = ?", run_id)[0][0]
            server.ask("GET", f"{address}/responses")
    assert is_sound(server)


@pytest.fixture
def allowed(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURASCOPE_RETRY", "live")
    monkeypatch.setenv("OBELISK_API_TOKEN", TOKEN)


def fork(server: Server, run_id: str, monkeypatch: pytest.MonkeyPatch) -> Retry:
    monkeypatch.setenv("DURASCOPE_ENGINE_URL", f"live={server.address}")
    database, options = Database(SqliteSource(server.database, "live")), Options(operation=Operation.FORK)
    digest = planning.plan(database, run_id, options).digest
    return retrying.append(database, run_id, options, digest, "mended", "ada", "/db/live/")


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(("function", "interface"), [("through", "workflow"), ("outer", "outer")])
def test_a_fork_goes_on_once_the_servers_replay_has_followed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, interface: str
) -> None:
    with running(tmp_path, "forks.toml") as server:
        run_id = failed(server, function, "forked", interface)
        server.mend()
        before = len(server.executed())
        done = fork(server, run_id, monkeypatch)
        assert done.progress == Progress.APPENDED, done.detail
        assert eventually(lambda: server.state(done.new_run) == ("finished", '"ok"'))
        assert server.executed()[before:] == ["forked"]
        assert [kind for kind in server.variants(done.new_run) if "paused" in kind] == ["paused", "unpaused"]
    assert is_sound(server)


@pytest.mark.usefixtures("allowed")
def test_a_fork_waits_for_a_server_that_is_down_and_is_released_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, "forks.toml") as server:
        run_id = failed(server, "outer", "forked", "outer")
    server.mend()
    held = fork(server, run_id, monkeypatch)
    assert held.progress == Progress.HELD
    before = len(server.executed())
    with running(tmp_path, "forks.toml") as again:
        database = Database(SqliteSource(again.database, "live"))
        monkeypatch.setenv("DURASCOPE_ENGINE_URL", f"live={again.address}")
        assert again.executed()[before:] == []
        done = retrying.release(database, held, "ada", "/")
        assert done.progress == Progress.APPENDED, done.detail
        assert succeeds(again, done.new_run)
        assert again.executed()[before:] == ["forked"]
    assert is_sound(again)


@pytest.mark.usefixtures("allowed")
def test_a_fork_that_other_code_cannot_follow_is_deleted_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, "forks.toml") as server:
        run_id = failed(server, "through", "forked")
    server.mend()
    before = len(server.executed())
    with running(tmp_path, "forks.toml", workflow="diverging") as again:
        with pytest.raises(ReplayDiverged):
            fork(again, run_id, monkeypatch)
        refused = Retry.objects.get()
        assert (again.state(refused.new_run), again.variants(refused.new_run)) == (("", None), [])
    assert len(again.executed()) == before


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_a_killed_process_did_is_found_though_the_server_has_long_gone_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with running(tmp_path, "forks.toml") as server:
        broken, paused = failed(server, "through", "forked"), blocked(server, "sleeps", "paused")
        sleeping, (parent, child) = blocked(server, "sleeps", "sleeping"), backing_off(server, "waiting")
        server.ask("PUT", f"/v1/executions/{paused}/pause")
        server.mend()
        database = Database(SqliteSource(server.database, "live"))
        settled = following.settled
        monkeypatch.setattr(appending, "COMMAND", (sys.executable, "-P", "-c", appends(moment)))
        monkeypatch.setattr(following, "settled", lambda _, begun: begun)  # this server is killed as well
        for run_id in broken, child, paused, sleeping:
            digest = planning.plan(database, run_id, Options()).digest
            with pytest.raises(AppendUnsure):
                retrying.append(database, run_id, Options(), digest, "mended", "ada", "/")
        if moment == "after":
            assert succeeds(server, parent)
            assert succeeds(server, sleeping)
            assert eventually(lambda: server.variants(paused)[-1] == "unpaused")
        found = [settled(database, begun) for begun in Retry.objects.order_by("pk")]
    assert [each.operation for each in found] == ["fork", "retry_now", "unpause", "skip_delay"]
    if moment == "before":
        assert [each.progress for each in found] == [Progress.FAILED] * 4
        return
    *told, skipped = found
    assert [each.progress for each in told] == [Progress.APPENDED] * 3
    assert [each.new_run == each.run for each in told] == [False, True, True]
    assert following.follow(database, told[1]).follow_up.taken_up_after is not None
    assert skipped.progress == Progress.UNSURE
    assert "Its delay was skipped, by this retry or by somebody else's at the same time" in skipped.detail
