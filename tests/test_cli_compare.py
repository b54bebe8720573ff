"""``durascope compare``: what it prints, and the exit code that a pipeline goes by."""

import json
import re
import sqlite3
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from serving import run

from inspector.cli import main
from runs.compare.failing import conditions
from runs.errors import BadFilter
from tests.comparisons import rows

Unpacked = Callable[[str], Path]
Compare = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str], kept: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """The command within this process."""
    monkeypatch.setenv("DURASCOPE_STATE", str(kept))

    def call(*arguments: str | Path) -> CompletedProcess[str]:
        try:
            code = main(["compare", *map(str, arguments)])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        said = capsys.readouterr()
        return CompletedProcess(arguments, code, said.out, said.err)

    return call


def test_the_json_has_the_relation_and_counts_that_sql_counts(compare: Compare, unpacked: Unpacked) -> None:
    done = compare(unpacked("shop"), unpacked("shop-early"), "--format", "json")
    found = json.loads(done.stdout)
    runs = {}
    for name in ("shop", "shop-early"):
        with closing(sqlite3.connect(unpacked(name))) as connection:
            runs[name] = {row[0] for row in connection.execute("SELECT execution_id FROM t_state")}
    assert done.returncode == 0
    assert found["relation"] == "a_extends_b"
    assert (found["runs"]["a"], found["runs"]["b"]) == (962, 429)
    assert found["runs"]["by"]["id"] == len(runs["shop"] & runs["shop-early"]) == 429
    assert found["a"]["ahead"]["new_runs"] == len(runs["shop"] - runs["shop-early"])
    assert found["runs"]["rewritten"] == 0
    assert found["rewritten"] == []
    assert sum(group["a"]["count"] for group in found["workflows"]) == 962


def test_the_command_itself_compares_and_its_exit_code_reaches_the_shell(unpacked: Unpacked, kept: Path) -> None:
    done = run(
        "compare",
        str(unpacked("shop-early")),
        str(unpacked("shop")),
        "--fail-on",
        "different",
        DURASCOPE_STATE=str(kept),
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "A is an earlier copy of B." in done.stdout


def test_text_and_markdown_say_the_relation_and_escape_what_a_file_says(compare: Compare, unpacked: Unpacked) -> None:
    text = compare(unpacked("shop"), unpacked("shop-fork"))
    assert "Both come from one database, and each went on by itself." in text.stdout
    assert "\x1b" not in text.stdout
    markdown = compare(unpacked("shop"), unpacked("shop-fork"), "--format", "markdown").stdout
    assert markdown.startswith("## shop and shop-fork\n")
    assert "| workflow |" in markdown
    assert "<html>" not in markdown


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_runs_that_only_one_side_has_are_named_and_how_many_more_there_are(
    compare: Compare, unpacked: Unpacked, form: str
) -> None:
    pair = unpacked("shop"), unpacked("shop-fork")
    counts = json.loads(compare(*pair, "--format", "json").stdout)["runs"]
    said = compare(*pair, "--format", form).stdout.replace("\\", "")
    ids = [{run for (run,) in rows(path, "SELECT execution_id FROM t_state")} for path in pair]
    for side, mine, other in (("A", *ids), ("B", *reversed(ids))):
        named = re.findall(rf"only in {side}: (\S+)", said)
        assert len(named) == len(set(named)) == 30
        assert set(named) <= mine - other
        assert f"and {counts[f'only_{side.lower()}'] - 30:,} more only in {side}" in said


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_why_two_engines_can_only_be_told_by_distributions_is_said_once(
    compare: Compare, unpacked: Unpacked, form: str
) -> None:
    said = compare(unpacked("shop"), unpacked("zoo-3.4.0"), "--format", form).stdout
    assert said.count("A is a database of Obelisk, B of DBOS.") == 1


def test_the_exit_code_is_1_where_a_condition_found_something(compare: Compare, unpacked: Unpacked) -> None:
    pair = (unpacked("shop"), unpacked("shop-staging"))
    assert compare(*pair, "--fail-on", "rewritten").returncode == 0
    failed = compare(*pair, "--fail-on", "rewritten,new-errors,p95>100x")
    assert failed.returncode == 1
    assert "FAILED  new-errors" in failed.stdout
    assert "passed  rewritten" in failed.stdout
    assert "passed  p95>100x" in failed.stdout
    assert compare(unpacked("shop-early"), unpacked("shop"), "--fail-on", "different").returncode == 1


def test_the_exit_code_is_2_where_they_can_not_be_compared(
    compare: Compare, unpacked: Unpacked, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no database")
    done = compare(unpacked("shop"), tmp_path / "notes.txt")
    assert done.returncode == 2
    assert done.stderr.startswith("durascope: ")
    assert compare(unpacked("shop"), unpacked("shop"), "--fail-on", "nonsense").returncode == 2
    assert compare(unpacked("shop"), unpacked("shop"), "--tolerance", "much").returncode == 2


def test_junit_has_a_case_for_each_condition(compare: Compare, unpacked: Unpacked) -> None:
    done = compare(unpacked("shop"), unpacked("shop-staging"), "--format", "junit", "--fail-on", "rewritten,new-errors")
    suite = ET.fromstring(done.stdout)
    assert [case.get("name") for case in suite.iter("testcase")] == ["rewritten", "new-errors"]
    assert [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None] == ["new-errors"]


def test_two_folders_are_compared_by_name(compare: Compare, unpacked: Unpacked, tmp_path: Path) -> None:
    for side, names in (("a", {"shop": "shop", "zoo": "zoo-3.4.0"}), ("b", {"shop": "shop-early", "zoo": "zoo-3.4.0"})):
        (tmp_path / side).mkdir()
        for name, database in names.items():
            (tmp_path / side / f"{name}.sqlite").write_bytes(unpacked(database).read_bytes())
    (tmp_path / "b" / "more.sqlite").write_bytes(unpacked("mini-2.0.0").read_bytes())
    done = compare("--fleet", tmp_path / "a", tmp_path / "b", "--format", "json")
    rows = {row["database"]: row for row in json.loads(done.stdout)["databases"]}
    assert {name: row["relation"] for name, row in rows.items()} == {"more": None, "shop": "a_extends_b", "zoo": "same"}
    assert rows["more"]["summary"] == "only in B"
    assert compare("--fleet", tmp_path / "a", tmp_path / "b", "--fail-on", "missing").returncode == 1


def test_a_condition_that_is_unknown_names_the_known_ones() -> None:
    assert conditions("rewritten, p95>1.5x") == ("rewritten", "p95>1.5x")
    with pytest.raises(BadFilter, match="rewritten"):
        conditions("p95>fast")
