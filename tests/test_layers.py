"""The layer rule of ``runs/__init__.py``, read from the imports themselves."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from runs import LAYERS

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs"
MODULES = tuple(sorted(path for path in RUNS.rglob("*.py") if path != RUNS / "__init__.py"))
LAYER = {name: number for number, layer in enumerate(LAYERS) for name in layer}
OUTERMOST = frozenset({"views", "api", "templatetags", "urls", "apps"})
KNOW_DJANGO = OUTERMOST | {"state"}
DJANGO = frozenset({"django", "django_extensions", "ninja", "whitenoise"})


def part(path: Path) -> str:
    """``runs/engines/dbos/steps.py`` is part of ``engines``."""
    return path.relative_to(RUNS).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported anywhere in the module, inside functions too."""
    package = ("runs", *path.relative_to(RUNS).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join((*package[: len(package) - node.level + 1], node.module or "")) if node.level else node.module
            )
            yield from ((node.lineno, f"{base}.{alias.name}".replace("..", ".")) for alias in node.names)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_module_belongs_to_a_layer(path: Path) -> None:
    assert part(path) in LAYER


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_imports_only_from_layers_above_its_own(path: Path) -> None:
    own = part(path)
    for line, name in imported(path):
        top, _, rest = name.partition(".")
        assert top != "inspector", f"{named(path)}:{line} imports the project: {name}"
        other = rest.partition(".")[0]
        if top != "runs" or other == own or not (other in LAYER or (RUNS / f"{other}.py").exists()):
            continue
        outer = own in OUTERMOST and other in OUTERMOST
        assert LAYER[other] < LAYER[own] or outer, f"{named(path)}:{line} imports {name}, which lies below it"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_django_is_known_to_the_outermost_modules_alone(path: Path) -> None:
    found = [f"{named(path)}:{line} {name}" for line, name in imported(path) if name.partition(".")[0] in DJANGO]
    assert not found or part(path) in KNOW_DJANGO, found


@pytest.mark.parametrize("path", [path for path in MODULES if part(path) != "sources"], ids=named)
def test_only_sources_open_databases(path: Path) -> None:
    found = [
        f"{named(path)}:{line} {name}" for line, name in imported(path) if name.partition(".")[0] in ("apsw", "sqlite3")
    ]
    assert not found


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_nothing_is_unpickled_or_evaluated(path: Path) -> None:
    unsafe = {"pickle", "_pickle", "cPickle", "jsonpickle", "dill", "cloudpickle", "marshal", "shelve"}
    writing = "marshal.dumps"  # by its full name: what writes can't read
    assert not [name for _, name in imported(path) if name.partition(".")[0] in unsafe and name != writing]
    calls = [
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert not {"eval", "exec", "compile", "__import__"} & set(calls)


@pytest.mark.parametrize("path", [path for path in MODULES if part(path) == "engines"], ids=named)
def test_engines_know_nothing_of_each_other(path: Path) -> None:
    parts = path.relative_to(RUNS / "engines").parts
    others = {folder.name for folder in (RUNS / "engines").iterdir() if folder.is_dir()} - {parts[0]}
    if len(parts) > 1:
        assert not [name for _, name in imported(path) if name.startswith(tuple(f"runs.engines.{o}." for o in others))]


def test_every_layer_names_modules_that_exist() -> None:
    present = {part(path) for path in MODULES}
    assert [name for name in LAYER if name not in present] == []
    assert len(LAYER) == sum(len(layer) for layer in LAYERS), "a name in two layers"
