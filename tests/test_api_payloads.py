"""Payloads over the JSON interface: the bytes as stored, and values that another decoder agrees with."""

import base64
import io
import json
import pickle
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asking import Asker

from runs.addresses import encode
from runs.api.excerpt import excerpt
from runs.payloads import to_json
from runs.payloads.tree import Bytes, Mapping, Node, Scalar, Sequence, elided

Unpacked = Callable[[str], Path]
Ask = Callable[..., Asker]

STORED = {
    "input": "SELECT i.workflow_uuid, i.inputs, s.serialization FROM workflow_input i JOIN workflow_status s USING (workflow_uuid)",
    "output": "SELECT o.workflow_uuid, o.output, s.serialization FROM workflow_output o JOIN workflow_status s "
    "USING (workflow_uuid) WHERE o.output IS NOT NULL",
}  # fmt: skip


class Refused(Exception):
    """The pickle names a class."""


class PlainUnpickler(pickle.Unpickler):
    """Python's own, for what needs no class: an independent answer to what a payload holds."""

    def find_class(self, module: str, name: str) -> Any:
        raise Refused(f"{module}.{name}")


def as_json(value: Any) -> Any:
    """What the interface writes for a Python value without classes, said once more and independently."""
    if isinstance(value, tuple):
        return {"$type": "tuple", "value": [as_json(item) for item in value]}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return value


def read(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize("slot", ["input", "output"])
def test_raw_gives_the_bytes_that_are_stored_as_a_file(
    ask: Ask, unpacked: Unpacked, fresh: Unpacked, slot: str
) -> None:
    get = ask(unpacked("zoo-3.4.0"))
    stored = read(fresh("zoo-3.4.0"), STORED[slot])
    assert len(stored) > 30
    for run_id, text, _ in stored:
        detail = get(f"/api/v1/databases/zoo-3.4.0/runs/{encode(run_id)}/")
        answer = get.client.get(f"{detail['payloads'][slot]['href']}?raw")
        assert answer.content == text.encode()
        assert detail["payloads"][slot]["size_bytes"] == len(text.encode())
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="run.{slot}"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Durascope-Truncated"] == "false"


def test_values_of_dbos_are_those_that_python_itself_reads(ask: Ask, unpacked: Unpacked, fresh: Unpacked) -> None:
    get = ask(unpacked("zoo-3.4.0"))
    agreed = {"py_pickle": 0, "portable_json": 0}
    for slot, sql in STORED.items():
        for run_id, text, serialization in read(fresh("zoo-3.4.0"), sql):
            href = f"/api/v1/databases/zoo-3.4.0/runs/{encode(run_id)}/payloads/run.{slot}/"
            if serialization == "portable_json":
                assert get(href)["value"] == json.loads(text)
            else:
                try:
                    expected = PlainUnpickler(io.BytesIO(base64.b64decode(text))).load()
                except Refused:
                    continue
                answer = get(href)
                if isinstance(expected, dict) and any(not isinstance(key, str) for key in expected):
                    continue
                assert answer["value"] == as_json(expected)
                assert (answer["problem"], answer["truncated"]) == (None, False)
            agreed[serialization or "py_pickle"] += 1
    assert agreed["py_pickle"] > 60
    assert agreed["portable_json"] == 3


def test_every_payload_of_every_dbos_file_is_readable(ask: Ask, unpacked: Unpacked) -> None:
    names = [
        "custom_anon",
        "custom_named",
        "custom_portable",
        "go-1.8.0",
        "go-gob-1.8.0",
        "mini-1.13.0",
        "mini-3.4.0-py312",
    ]
    get = ask(*(unpacked(name) for name in names))
    seen = 0
    for run in get.pages("/api/v1/runs/", "runs", limit=100):
        detail = get(run["href"])
        for payload in (p for owner in (detail, *detail["steps"]) for p in owner["payloads"].values() if p):
            answer = get(payload["href"])
            assert answer["encoding"] == payload["encoding"]
            if answer["problem"] is not None:  # a serializer of the application's own: its text is shown as it is
                assert answer["encoding"] in ("acme_msgpack", "custom_serializer"), answer
                assert isinstance(answer["value"], str)
            seen += 1
    assert seen > 150


def test_outputs_of_obelisk_are_the_values_in_its_log(
    ask: Ask, unpacked: Unpacked, oracle: Callable[[str], Any]
) -> None:
    get = ask(unpacked("shop"))
    compared = 0
    for run_id, told in oracle("shop")["details"].items():
        detail = get(f"/api/v1/databases/shop/runs/{encode(run_id)}/")
        raw = get.client.get(f"{detail['payloads']['input']['href']}?raw").content
        assert json.loads(raw) == told["events"][0]["event"]["created"]["params"]
        last = told["events"][-1]["event"]
        if "finished" in last:
            slot = "output" if "ok" in last["finished"]["retval"] else "error"
            raw = get.client.get(f"{detail['payloads'][slot]['href']}?raw").content
            assert json.loads(raw) == last["finished"]["retval"]
            compared += 1
    assert compared > 20


def test_a_value_larger_than_the_limit_is_marked_and_never_taken_for_data(ask: Ask, unpacked: Unpacked) -> None:
    get = ask(unpacked("zoo-3.4.0"))
    steps = get("/api/v1/databases/zoo-3.4.0/runs/wf-big/")["steps"]
    payload = max((step["payloads"]["output"] for step in steps), key=lambda output: output["size_bytes"])
    assert payload["size_bytes"] > 4_000_000

    whole = get(payload["href"], limit=64 * 1024 * 1024)
    part = get(payload["href"], limit=1000)

    assert whole["truncated"] is False
    assert "elided" not in json.dumps(whole)[:1000]
    assert part["truncated"] is True
    assert "elided" in json.dumps(part)
    assert len(json.dumps(part)) < 2000
    assert len(get.client.get(f"{payload['href']}?raw").content) == payload["size_bytes"]


def test_a_file_that_lacks_its_end_says_so_in_its_name(ask: Ask, fresh: Unpacked) -> None:
    path = fresh("zoo-3.4.0")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE workflow_output SET output = hex(zeroblob(34000000)) WHERE workflow_uuid = 'wf-happy'"
        )
    get = ask(path)

    answer = get.client.get("/api/v1/databases/zoo-3.4.0/runs/wf-happy/payloads/run.output/?raw")

    assert len(answer.content) == 64 * 1024 * 1024
    assert answer.headers["Content-Disposition"] == 'attachment; filename="run.output.cut"'
    assert answer.headers["Durascope-Truncated"] == "true"
    decoded = get("/api/v1/databases/zoo-3.4.0/runs/wf-happy/payloads/run.output/")
    assert (decoded["size_bytes"], decoded["truncated"]) == (68_000_000, True)


