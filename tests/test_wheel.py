"""The wheel, installed into a fresh environment, serves from any directory with what it brought along."""

import lzma
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import ROOT, served


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("durascope-*.whl")
    return built


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``durascope`` of an environment that has the wheel, and the dependencies of this one instead of downloads."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)],
        check=True,
        capture_output=True,
    )
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return place / "bin" / "durascope"


def tracked(folder: str) -> Iterator[str]:
    for path in (ROOT / folder).rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield str(path.relative_to(ROOT))


def test_the_wheel_holds_everything_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    wanted = {f"inspector/{name}" for folder in ("templates", "static") for name in tracked(folder)}
    wanted |= {name for folder in ("inspector", "runs") for name in tracked(folder)}
    assert {name for name in names if ".dist-info/" not in name} == wanted
    assert sum(name.startswith("runs/demo/databases/") for name in names) == 6


def test_the_installed_command_reads_a_database_from_an_empty_folder(command: Path, tmp_path: Path) -> None:
    empty, data = tmp_path / "empty", tmp_path / "data"
    empty.mkdir()
    data.mkdir()
    packed = ROOT / "runs" / "demo" / "databases" / "zoo-3.4.0.sqlite.xz"
    (data / "zoo.sqlite").write_bytes(lzma.decompress(packed.read_bytes()))
    done = subprocess.run(
        [str(command), "check", str(data)],
        cwd=empty,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "34 succeeded" in done.stdout

    python = command.with_name("python")
    where = subprocess.run(
        [str(python), "-c", "import inspector, runs; print(inspector.__file__, runs.__file__)"],
        cwd=empty, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert all(str(command.parent.parent) in place for place in where), "the repository must not be what is imported"

    with served("serve", str(data), cwd=empty, command=(str(command),), PYTHONPATH="") as durascope:
        page = durascope.get("/")
        assert page.status == 200
        assert "zoo" in page.text
        assert durascope.get("/static/css/tokens.css").status == 200
        assert durascope.stop() == 0
    assert list(empty.iterdir()) == []
