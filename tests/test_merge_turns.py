"""Merging many databases without asking all of them: the same list, whichever of them are known to have nothing yet to show."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from runs import fleet, merge
from runs.catalogue import Database
from runs.engines.base import Engine
from runs.engines.dbos import Dbos
from runs.filters import Filter
from runs.merge import merged_runs
from runs.records import Cursor, Page, Run, Status
from runs.sources.sqlite import SqliteSource

T = TypeVar("T")
Unpacked = Callable[[str], Path]


class Unasked(Database):
    """One that must not be asked."""

    def read(self, work: Callable[[Engine], T]) -> T:
        raise AssertionError(f"{self.slug} was asked")


@pytest.fixture(autouse=True)
def one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "ASKED_TOGETHER", 1)


def test_databases_whose_turn_cannot_have_come_are_not_asked(unpacked: Unpacked) -> None:
    zoo = Database(SqliteSource(unpacked("zoo-3.4.0"), "zoo"))
    older = [Unasked(SqliteSource(unpacked("mini-3.4.0"), f"older-{number}")) for number in range(6)]
    newest = {"zoo": datetime(2026, 11, 22, 13, 8, tzinfo=UTC)}
    newest |= {database.slug: datetime(2020, 1, 1, tzinfo=UTC) for database in older}
    shown = merged_runs([*older[:3], zoo, *older[3:]], Filter(), None, 10, newest)
    assert shown.rows == merged_runs([zoo], Filter(), None, 10).rows
    assert shown.next is not None
    with pytest.raises(AssertionError, match="older-"):  # the page has room for more than the newest database holds
        merged_runs([*older, zoo], Filter(), None, 60, newest)


@pytest.mark.no_cover  # the same lines again and again
@pytest.mark.parametrize("where", [Filter(), Filter(root=True), Filter(statuses=frozenset({Status.FAILED}))])
def test_every_page_is_the_same_as_when_all_are_asked(unpacked: Unpacked, where: Filter) -> None:
    names = ("zoo-3.4.0", "shop-early", "mini-1.13.0", "mini-3.4.0", "shop-staging")
    databases = [Database(SqliteSource(unpacked(name), name)) for name in names]
    newest = fleet.newest_by_slug(databases)
    assert set(newest) == set(names)
    after, known = None, None
    for page in range(500):
        whole = merged_runs(databases, where, after, 17)
        some = merged_runs(databases, where, known, 17, newest)
        assert some.rows == whole.rows, page
        after, known = whole.next, some.next
        if after is None:
            break
    assert after is None
    assert known is None or not merged_runs(databases, where, known, 17, newest).rows


def test_each_page_of_one_database_is_one_question(unpacked: Unpacked, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    runs = Dbos.runs

    def noted(self: Dbos, where: Filter, after: Cursor | None, limit: int) -> Page[Run]:
        asked.append(limit)
        return runs(self, where, after, limit)

    monkeypatch.setattr(Dbos, "runs", noted)
    zoo = Database(SqliteSource(unpacked("zoo-3.4.0"), "zoo"))
    after = merged_runs([zoo], Filter(), None, 5).next
    assert after is not None
    assert len(merged_runs([zoo], Filter(), after, 5).rows) == 5
    assert len(asked) == 2


def test_the_newest_run_of_a_database_is_known_without_asking_for_its_list(unpacked: Unpacked) -> None:
    names = ("zoo-3.4.0", "shop-early", "mini-1.13.0", "shop-staging")
    databases = [Database(SqliteSource(unpacked(name), name)) for name in names]
    first = {one.slug: merged_runs([one], Filter(), None, 1).rows[0][1].created_at for one in databases}
    assert fleet.newest_by_slug(databases) == first
