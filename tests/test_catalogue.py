"""Which databases are served, and what they are called."""

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import catalogue
from runs.catalogue import Catalogue, safe
from runs.errors import DatabaseNotFound, FileMissing, NotAFile, UnknownSchema


@pytest.fixture(autouse=True)
def _scan_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "RESCAN_SECONDS", 0.0)


def database(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    return path


def slugs(*specs: object) -> list[str]:
    return [found.slug for found in Catalogue([str(spec) for spec in specs]).databases()]


def places(*specs: object) -> dict[str, str]:
    return {found.slug: found.source.place for found in Catalogue([str(spec) for spec in specs]).databases()}


def test_a_file_is_called_by_its_stem_and_a_named_one_by_its_name(tmp_path: Path) -> None:
    path = database(tmp_path / "mini-1.13.0.sqlite")
    assert slugs(path) == ["mini-1.13.0"]
    assert places(f"orders={path}") == {"orders": str(path)}


def test_a_name_with_an_equals_sign_that_exists_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database(tmp_path / "a=b.sqlite")
    monkeypatch.chdir(tmp_path)
    assert places("a=b.sqlite") == {"a-b": str(tmp_path / "a=b.sqlite")}


def test_a_file_named_twice_counts_once_under_the_name_given(tmp_path: Path) -> None:
    path = database(tmp_path / "shop.sqlite")
    (tmp_path / "link").symlink_to(path)
    assert slugs(path, tmp_path, f"orders={path}", tmp_path / "link", tmp_path / "*.sqlite") == ["orders"]


def test_a_folder_is_scanned_for_sqlite_files_two_levels_below(tmp_path: Path) -> None:
    database(tmp_path / "b.sqlite")
    database(tmp_path / "a.anything")
    database(tmp_path / "sub" / "c.db")
    database(tmp_path / "sub" / "deeper" / "d.db")
    database(tmp_path / "sub" / "deeper" / "deepest" / "e.db")
    database(tmp_path / ".hidden.db")
    database(tmp_path / ".folder" / "f.db")
    database(tmp_path / "g.db-wal")
    (tmp_path / "notes.txt").write_text("SQLite format 3")
    (tmp_path / "empty.sqlite").touch()
    (tmp_path / "link.sqlite").symlink_to(database(tmp_path.parent / f"{tmp_path.name}-elsewhere" / "h.db"))
    (tmp_path / "up").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.sqlite")
    assert slugs(tmp_path) == ["a", "b", "c", "d"]
    assert slugs(f"mine={tmp_path}") == ["mine-a", "mine-b", "mine-c", "mine-d"]


def test_new_files_are_picked_up_and_removed_ones_dropped_while_running(tmp_path: Path) -> None:
    served = Catalogue([str(tmp_path)])
    assert served.databases() == ()
    (tmp_path / "new.sqlite").touch()
    assert served.databases() == ()
    path = database(tmp_path / "new.sqlite")
    assert [found.slug for found in served.databases()] == ["new"]
    path.unlink()
    assert served.databases() == ()


def test_folders_are_read_at_most_once_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "RESCAN_SECONDS", 3600.0)
    served = Catalogue([str(tmp_path)])
    assert served.databases() == ()
    database(tmp_path / "new.sqlite")
    assert served.databases() == ()


def test_a_folder_of_very_many_entries_is_not_read_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MAX_ENTRIES", 3)
    for number in range(5):
        database(tmp_path / f"{number}.sqlite")
    assert len(slugs(tmp_path)) == 3
    assert len(slugs(tmp_path / "*")) == 3


def test_of_very_many_databases_the_first_are_served_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "MAX_DATABASES", 3)
    for number in range(5):
        database(tmp_path / f"{number}.sqlite")
    served = Catalogue([str(tmp_path)])
    assert [found.slug for found in served.databases()] == ["0", "1", "2"]
    assert served.cut == {str(tmp_path)}
    assert slugs(tmp_path / "*") == ["0", "1", "2"]
    named = Catalogue([str(tmp_path), str(tmp_path / "4.sqlite")])
    assert [found.slug for found in named.databases()] == ["0", "1", "2", "4"]