@pytest.mark.parametrize("query", ["limit=0", "limit=67108865", "raw=1", "at=0", "limit=many"])
def test_a_payload_refuses_what_it_does_not_know(ask: Ask, unpacked: Unpacked, query: str) -> None:
    address = f"/api/v1/databases/zoo-3.4.0/runs/wf-happy/payloads/run.input/?{query}"
    assert ask(unpacked("zoo-3.4.0"))(address, expect=400)["error"] == "BadFilter"


def test_a_payload_that_nothing_can_decode_says_so_and_can_still_be_taken_away(ask: Ask, fresh: Unpacked) -> None:
    path = fresh("zoo-3.4.0")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE workflow_output SET output = '%%%' WHERE workflow_uuid = 'wf-happy'")
    get = ask(path)

    answer = get("/api/v1/databases/zoo-3.4.0/runs/wf-happy/payloads/run.output/")

    assert answer["value"] is None
    assert answer["problem"]
    assert get.client.get("/api/v1/databases/zoo-3.4.0/runs/wf-happy/payloads/run.output/?raw").content == b"%%%"


TREES: list[tuple[Node, int, Any, bool]] = [
    (Scalar("ab"), 100, "ab", False),
    (Scalar("a" * 50), 20, {"$type": "elided", "value": "text of 50 characters"}, True),
    (Bytes(b"x" * 50), 20, {"$type": "elided", "value": "50 bytes"}, True),
    (
        Sequence([Scalar("a" * 50), Scalar(1)]),
        40,
        [{"$type": "elided", "value": "text of 50 characters"}, 1],
        True,
    ),
    (Sequence([Scalar(1)] * 9), 24, [1, 1, {"$type": "elided", "value": "7 more values"}], True),
    (Sequence([Sequence() for _ in range(9)]), 24, [[], [], {"$type": "elided", "value": "7 more values"}], True),
    (Sequence([Scalar(1)] * 3), 24, [1, 1, {"$type": "elided", "value": "1 more value"}], True),
    (Sequence([Scalar(1)] * 2), 24, [1, 1], False),
    (Sequence([elided("too deep")]), 24, [{"$type": "elided", "value": "too deep"}], True),
]


@pytest.mark.parametrize(("tree", "limit", "value", "cut"), TREES)
def test_an_excerpt_keeps_the_order_and_says_what_it_left_out(tree: Node, limit: int, value: Any, cut: bool) -> None:
    kept, was_cut = excerpt(tree, limit)
    assert (to_json(kept), was_cut) == (value, cut)


def test_an_excerpt_of_an_object_cannot_be_taken_for_the_object() -> None:
    entries: list[tuple[Node, Node]] = [(Scalar(f"k{number}"), Scalar(number)) for number in range(9)]
    kept, cut = excerpt(Mapping(entries), 40)
    written = to_json(kept)
    assert cut
    assert isinstance(written, dict)
    assert written.keys() == {"$type", "entries"}
    assert written["entries"][:2] == [["k0", 0], ["k1", 1]]
    assert written["entries"][-1][0] == {"$type": "elided", "value": "7 more entries"}
