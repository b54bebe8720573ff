"""The command where things go wrong: signals at any time, killed processes, full and read-only disks, a clock set back."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from runs import catalogue
from tests import bulk
from tests.serving import COMMAND, DEADLINE, READY, Served, environment, eventually, run, served
from tests.test_full_disk import Disk, disk  # noqa: F401 - a fixture
from tests.wire import answer_on, connected, request

Unpacked = Callable[[str], Path]

RUN = "/db/zoo-3.4.0/runs/wf-declined/"
NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
# In a mount namespace of its own, every file system becomes read-only, but for those of the kernel.
READ_ONLY = """
mount --make-rprivate / || exit 77
for place in $(awk '$2 !~ "^/(proc|sys|dev$|dev/pts|dev/mqueue)" {print $2}' /proc/mounts) /tmp; do
    mount --bind "$place" "$place" && mount -o remount,ro,bind "$place"
done 2> /dev/null
touch "$1" 2> /dev/null && exit 77
shift
cd / && exec "$@"
"""

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def workers(running: Served) -> list[int]:
    """The processes that answer."""
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text()
    return [int(number) for number in children.split()]


def copies(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith("durascope-copies-")]


def of_group(group: int) -> list[int]:
    """The processes of a group that are still there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, number = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(number) == group and state != "Z":
            found.append(int(entry.name))
    return found


