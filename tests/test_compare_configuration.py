"""What two files are set up for, side by side: schema, and what is in force of the configuration, not of its history."""

from collections.abc import Callable
from pathlib import Path

from runs.compare import reading
from runs.compare.configuration import settings
from runs.compare.records import Setting
from tests.comparisons import database, rows

Unpacked = Callable[[str], Path]
ACTIVE = """SELECT c.component_name, lower(substr(hex(c.component_digest), 1, 12)) FROM t_deployment_component c
JOIN t_deployment d USING (deployment_id) WHERE d.status = 'active'"""


def compared(a: Path, b: Path) -> tuple[Setting, ...]:
    (_, _, one), (_, _, other) = reading.describe(database(a)), reading.describe(database(b))
    return settings(one, other)


def test_components_are_those_of_the_active_deployment(fresh: Unpacked) -> None:
    shop, staging = fresh("shop"), fresh("shop-staging")
    found = {each.name: each for each in compared(shop, staging) if each.kind == "components"}
    a, b = dict(rows(shop, ACTIVE)), dict(rows(staging, ACTIVE))
    assert found.keys() == a.keys() | b.keys()
    for name, each in found.items():
        for said, versions in ((each.a, a), (each.b, b)):
            assert f"version {versions[name]}" in said if name in versions else said == ""
    assert [name for name, each in found.items() if not each.same] == ["shop-workflows"]


def test_without_an_active_deployment_components_are_those_of_the_newest(fresh: Unpacked) -> None:
    shop, staging = fresh("shop"), fresh("shop-staging")
    newest = dict(rows(shop, ACTIVE))  # in this file the active one is the newest
    rows(shop, "UPDATE t_deployment SET status = 'inactive'")
    found = {each.name: each.a for each in compared(shop, staging) if each.kind == "components" and each.a}
    assert found.keys() == newest.keys()
    assert f"version {newest['shop-workflows']}" in found["shop-workflows"]


def test_tables_and_columns_that_one_schema_lacks_are_named(fresh: Unpacked) -> None:
    differing = {
        (each.kind, each.name): (each.a, each.b)
        for each in compared(fresh("old-0.38.3"), fresh("shop"))
        if not each.same
    }
    assert differing["schema", "revision"] == ("V3", "V17")
    assert differing["tables", "t_file"] == ("", "there")
    assert differing["columns", "t_state.lifecycle"][0] == ""
    assert ("columns", "t_state.execution_id") not in differing


def test_queues_of_both_are_set_side_by_side(fresh: Unpacked) -> None:
    zoo = fresh("zoo-3.4.0")
    names = {name for (name,) in rows(zoo, "SELECT name FROM queues")}
    assert names
    found = compared(fresh("mini-3.4.0"), zoo)
    assert names <= {each.name for each in found if each.kind == "queues" and each.b}
