"""What comparing reads of Obelisk databases, against plain SQL on the same files and what is known of how they came about."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from runs.clock import EPOCH
from runs.digests import Mark, RunDigest
from runs.engines.obelisk import Obelisk
from runs.errors import RunNotFound
from runs.records import Status
from tests.conftest import OBELISK
from tests.dbos_files import column, sql
from tests.executions import ask

Files = Callable[[str], Path]  # unpacked: only to be read, and by nothing but our own reader; fresh: a copy
MICROSECOND = timedelta(microseconds=1)
LOG = ("created_at", "json_value", "variant", "join_set_id")
RESPONSE = ("created_at", "join_set_id", "delay_success", "finished_version")
PROGRESS = (
    "pending_expires_finished",
    "corresponding_version",
    "executor_id",
    "updated_at",
    "deployment_id",
    "lifecycle",
)


def parts(engine: Obelisk, limit: int) -> list[RunDigest]:
    found: list[RunDigest] = []
    after, more = "", True
    while more:
        part = engine.digests(after, limit)
        assert 0 < len(part.runs) <= limit
        found += part.runs
        after, more = part.runs[-1].id, part.more
    return found


def digests(path: Path) -> dict[str, RunDigest]:
    return ask(path, lambda engine: {run.id: run for run in parts(engine, 2000)})


def marks(path: Path) -> dict[str, dict[str, Mark]]:
    return ask(
        path,
        lambda engine: {
            run_id: {mark.position: mark for mark in found}
            for run_id, found in engine.marks([run.id for run in parts(engine, 2000)]).items()
        },
    )


def altered(before: dict[str, RunDigest], after: dict[str, RunDigest]) -> set[str]:
    return {run_id for run_id in before if before[run_id].history != after[run_id].history}


@pytest.mark.parametrize("name", OBELISK)
def test_every_run_has_one_digest_whatever_the_size_of_a_part(fresh: Files, name: str) -> None:
    path = fresh(name)
    whole = ask(path, lambda engine: parts(engine, 2000))
    assert [run.id for run in whole] == column(
        path, "SELECT execution_id FROM t_state ORDER BY CAST(execution_id AS BLOB)"
    )
    for limit in (7, 100, len(whole)):
        assert ask(path, lambda engine, limit=limit: parts(engine, limit)) == whole


@pytest.mark.parametrize("name", OBELISK)
def test_a_digest_says_what_the_run_says(unpacked: Files, name: str) -> None:
    def work(engine: Obelisk) -> None:
        for found in parts(engine, 2000)[::5]:
            run = engine.run(found.id)
            assert (found.workflow, found.status, found.version) == (run.workflow, run.status, run.version)
            assert found.error == (run.error if run.status is Status.FAILED else None)
            assert (found.parent, found.forked_from) == (run.parent, run.forked_from)
            assert found.created_at == (run.created_at - EPOCH) // MICROSECOND
            assert found.finished_at == (run.finished_at and (run.finished_at - EPOCH) // MICROSECOND)
            assert found.duration == (None if run.duration is None else run.duration // MICROSECOND)
            assert found.input == hashlib.sha256(engine.payload(found.id, "run.input").data).digest()[:16]
            assert found.ordinal == (found.id.rpartition(".")[2] if run.parent else "")

    ask(unpacked(name), work)


@pytest.mark.parametrize("name", OBELISK)
def test_marks_are_the_rows_of_the_log_and_the_responses(fresh: Files, name: str) -> None:
    path = fresh(name)
    found, its = digests(path), marks(path)
    rows, answers = defaultdict(set), Counter(column(path, "SELECT execution_id FROM t_join_set_response"))
    for run_id, version in sql(path, "SELECT execution_id, version FROM t_execution_log"):
        rows[run_id].add(str(version))
    for run_id, run in found.items():
        responses = {f"response {number}" for number in range(1, answers[run_id] + 1)}
        assert its[run_id].keys() == rows[run_id] | responses
        assert run.events == len(its[run_id])
        newest = max(mark.at for mark in its[run_id].values() if mark.at)
        assert run.last_at == (newest - EPOCH) // MICROSECOND


@pytest.mark.parametrize("name", ["old-0.38.3", "shop"])
def test_contents_are_of_exactly_the_payloads_of_a_run_and_its_steps(unpacked: Files, name: str) -> None:
    def work(engine: Obelisk) -> None:
        found = parts(engine, 2000)
        busiest = sorted(found, key=lambda run: run.events, reverse=True)[:40]
        for run in {run.id: run for run in (*found[::7], *busiest)}.values():
            contents = engine.contents(run.id)
            slots = [engine.run(run.id).payloads, *(step.payloads for step in engine.steps(run.id))]
            names = {each.name for slot in slots for each in (slot.input, slot.output, slot.error) if each}
            assert contents.keys() == names
            for payload, digest in contents.items():
                assert digest == hashlib.sha256(engine.payload(run.id, payload).data).digest()[:16]
        inputs = engine.inputs([run.id for run in found] + ["no such run"])
        assert inputs.keys() == {run.id for run in found}
        assert all(inputs[run.id] == engine.payload(run.id, "run.input") for run in found[::5])
        with pytest.raises(RunNotFound):
            engine.contents("no such run")
        assert engine.marks(["no such run"]) == {}

    ask(unpacked(name), work)


@pytest.mark.parametrize("later", ["shop", "shop-fork"])
def test_an_earlier_copy_is_a_prefix_of_what_became_of_it(unpacked: Files, later: str) -> None:
    early, whole = marks(unpacked("shop-early")), marks(unpacked(later))
    assert early.keys() <= whole.keys()
    for run_id, its in early.items():
        assert {position: mark.digest for position, mark in its.items()}.items() <= {
            position: mark.digest for position, mark in whole[run_id].items()
        }.items()


def test_two_that_went_on_apart_share_724_runs_and_part_in_four(unpacked: Files) -> None:
    a, b = digests(unpacked("shop")), digests(unpacked("shop-fork"))
    a_marks, b_marks = marks(unpacked("shop")), marks(unpacked("shop-fork"))
    shared = a.keys() & b.keys()
    different = {run_id for run_id in shared if a[run_id].history != b[run_id].history}
    assert (len(shared), len(different)) == (724, 4)
    for run_id in shared:
        alike = {p: m.digest for p, m in a_marks[run_id].items()} == {p: m.digest for p, m in b_marks[run_id].items()}
        assert alike == (run_id not in different)


def test_twins_with_the_same_results_have_the_same_content_but_for_other_steps(fresh: Files) -> None:
    """200 pairs by function and parameters, in the order of their creation. Of 166 with one result, four runs of another component
    made one step more, and one found an event in time."""
    sides = {name: digests(fresh(name)) for name in ("shop", "shop-staging")}
    results = {
        name: dict(
            sql(
                fresh(name),
                """SELECT s.execution_id, COALESCE((SELECT l.json_value->'$.finished.retval' FROM t_execution_log l
                    WHERE l.execution_id = s.execution_id AND l.variant = 'finished'), s.state) FROM t_state s""",
            )
        )
        for name in sides
    }
    alike: dict[str, dict[tuple[str, bytes], list[RunDigest]]] = {name: defaultdict(list) for name in sides}
    for name, runs in sides.items():
        for run in sorted(runs.values(), key=lambda run: run.created_at):
            if run.parent is None:
                alike[name][run.workflow, run.input].append(run)
    pairs = [
        (a, b) for key, group in alike["shop-staging"].items() for a, b in zip(alike["shop"][key], group, strict=False)
    ]
    assert len(pairs) == 200
    counted = Counter(
        (results["shop"][a.id] == results["shop-staging"][b.id], a.content == b.content) for a, b in pairs
    )
    assert counted == {(True, True): 161, (True, False): 5, (False, False): 34}


@pytest.mark.parametrize("name", ["old-0.38.3", "shop"])
def test_one_byte_changed_in_a_row_of_the_log_alters_exactly_that_history(fresh: Files, name: str) -> None:
    path = fresh(name)
    before = digests(path)
    rows = sql(
        path, "SELECT rowid, execution_id, json_value, variant FROM t_execution_log ORDER BY length(json_value) DESC"
    )
    for row, run_id, source, variant in (rows[0], rows[len(rows) // 2], rows[-1]):
        for changed in LOG:
            new = json.dumps(json.loads(source), ensure_ascii=False) + " " if changed == "json_value" else "changed"
            saved = sql(path, f"SELECT {changed} FROM t_execution_log WHERE rowid = ?", row)[0][0]
            sql(path, f"UPDATE t_execution_log SET {changed} = ? WHERE rowid = ?", new, row)
            assert altered(before, digests(path)) == {run_id}, (changed, variant)
            sql(path, f"UPDATE t_execution_log SET {changed} = ? WHERE rowid = ?", saved, row)
    row, run_id = sql(path, "SELECT id, execution_id FROM t_join_set_response WHERE delay_id IS NOT NULL")[0]
    for changed in RESPONSE:
        saved = sql(path, f"SELECT {changed} FROM t_join_set_response WHERE id = ?", row)[0][0]
        new = 7 if changed in ("delay_success", "finished_version") else "changed"
        sql(path, f"UPDATE t_join_set_response SET {changed} = ? WHERE id = ?", new, row)
        assert altered(before, digests(path)) == {run_id}, changed
        sql(path, f"UPDATE t_join_set_response SET {changed} = ? WHERE id = ?", saved, row)
    assert digests(path) == before


@pytest.mark.parametrize("name", ["old-0.38.3", "shop"])
def test_progress_alters_no_history(fresh: Files, name: str) -> None:
    path = fresh(name)
    before = digests(path)
    known = {row[1] for row in sql(path, "PRAGMA table_info(t_state)")}
    for changed in known & set(PROGRESS):
        new = {"corresponding_version": "99", "lifecycle": "'paused'"}.get(changed, "'2030-01-01 00:00:00+00:00'")
        sql(path, f"UPDATE t_state SET {changed} = {new}")
    sql(path, "DELETE FROM t_delay")
    sql(path, "UPDATE t_join_set_response SET id = id + 100000")
    assert not altered(before, digests(path))


def test_large_parameters_count_to_their_last_byte_and_are_no_content(fresh: Files) -> None:
    path = fresh("shop")
    before = digests(path)
    (run_id, source) = sql(
        path,
        """SELECT execution_id, json_value FROM t_execution_log WHERE variant = 'created'
        ORDER BY length(json_value) DESC LIMIT 1""",
    )[0]
    params = json.dumps(json.loads(source)["created"]["params"])
    assert len(params) > 200_000
    end = max(place for place, character in enumerate(params) if character.isalnum())
    changed = params[:end] + ("7" if params[end] != "7" else "8") + params[end + 1 :]
    where = "WHERE execution_id = ? AND version = 0"
    sql(
        path,
        f"UPDATE t_execution_log SET json_value = json_set(json_value, '$.created.params', json(?)) {where}",
        changed,
        run_id,
    )
    after = digests(path)
    assert altered(before, after) == {run_id}
    stored = column(path, f"SELECT json_value->'$.created.params' FROM t_execution_log {where}", run_id)[0]
    assert after[run_id].input == hashlib.sha256(stored.encode()).digest()[:16] != before[run_id].input
    assert after[run_id].content == before[run_id].content