def left_open(fresh: Unpacked) -> str:
    """A database that can only be read in a private copy, as ``live``: its engine was killed, and its -wal lies there."""
    database = fresh("shop-live")
    database.with_name(f"{database.name}-shm").unlink(missing_ok=True)
    return f"live={database}"


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@contextmanager
def started(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The command, of whose start nothing is awaited; whatever is left of it afterwards is killed."""
    with subprocess.Popen(
        [*COMMAND, *arguments], env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_ended_at_any_moment_of_its_start_it_leaves_no_process(
    unpacked: Unpacked, tmp_path: Path, temporary: Path, number: signal.Signals
) -> None:
    chance = random.Random(20261122 + number)
    for command in (["serve", str(unpacked("zoo-3.4.0"))], ["demo"]):
        state = str(tmp_path / "state")
        with started(*command, "--port", "0", TMPDIR=str(temporary), DURASCOPE_STATE=state) as process:
            time.sleep(chance.uniform(0.05, 2.0))
            process.send_signal(number)
            said, errors = process.communicate(timeout=DEADLINE)
            assert eventually(lambda: of_group(process.pid) == []), "a worker outlived it"
        assert "Traceback" not in errors or number == signal.SIGINT
        assert said == "" or READY.fullmatch(said)
        if number == signal.SIGTERM:
            assert [entry.name for entry in temporary.iterdir()] == []


def test_what_was_asked_is_answered_when_it_is_told_to_stop_and_slow_clients_do_not_keep_it(unpacked: Unpacked) -> None:
    with served(str(unpacked("zoo-3.4.0"))) as durascope, ExitStack() as stack:
        assert durascope.get(RUN).status == 200
        slow = [stack.enter_context(connected(durascope)) for _ in range(40)]
        for connection in slow:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
        asked = [stack.enter_context(connected(durascope)) for _ in range(10)]
        for connection in asked:
            connection.sendall(request(RUN))
        assert [answer.status for connection in asked[:5] if (answer := answer_on(connection))] == [200] * 5
        assert durascope.stop() == 0
        assert [answer.status for connection in asked[5:] if (answer := answer_on(connection))] == [200] * 5
    assert eventually(lambda: durascope.gone)
    assert durascope.errors == ""


def test_a_killed_worker_is_replaced_and_nobody_notices(fresh: Unpacked, temporary: Path) -> None:
    live = left_open(fresh)
    with served(live, DURASCOPE_WORKERS="2", TMPDIR=str(temporary)) as durascope:
        for _ in range(20):
            assert durascope.get("/db/live/runs/").status == 200
        before = workers(durascope)
        assert len(before) == 2
        for number in before:
            os.kill(number, signal.SIGKILL)
        assert eventually(lambda: len(set(workers(durascope)) - set(before)) == 2)
        for _ in range(20):
            assert durascope.get("/db/live/runs/").status == 200
        assert not [name for name in copies(temporary) for number in before if f"-{number}-" in name]
        assert durascope.stop() == 0
    assert copies(temporary) == []


def test_after_the_first_process_is_killed_the_others_end_and_the_next_start_tidies_up(
    fresh: Unpacked, temporary: Path
) -> None:
    live = left_open(fresh)
    with served(live, TMPDIR=str(temporary)) as durascope:
        assert durascope.get("/db/live/runs/").status == 200
        durascope.stop(signal.SIGKILL)
    assert eventually(lambda: of_group(durascope.process.pid) == [])
    with served(live, TMPDIR=str(temporary)) as durascope:
        assert durascope.get("/db/live/runs/").status == 200
        os.killpg(durascope.process.pid, signal.SIGKILL)
        durascope.stop()
    assert copies(temporary) != []
    with served(live, TMPDIR=str(temporary)) as durascope:
        assert durascope.get("/db/live/runs/").status == 200
        durascope.stop()
    assert copies(temporary) == []


def test_a_port_is_free_again_as_soon_as_it_has_ended_however_it_ended(unpacked: Unpacked) -> None:
    with served(str(unpacked("mini-2.0.0"))) as durascope:
        port = durascope.url.rstrip("/").rpartition(":")[2]
        assert durascope.get("/").status == 200
        os.killpg(durascope.process.pid, signal.SIGKILL)
        durascope.stop()
    with started("serve", str(unpacked("mini-2.0.0")), "--port", port) as taken:
        assert taken.stdout is not None
        line = taken.stdout.readline()
        taken.terminate()
        taken.communicate(timeout=DEADLINE)
    assert READY.fullmatch(line)


# Where nothing may be written


@is_root
def test_with_no_room_for_temporary_files_all_but_copies_is_served(
    unpacked: Unpacked,
    fresh: Unpacked,
    disk: Disk,  # noqa: F811
) -> None:
    live = left_open(fresh)
    zoo = unpacked("zoo-3.4.0")
    disk.leave(0)
    with served(str(zoo), live, cwd=disk.folder, TMPDIR=str(disk.folder), HOME=str(disk.folder)) as durascope:
        assert durascope.get(RUN).status == 200
        fleet = durascope.get("/")
        assert fleet.status == 200
        listed = json.loads(durascope.get("/api/v1/databases/").text)["databases"]
        problems = {entry["slug"]: entry["problem"] for entry in listed}
        assert problems["zoo-3.4.0"] is None
        assert problems["live"] is None or "private copy" in problems["live"]["detail"]
        durascope.stop()


@pytest.mark.parametrize("home", ["/nonexistent", "/proc/self", ""])
def test_without_a_home_that_can_be_written_it_reads(unpacked: Unpacked, home: str) -> None:
    with served(str(unpacked("zoo-3.4.0")), HOME=home) as durascope:
        assert durascope.get(RUN).status == 200
        durascope.stop()
    assert durascope.errors == ""


def test_without_a_home_that_can_be_written_retrying_is_refused_in_words(unpacked: Unpacked) -> None:
    zoo = str(unpacked("zoo-3.4.0"))
    done = run("serve", zoo, "--allow-retry", "zoo-3.4.0", "--port", "0", HOME="/proc/self", XDG_STATE_HOME="")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Retries are recorded in /proc/self/.local/state/durascope, which can't be written" in done.stderr
    assert "DURASCOPE_STATE" in done.stderr
    assert "Traceback" not in done.stderr


@is_root
def test_where_every_disk_is_read_only_it_reads(fresh: Unpacked, tmp_path: Path) -> None:
    zoo, live = fresh("zoo-3.4.0"), left_open(fresh)
    command = ("unshare", "-m", "sh", "-c", READ_ONLY, "sh", str(tmp_path / "written"), *COMMAND)
    probe = subprocess.run(
        ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", str(tmp_path / "written"), "true"],
        capture_output=True,
        check=False,
    )
    if probe.returncode:
        pytest.skip("nothing may be mounted read-only here")
    with served(str(zoo), live, command=command) as durascope:
        assert durascope.get(RUN).status == 200
        assert durascope.get("/").status == 200
        assert durascope.get("/static/css/base.css").status == 200
        durascope.stop()
    assert "Traceback" not in durascope.errors


@pytest.fixture
def as_nobody(tmp_path: Path) -> tuple[str, ...]:
    """The command as a user who owns nothing."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv")
    probe = subprocess.run(
        [*AS_NOBODY, sys.executable, "-c", "import inspector.cli, gunicorn"], cwd="/", env=environment(), check=False,
        capture_output=True,
    )  # fmt: skip
    if probe.returncode:
        pytest.skip("nobody may not run this Python")
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001 and folder.owner() == "root" and folder.is_relative_to("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    return (*AS_NOBODY, *COMMAND)


@pytest.mark.parametrize("name", ["zoo-3.4.0", "shop-live"])
def test_a_user_who_may_only_read_a_database_sees_it_and_leaves_it(
    fresh: Unpacked, temporary: Path, as_nobody: tuple[str, ...], name: str
) -> None:
    database = fresh(name)
    temporary.chmod(0o777)
    for folder in (database.parent.parent, database.parent):
        folder.chmod(0o755)
    for file in database.parent.iterdir():
        file.chmod(0o644)
    before = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in database.parent.iterdir()}
    with served(
        f"it={database}", command=as_nobody, cwd=Path("/"), TMPDIR=str(temporary), HOME="/nonexistent"
    ) as durascope:
        listed = json.loads(durascope.get("/api/v1/databases/it/runs/").text)
        assert listed["runs"]
        plan = durascope.get(f"{listed['runs'][0]['page']}retry/")
        assert plan.status == 200
        durascope.stop()
    after = {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in database.parent.iterdir()}
    assert {k: v for k, v in after.items() if not k.endswith("-shm")} == {
        k: v for k, v in before.items() if not k.endswith("-shm")
    }
    assert after.keys() == before.keys()
    assert "Traceback" not in durascope.errors


