"""The OpenAPI document and the page that shows it. That answers are as it says is checked by ``asking`` in every other test."""

import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from asking import Asker, faults

from runs.addresses import decode

Ask = Callable[..., Asker]


@pytest.fixture
def document(ask: Ask, tmp_path: Path) -> Any:
    return ask(tmp_path).document


WRITTEN = (
    "/api/v1/databases/{slug}/runs/{run}/retry/",
    "/api/v1/retries/",
    "/api/v1/jobs/{number}/cancel/",
)


def operations(document: Any, method: str = "get") -> Iterator[tuple[str, Any]]:
    for path, methods in document["paths"].items():
        assert methods.keys() <= {"get", "post"}
        if method in methods:
            yield path, methods[method]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_document_is_openapi_3_1_and_refers_to_nothing_that_is_not_in_it(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"].keys() >= {"title", "version"}
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) == known


def test_every_address_of_the_interface_is_described(document: Any) -> None:
    assert [path for path, _ in operations(document)] == [
        "/api/v1/databases/",
        "/api/v1/databases/{slug}/",
        "/api/v1/databases/{slug}/runs/",
        "/api/v1/runs/",
        "/api/v1/databases/{slug}/runs/{run}/",
        "/api/v1/databases/{slug}/runs/{run}/events/",
        "/api/v1/databases/{slug}/runs/{run}/payloads/{name}/",
        "/api/v1/databases/{slug}/runs/{run}/retry/",
        "/api/v1/retries/",
        "/api/v1/retries/{number}/",
        "/api/v1/jobs/{number}/",
        "/api/v1/compare/",
        "/api/v1/compare/runs/",
    ]
    assert tuple(path for path, _ in operations(document, "post")) == WRITTEN


def test_every_operation_names_its_parameters_its_answer_and_its_errors(document: Any) -> None:
    every = [*operations(document), *operations(document, "post")]
    names = [operation["operationId"] for _, operation in every]
    assert len(set(names)) == len(names)
    for path, operation in every:
        in_path = [parameter for parameter in operation["parameters"] if parameter["in"] == "path"]
        assert re.findall(r"\{(\w+)\}", path) == [parameter["name"] for parameter in in_path]
        assert all(parameter["required"] for parameter in in_path)
        assert all(parameter["description"] for parameter in operation["parameters"])
        keys = [(parameter["in"], parameter["name"]) for parameter in operation["parameters"]]
        assert len(set(keys)) == len(keys)
        for status, answer in operation["responses"].items():
            assert answer["description"]
            name = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert (name in ("Problem", "Conflict")) is (int(status) >= 400)
    for path, operation in operations(document):
        expected = {"200", "400"} | ({"404"} if "{" in path else set())
        expected |= {"422", "423", "503"} if "{slug}/runs" in path or "/retries/{" in path else set()
        expected |= {"404", "422", "423", "503"} if "/compare/" in path else set()
        expected |= {"202"} if path.endswith("/compare/") else set()
        assert operation["responses"].keys() == expected
    for path, operation in operations(document, "post"):
        assert {"403", "415"} <= operation["responses"].keys(), path
        assert ("requestBody" in operation) is ("cancel" not in path)


def test_every_parameter_that_is_described_is_understood(ask: Ask, unpacked: Callable[[str], Path]) -> None:
    get = ask(unpacked("mini-3.4.0"))
    run = get("/api/v1/runs/", limit=1)["runs"][0]["href"]
    addresses = {"{slug}": "mini-3.4.0", "{run}": run.split("/")[-2], "{name}": "run.input", "{number}": "1"}
    examples = {"array": "mini-3.4.0", "integer": "5", "string": ""}
    of_two = {
        "a": "mini-3.4.0",
        "b": "mini-3.4.0",
        "a_run": decode(addresses["{run}"]),
        "b_run": decode(addresses["{run}"]),
    }
    for path, operation in operations(get.document):
        address = re.sub(r"\{\w+\}", lambda match: addresses[match[0]], path)
        if "{number}" in path:
            continue  # nothing is recorded here; test_api_retry asks for those
        needed = {name: of_two[name] for name in (each["name"] for each in operation["parameters"]) if name in of_two}
        for parameter in operation["parameters"]:
            if parameter["in"] == "query" and parameter["name"] not in ("raw", *needed):
                schema = parameter["schema"]
                value = (schema.get("items", schema).get("enum") or [examples[schema["type"]]])[0]
                value = "$.id" if parameter["name"] == "ignore" else value
                get(address, **needed, **{parameter["name"]: value})
        assert get(address, none_of_ours="1", expect=400)["error"] == "BadFilter"


def test_the_checker_of_answers_finds_what_is_wrong(document: Any) -> None:
    schema = {"$ref": "#/components/schemas/Reference"}
    right = {"id": "a", "href": "/a", "page": "/b"}
    assert faults(right, schema, document) == []
    for wrong in ({**right, "more": 1}, {"id": "a", "href": "/a"}, {**right, "id": 1}, None):
        assert faults(wrong, schema, document)
    step = document["components"]["schemas"]["Step"]["properties"]
    assert faults("2026-11-22 13:07:29", step["started_at"], document)
    assert faults("done", step["status"], document)


class Links(HTMLParser):
    """The ids of a page, where its links lead, and what a strict policy would refuse."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.refused: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.targets += [found["href"] or ""] if tag == "a" and "href" in found else []
        if tag == "style" or (tag == "script" and "src" not in found) or "style" in found:
            self.refused.append(tag)
        self.refused += [name for name in found if name.startswith("on")]


def test_the_page_shows_every_operation_and_object_without_script_or_inline_style(ask: Ask, tmp_path: Path) -> None:
    get = ask(tmp_path)

    answer = get.client.get("/api/v1/docs")

    assert answer.status_code == 200
    page = Links(answer.text)
    assert page.refused == []
    assert len(set(page.ids)) == len(page.ids)
    for method in ("get", "post"):
        for path, operation in operations(get.document, method):
            assert f"{method.upper()} {path}" in answer.text
            assert operation["operationId"] in page.ids
    assert set(get.document["components"]["schemas"]) <= set(page.ids)
    inside = {target[1:] for target in page.targets if target.startswith("#")}
    assert inside <= set(page.ids)
    assert "/api/v1/openapi.json" in page.targets


def test_the_document_is_plain_json(ask: Ask, tmp_path: Path) -> None:
    answer = ask(tmp_path).client.get("/api/v1/openapi.json")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert json.loads(answer.content)["info"]["title"] == "Durascope"