def test_a_glob_finds_what_it_matches(tmp_path: Path) -> None:
    for name in ("a/x.sqlite", "a/b/y.sqlite", "a/b/c/d/z.sqlite", "a/b/other.db"):
        database(tmp_path / name)
    database(tmp_path / "literally [1].sqlite")
    assert slugs(tmp_path / "**" / "*.sqlite") == ["z", "y", "x", "literally-1"]
    assert slugs(tmp_path / "a" / "?.sqlite") == ["x"]
    assert slugs(tmp_path / "literally [1].sqlite") == ["literally-1"]
    assert slugs(tmp_path / "nothing*") == []


def test_a_missing_file_stays_in_the_list_and_says_what_is_wrong(tmp_path: Path) -> None:
    served = Catalogue([str(tmp_path / "gone.sqlite")])
    (found,) = served.databases()
    with pytest.raises(FileMissing, match=re.escape(str(tmp_path / "gone.sqlite"))):
        found.read(lambda engine: engine.slug)
    database(tmp_path / "gone.sqlite")
    with pytest.raises(UnknownSchema, match="Tables: t"):
        served.database("gone").read(lambda engine: engine.slug)


def test_what_is_named_is_listed_even_where_it_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotAFile):
        Catalogue([str(tmp_path / "pipe")]).database("pipe").read(lambda engine: engine.slug)


def test_an_unknown_slug_names_the_known_ones(tmp_path: Path) -> None:
    served = Catalogue([str(database(tmp_path / name)) for name in ("a.db", "b.db")])
    assert served.database("b").slug == "b"
    with pytest.raises(DatabaseNotFound, match=r"'c' is unknown\. Served here: a, b\."):
        served.database("c")
    with pytest.raises(DatabaseNotFound, match="None is served"):
        Catalogue([]).database("c")


def test_common_and_clashing_stems_take_the_folder_then_a_hash_never_a_number(tmp_path: Path) -> None:
    shop = database(tmp_path / "shop" / "obelisk.sqlite")
    one, two = database(tmp_path / "one" / "app.db"), database(tmp_path / "two" / "app.db")
    assert slugs(shop, one) == ["shop", "app"]
    assert slugs(shop, one, two) == ["shop", "one", "two"]
    other = database(tmp_path / "more" / "one" / "app.db")
    hashed = slugs(one, two, other)
    assert hashed[1] == "two"
    assert re.fullmatch(r"app-[0-9a-f]{8}", hashed[0])
    assert re.fullmatch(r"app-[0-9a-f]{8}", hashed[2])
    assert hashed[0] != hashed[2]


def test_slugs_do_not_depend_on_the_order(tmp_path: Path) -> None:
    paths = [
        database(tmp_path / name)
        for name in ("one/app.db", "two/app.db", "more/one/app.db", "app/obelisk.sqlite", "x/one.sqlite", "y.db")
    ]
    assert places(*paths) == places(*reversed(paths))


def test_a_file_that_appears_in_a_folder_never_takes_the_slug_of_a_named_one(tmp_path: Path) -> None:
    named = database(tmp_path / "b" / "shop.sqlite")
    served = Catalogue([str(named), str(tmp_path)])
    assert {found.slug for found in served.databases()} == {"shop"}
    database(tmp_path / "a" / "shop.sqlite")
    assert served.database("shop").source.place == str(named)
    assert served.database("a").source.place == str(tmp_path / "a" / "shop.sqlite")


@given(st.text(max_size=200))
def test_a_slug_is_safe_in_an_address(text: str) -> None:
    slug = safe(text)
    assert re.fullmatch(r"[A-Za-z0-9_.-]*", slug, re.ASCII)
    assert len(slug) <= 80
    assert not slug.startswith((".", "-"))
    assert safe(slug) == slug


def test_names_without_any_safe_character_get_a_slug_all_the_same(tmp_path: Path) -> None:
    path = database(tmp_path / "журнал" / "база.sqlite")
    (slug,) = slugs(path)
    assert re.fullmatch(r"database-[0-9a-f]{8}", slug)
    assert slugs(database(tmp_path / "Größe.db")) == ["Groe"]


def test_the_process_serves_what_its_environment_names(
    unpacked: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(unpacked("mini-3.4.0"), tmp_path / "line one.sqlite")
    monkeypatch.setenv("DURASCOPE_PATHS", f"{tmp_path}/line one.sqlite\n\nshop={unpacked('shop')}\n")
    catalogue.served.cache_clear()
    try:
        read = {found.slug: found.read(lambda engine: engine.slug) for found in catalogue.served().databases()}
    finally:
        catalogue.served.cache_clear()
    assert read == {"line-one": "dbos", "shop": "obelisk"}
