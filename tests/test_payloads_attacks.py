"""Hostile payloads end within memory and time, each because of a budget, and say what they left out."""

import base64
import json
import pathlib
import pickle
import subprocess
import sys
from typing import Any

import pytest

from runs.payloads import Scalar, decode, to_json
from runs.payloads.tree import MAX_DEPTH, MAX_NODES

ROOT = pathlib.Path(__file__).parent.parent
LAUGHS = b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60))
DEEP = "nested deeper than"
EARLY = "the pickle ends too early"
ATTACKS: dict[str, tuple[bytes, str]] = {  # and what the problem starts with
    "a tuple nested 100,000 deep as a key": (b"\x80\x04}" + b")" + b"\x85" * 100_000 + b"K\x01s.", DEEP),
    "lists 300,000 deep": (b"\x80\x04" + b"]" * 300_000 + b"a" * 299_999 + b".", DEEP),
    "two to the sixtieth tuples": (b"\x80\x04)" + LAUGHS + b".", ""),
    "two to the sixtieth tuples as a key": (b"\x80\x04})" + LAUGHS + b"K\x01s.", ""),
    "a list of 300,000,000": (b"\x80\x02c__builtin__\nlist\nc__builtin__\nxrange\nJ\x00\xa3\xe1\x11\x85R\x85R.", ""),
    "a text 200,000 times": (
        b"\x80\x04](X\x40\x42\x0f\x00" + b"x" * 1_000_000 + b"q\x00" + b"h\x00" * 200_000 + b"e.",
        "too much text",
    ),
    "a text of 2^64 bytes": (b"\x80\x04\x8d" + b"\xff" * 8 + b"abc.", EARLY),
    "bytes of 2^63 bytes": (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7fabc.", EARLY),
    "a number of 2^31 bytes": (b"\x80\x04\x8b\xff\xff\xff\x7fabc.", EARLY),
    "a number of -1 bytes": (b"\x80\x04\x8b\xff\xff\xff\xffabc.", "a broken LONG4"),
    "a number of 4 million bytes": (b"\x80\x04\x8b\x00\x09\x3d\x00" + b"\x7f" * 4_000_000 + b".", ""),
    "a number of a million digits": (b"L" + b"9" * 1_000_000 + b"L\n.", "a broken LONG"),
    "the four billionth memo": (b"\x80\x04Nr\xff\xff\xff\xff.", ""),
    "UTF-8 that is none": (b"\x80\x04X\x04\x00\x00\x00\xff\xfeab.", ""),
    "two million empty lists": (b"\x80\x04](" + b"]" * 2_000_000 + b"e.", "too many opcodes"),
    "two million marks": (b"\x80\x04" + b"(" * 2_000_000, "too many opcodes"),
    "nothing on the stack": (b"\x80\x04a", "a broken pickle"),
    "no mark": (b"\x80\x04t.", "a broken pickle"),
    "a state for a list": (b"\x80\x04]}b.", ""),
    "items for a dict": (b"\x80\x04}K\x01a.", "a broken pickle"),
    "json: 100,000 arrays in each other": (b"[" * 100_000 + b"]" * 100_000, DEEP),
    "json: ten million arrays never closed": (b"[" * 10_000_000, DEEP),
    "json: 100,000 objects never closed": (b'{"a":' * 100_000, "the JSON text ends too early"),
    "json: two million zeros": (b"[" + b"0," * 2_000_000 + b"0]", "too large"),
    "json: a number of a million digits": (b"9" * 1_000_000, ""),
    "json: an exponent of twenty digits": (b"[1e99999999999999999999,1e-99999999999999999999]", ""),
    "jsonpickle: 100,000 tuples in each other": (b'{"py/tuple":[' * 100_000, DEEP),
    "jsonpickle: itself, often": (b"[" + b'{"py/id":0},' * 200_000 + b"1]", "too large"),
    "wit: 100,000 records in each other": (b'{"ok":' * 100_000, "the JSON text ends too early"),
    "DBOS_GOB: interfaces in interfaces": (
        base64.b64encode(b"\xfe\xff\xff\x10\x00" + b"\x01a\x10\x01\x00" * 20_000),
        DEEP,
    ),
    "DBOS_GOB: a slice of 2^63": (base64.b64encode(b"\x20\x0a\x00\xf8" + b"\x7f" * 8 + b"abcdefgh"), "not gob"),
}
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (700 * 2**20, 700 * 2**20))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
import json
from runs.payloads import decode, to_json
decoded = decode(sys.argv[1], sys.stdin.buffer.read())
if decoded.tree is not None:
    json.dumps(to_json(decoded.tree), ensure_ascii=False).encode()
print(decoded.problem)
"""


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_ends_within_memory_and_time(name: str) -> None:
    encoding = name.split(":")[0] if ":" in name else "py_pickle"
    data, problem = ATTACKS[name]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, encoding], input=data, capture_output=True, cwd=ROOT, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode().strip()
    assert said.startswith(problem) if problem else said == ""


@pytest.mark.no_cover  # the same lines again and again
def test_a_payload_larger_than_what_is_shown_says_so() -> None:
    decoded = decode("py_pickle", pickle.dumps(list(range(MAX_NODES + 10))))
    assert decoded.problem == f"too large: the first {MAX_NODES:,} values are shown"
    shown: Any = to_json(decoded.tree or Scalar(0))
    assert shown[:3] == [0, 1, 2]
    assert shown[-1] == {"$type": "elided", "value": decoded.problem}


def test_what_lies_too_deep_is_left_out_and_says_so() -> None:
    nested: list[object] = []
    for _ in range(MAX_DEPTH + 5):
        nested = [nested]
    decoded = decode("py_pickle", pickle.dumps(nested))
    assert decoded.problem == f"nested deeper than {MAX_DEPTH} levels: the rest is left out"
    assert json.dumps(to_json(decoded.tree or Scalar(0))).count("[") == MAX_DEPTH