def test_a_database_that_a_user_may_not_even_read_says_so(
    fresh: Unpacked, as_nobody: tuple[str, ...], unpacked: Unpacked
) -> None:
    database = fresh("zoo-3.4.0")
    database.chmod(0o600)
    with served(str(database), command=as_nobody, cwd=Path("/"), HOME="/nonexistent") as durascope:
        (entry,) = json.loads(durascope.get("/api/v1/databases/").text)["databases"]
        assert entry["problem"]["error"] in ("NotPermitted", "FileMissing")
        assert durascope.get("/").status == 200
        durascope.stop()


# Warnings, clocks


def test_it_starts_and_answers_where_every_warning_is_an_error(unpacked: Unpacked) -> None:
    strict = (sys.executable, "-W", "error", "-m", "inspector.cli")
    with served(str(unpacked("zoo-3.4.0")), str(unpacked("shop")), command=strict) as durascope:
        for path in (
            "/",
            "/runs/",
            RUN,
            f"{RUN}retry/",
            "/db/shop/runs/",
            "/api/v1/docs",
            "/api/v1/runs/",
            "/static/css/base.css",
        ):
            assert durascope.get(path).status == 200, path
        durascope.stop()
    # gunicorn's own: it takes our listening socket over under the name of another.
    ours = [line for line in durascope.errors.splitlines() if "Warning" in line and "unclosed <socket" not in line]
    assert ours == []


@pytest.mark.parametrize("now", ["1970-01-01T00:00:00Z", "2026-11-22T03:10:00Z", "3499-12-31T23:59:59Z"])
def test_a_clock_that_is_before_or_long_after_what_was_recorded_breaks_no_page(unpacked: Unpacked, now: str) -> None:
    names = ("zoo-3.4.0", "shop", "shop-live")
    with served(*(str(unpacked(name)) for name in names), DURASCOPE_NOW=now) as durascope:
        databases = json.loads(durascope.get("/api/v1/databases/").text)["databases"]
        assert [entry["problem"] for entry in databases] == [None] * 3
        for page in ("/", "/runs/", "/retries/"):
            assert durascope.get(page).status == 200, page
        for entry in databases:
            for path in (f"/db/{entry['slug']}/", f"/db/{entry['slug']}/runs/?active_at={now}"):
                assert durascope.get(path).status == 200, path
            for found in json.loads(durascope.get(f"/api/v1/databases/{entry['slug']}/runs/?limit=6").text)["runs"]:
                page = durascope.get(found["page"])
                assert page.status == 200
                assert not re.search(r"[-−]\d+(\.\d+)? ?(ms|s|m|h|d)\b", re.sub(r"<[^>]+>", " ", page.text)), found[
                    "page"
                ]
                assert durascope.get(f"{found['page']}retry/").status == 200
        durascope.stop()
    assert durascope.errors == ""


