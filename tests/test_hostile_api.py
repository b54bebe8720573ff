"""schemathesis over the whole OpenAPI document, with every check on, against the real command (--soak)."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving import ROOT, served

pytestmark = pytest.mark.soak

CASES = 100  # at most, of each operation and phase
SECONDS = 1200


@pytest.fixture(scope="module")
def schemathesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its command: where it isn't there already, installed from the dependency group ``soak`` into an environment of its own."""
    if found := shutil.which("schemathesis"):
        return Path(found)
    place = tmp_path_factory.mktemp("schemathesis")
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = (str(place / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet")
    for what in (("--upgrade", "pip>=25.1"), ("--group", f"{ROOT / 'pyproject.toml'}:soak")):
        if subprocess.run([*pip, *what], check=False).returncode:
            pytest.skip("schemathesis can't be installed here")
    return place / "bin" / "schemathesis"


@pytest.mark.parametrize("retries", [False, True], ids=["only read", "retries allowed"])
def test_every_answer_is_as_its_document_says_whatever_is_asked(
    fresh: Callable[[str], Path], tmp_path: Path, schemathesis: Path, retries: bool
) -> None:
    paths = [f"{slug}={fresh(name)}" for slug, name in (("zoo", "zoo-3.4.0"), ("shop", "shop-staging"))]
    allowed = ("--allow-retry", "zoo", "--allow-retry", "shop") if retries else ()
    with served(*paths, *allowed, DURASCOPE_STATE=str(tmp_path / "state")) as durascope:
        done = subprocess.run(
            [
                str(schemathesis), "--config-file", str(ROOT / "tests" / "schemathesis.toml"),
                "run", f"{durascope.url}api/v1/openapi.json", "--checks", "all", "--max-examples", str(CASES),
                "--continue-on-failure", "--request-timeout", "30", "--seed", "20261122", "--no-color",
            ],
            cwd=tmp_path, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        print(done.stdout[-100_000:], done.stderr[-10_000:])
        assert done.returncode == 0
        assert durascope.get("/").status == 200
        durascope.stop()
    assert "Traceback" not in durascope.errors
    assert "Internal Server Error" not in durascope.errors