# Very many files


def test_a_folder_of_ten_thousand_databases_is_served_in_part_and_says_so(unpacked: Unpacked, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    first = Path(shutil.copy(unpacked("mini-2.0.0"), tmp_path / "first"))
    for number in range(10_000):
        os.link(first, folder / f"{number:05}.sqlite")
    with served(str(folder), DURASCOPE_WORKERS="1") as durascope:
        assert durascope.line.startswith(f"Durascope serves {catalogue.MAX_DATABASES} databases at ")
        page = durascope.get("/")
        assert page.status == 200
        assert len(page.body) < 4_000_000
        assert "There are more than are served at once" in page.text
        assert durascope.get("/db/00000/runs/").status == 200
        assert durascope.get("/db/09999/runs/").status == 404
        durascope.stop()
    assert durascope.errors == f"durascope: {folder} holds more than the 2,000 databases that are served\n"


# For a long time


def held(running: Served) -> Iterator[tuple[int, int, int]]:
    """Of each worker: open files, threads, and kilobytes in memory."""
    for number in workers(running):
        status = Path(f"/proc/{number}/status").read_text()
        size, threads = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads"))  # type: ignore[index]
        yield len(list(Path(f"/proc/{number}/fd").iterdir())), threads, size


def poll(running: Served, paths: list[str], times: int) -> None:
    """As open pages do: each asks for itself again with the tag that it has, by turns for what has changed."""
    tags: dict[str, str] = {}
    for number in range(times):
        path = paths[number % len(paths)]
        changed = number % 5 == 0
        answer = running.get(path, **({} if changed else {"Durascope_Tag": tags.get(path, "")}))
        assert answer.status in (200, 204), (path, answer.status)
        if found := re.search(rb'data-live="([^"]*)"', answer.body):
            tags[path] = found[1].decode()


def long_watch(
    fresh: Unpacked, folder: Path, times: int
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """What the workers hold after a tenth of the polls, and after all; the databases are written to in between."""
    zoo, live = fresh("zoo-3.4.0"), left_open(fresh)
    paths = [
        "/",
        "/runs/",
        RUN,
        "/db/zoo-3.4.0/runs/",
        "/db/zoo-3.4.0/",
        "/db/live/runs/",
        "/api/v1/databases/",
        f"{RUN}retry/",
    ]
    with served(str(zoo), live, TMPDIR=str(folder), DURASCOPE_WORKERS="2") as durascope:
        poll(durascope, paths, times // 10)
        early = list(held(durascope))
        for part in range(9):
            bulk.sql(zoo, "UPDATE workflow_status SET updated_at = updated_at + 1 WHERE workflow_uuid = 'wf-declined'")
            poll(durascope, paths, times // 10)
            assert len(copies(folder)) <= 2, part
        late = list(held(durascope))
        durascope.stop()
    assert durascope.errors == ""
    return early, late


def is_flat(early: list[tuple[int, int, int]], late: list[tuple[int, int, int]], growth: int) -> None:
    assert len(early) == len(late) == 2
    warm = max(
        size for _, _, size in early
    )  # of two that take turns by chance, one may have answered little until then
    for before, after in zip(early, late, strict=True):
        assert after[0] <= before[0] + 10, "open files"
        assert after[1] <= before[1] + 8, "threads"
        assert after[2] <= warm + growth, "memory"
        assert after[2] <= 120 * 1024


def test_some_hundred_polls_leave_files_threads_and_memory_as_they_were(fresh: Unpacked, temporary: Path) -> None:
    is_flat(*long_watch(fresh, temporary, 300), growth=20_000)


@pytest.mark.soak
def test_a_day_of_polls_leaves_files_threads_and_memory_as_they_were(fresh: Unpacked, temporary: Path) -> None:
    early, late = long_watch(fresh, temporary, 20_000)
    print(f"open files, threads, kB of each worker: {early} after 2,000, {late} after 20,000")
    is_flat(early, late, growth=12_000)
