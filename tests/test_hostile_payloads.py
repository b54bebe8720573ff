"""Payloads made to harm whoever reads them: no code runs, and each costs at most a second and 100 MB of a process of its own."""

import base64
import json
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_payloads_attacks import ATTACKS

from runs.payloads import decode, list_attempt_errors, summarise_error, to_json
from runs.payloads.outline import outline

ROOT = Path(__file__).parent.parent
SECONDS = 1.0  # of processor time; four times as much is let pass, on a machine that does other things
BYTES = 100 * 1024 * 1024


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return b"X" + len(data).to_bytes(4, "little") + data


def call(name: str, *args: bytes) -> bytes:
    """The opcodes of ``module.name(*args)``."""
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode() + b"(" + b"".join(args) + b"tR"


def number(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8b" + len(data).to_bytes(4, "little") + data


def numpy(shape: bytes, dtype: str, data: bytes) -> bytes:
    made = call("numpy.core.multiarray._reconstruct", b"cnumpy\nndarray\n", b"(K\x00t", text("b"))
    kind = call("numpy.dtype", text(dtype), b"\x89", b"\x88") + b"(K\x03" + text("<") + b"NNNK\xffK\xffK\x00tb"
    return made + b"(K\x01" + shape + kind + b"\x89" + b"B" + len(data).to_bytes(4, "little") + data + b"tb"


def self_made(opcodes: bytes) -> bytes:
    return b"\x80\x04" + opcodes + b"."


def uint(value: int) -> bytes:
    """A number as gob writes it."""
    data = value.to_bytes((value.bit_length() + 7) // 8 or 1)
    return data if value < 128 else bytes([256 - len(data)]) + data


def sint(value: int) -> bytes:
    return uint(value << 1 if value >= 0 else (~value << 1) | 1)


def message(data: bytes) -> bytes:
    return uint(len(data)) + data


def defined(number: int, kind: int, name: str, rest: bytes) -> bytes:
    """The definition of a type: 1 an array, 2 a slice, 3 a struct, 4 a map; ``rest`` follows its name."""
    common = b"\x01" + uint(len(name)) + name.encode() + b"\x01" + sint(number) + b"\x00"
    return message(sint(-number) + uint(kind) + b"\x01" + common + rest + b"\x00\x00")


def gob(definitions: bytes, value: bytes) -> bytes:
    """A value of the type 65."""
    return base64.b64encode(definitions + message(sint(65) + value))


SLICES = defined(65, 2, "T", b"\x01" + sint(65))  # type T []T
STRUCTS = defined(65, 3, "T", b"\x01\x01" + b"\x01\x01N\x01" + sint(65) + b"\x00")  # type T struct { N *T }
MAPS = defined(65, 4, "T", b"\x01\x0c\x01" + sint(65))  # type T map[string]T
LIES = "".join(f'"{n}":{{"ok":{{"type":"list<u8>","value":[{n},"x",null]}}}},' for n in range(20_000))
# What is named ``encoding: …`` is read so; and whether the whole of it can be shown.
OWN: dict[str, tuple[bytes, bool]] = {
    # Pickle: classes that we know, with arguments that no such class has
    "numpy: a shape of 2^60": (self_made(numpy(number(2**30) + number(2**30) + b"\x86", "f8", b"\x00" * 64)), True),
    "numpy: a thousand dimensions": (self_made(numpy(b"(" + b"K\x01" * 1000 + b"t", "f8", b"\x00" * 8)), True),
    "numpy: a negative shape": (self_made(numpy(number(-4) + b"\x85", "f8", b"\x00" * 64)), True),
    "numpy: an element of 2^40 bytes": (self_made(numpy(b"K\x02\x85", "S1099511627776", b"abcd")), True),
    "numpy: no elements, but 2^60 of them": (self_made(numpy(number(2**60) + b"\x85", "V0", b"")), True),
    "numpy: two million numbers": (self_made(numpy(number(250_000) + b"\x85", "f8", b"\x01" * 2_000_000)), True),
    "a decimal of 10^9 digits": (self_made(call("decimal.Decimal", text("1e999999999"))), True),
    "a fraction of a million digits": (self_made(call("fractions.Fraction", number(10**100_000), b"K\x07")), True),
    "a range without an end": (self_made(call("builtins.range", number(2**200))), True),
    "a timedelta of 10^300 days": (self_made(call("datetime.timedelta", number(10**300))), True),
    "a date that there is not": (self_made(call("datetime.date", b"C\x04\x00\x00\x0d\x40")), True),
    "a zone in a zone": (
        self_made(call("datetime.datetime", b"C\x0a" + b"\x07\xea\x0b\x16" + b"\x00" * 6, b"(" * 900)), False,
    ),
    "a path of 20,000 parts": (self_made(call("pathlib.PosixPath", *[text("../x")] * 20_000)), True),
    "a uuid of 10,000 digits": (self_made(b"cuuid\nUUID\n)\x81}" + text("int") + number(10**10_000) + b"sb"), True),
    "text of half characters": (self_made(text(b"\xed\xa0\x80" * 300_000)), True),
    # Pickle: the machine itself
    "100,000 states for one object": (self_made(b"cshop\nOrder\n)\x81" + b"}b" * 100_000), True),
    "a getattr of a getattr of itself": (
        self_made(b"cbuiltins\ngetattr\nq\x00" + (b"h\x00" + text("x") + b"\x86R") * 20_000), False,
    ),
    "an object that is its own class": (self_made(b"]q\x00h\x00(h\x00h\x00th\x00\x81ah\x00h\x00ah\x00b"), True),
    "memos far apart": (
        self_made(b"".join(b"Nr" + (n * 4_000_037 % 2**32).to_bytes(4, "little") + b"0" for n in range(90_000)) + b"N"), True,
    ),
    "a frame longer than the file": (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f" + b"]" * 10 + b".", True),
    "a thousand names of 10 kB": (self_made(b"(" + (b"c" + b"m" * 10_000 + b"\nn\n") * 1000 + b"t"), True),
    "keys that are the dict": (self_made(b"}q\x00" + b"h\x00K\x01s" * 50_000), True),
    "a set of itself, as its own key": (self_made(b"\x8fq\x00(h\x00\x90}h\x00h\x00s"), True),
    "all extensions of the registry": (self_made(b"(" + b"\x82\x07\x83\xff\xff\x84\xff\xff\xff\x7f" * 10_000 + b"t"), True),
    "out of order: 50,000 POPs": (self_made(b"(" * 50_000 + b"0" * 50_000 + b"N"), False),
    "retries: errors in errors": (
        self_made(
            call(
                "dbos._error.DBOSMaxStepRetriesExceeded", text("s"), b"K\x03",
                b"](" + b"cbuiltins\nValueError\n)R" * 40_000 + b"e",
            )
        ),
        True,
    ),
    # Gob
    "DBOS_GOB: a slice of itself, 20,000 deep": (gob(SLICES, b"\x00" + b"\x01" * 20_000 + b"\x00"), False),
    "DBOS_GOB: a slice of itself, 30,000 wide": (gob(SLICES, b"\x00" + uint(30_000) + b"\x00" * 30_000), True),
    "DBOS_GOB: a slice of 2^60 of itself": (gob(SLICES, b"\x00" + uint(2**60) + b"\x00" * 30), False),
    "DBOS_GOB: a struct in itself, 20,000 deep": (gob(STRUCTS, b"\x01" * 20_000), False),
    "DBOS_GOB: a field far beyond the last": (gob(STRUCTS, uint(2**63) + b"\x01"), False),
    "DBOS_GOB: a map of 2^60 maps of itself": (gob(MAPS, b"\x00" + uint(2**60) + b"\x01k" * 30), False),
    "DBOS_GOB: a map of itself, 20,000 deep": (gob(MAPS, b"\x00" + b"\x01\x01k" * 20_000 + b"\x00"), False),
    "DBOS_GOB: 20,000 types": (base64.b64encode(b"".join(defined(65 + n, 2, "T", b"\x01\x0c") for n in range(20_000))), False),
    "DBOS_GOB: a type defined again": (gob(SLICES + SLICES, b"\x00\x00"), False),
    "DBOS_GOB: a slice of a type that there is not": (
        gob(defined(65, 2, "T", b"\x01" + sint(999)), b"\x00\x02\x01\x01"), False,
    ),
    "DBOS_GOB: 50,000 fields": (
        gob(
            defined(65, 3, "T", b"\x01" + uint(50_000) + b"\x01\x01f\x01\x04\x00" * 50_000), b"\x01\x02" * 50_000 + b"\x00"
        ), True,
    ),
    "DBOS_GOB: a name of 2^62 bytes": (base64.b64encode(message(sint(8) + b"\x00" + uint(2**62) + b"name")), False),
    # jsonpickle
    "jsonpickle: a call of os.system": (b'{"py/reduce":[{"py/function":"os.system"},{"py/tuple":["touch PWNED"]}]}', True),
    "jsonpickle: an expression": (b'{"py/repr":"os/__import__(\'os\').system(\'touch PWNED\')"}', True),
    "jsonpickle: reduce in reduce": (b'{"py/reduce":[' * 20_000 + b"1" + b"]}" * 20_000, False),
    "jsonpickle: reduce of itself": (
        b'[{"py/reduce":[{"py/id":1},{"py/tuple":[{"py/id":1}]},{"py/id":0},{"py/id":0},{"py/id":0}]}]', True,
    ),
    "jsonpickle: octets that are none": (b"[" + b'{"py/b64":"====","py/b85":"\\u0000"},' * 60_000 + b"1]", False),
    "jsonpickle: a state of many keys": (
        b'{"py/object":"a.B","py/state":{' + b",".join(b'"%d":%d' % (n, n) for n in range(140_000)) + b"}}", False,
    ),
    # WIT
    "wit: types that lie": (b'{"ok":{"type":{' + LIES[:-1].encode() + b'},"value":{' + LIES[:-1].encode() + b"}}}", False),
    "wit: a number that is a list": (b'{"ok":{"type":"u8","value":[[["x"]]]}}', True),
    "wit: a type of a million characters": (b'{"err":{"type":"' + b"list<" * 200_000 + b'","value":1}}', True),
    "wit: a type that is a value": (b'{"ok":{"type":' + b'{"record":' * 5000 + b"1" + b"}" * 5000 + b',"value":1}}', False),
    "wit: ok and err": (b'{"ok":{"type":"u8","value":1},"err":{"type":"u8","value":2},"ok":3}', True),
    # JSON
    "json: numbers of 10,000 digits": (b"[" + b",".join([b"9" * 10_000, b"-1." + b"3" * 10_000] * 50) + b"]", True),
    "json: numbers that are none": (b"[NaN,Infinity,-Infinity,-0,1e999,-1e-999,1E+400]", True),
    "json: 200,000 repeated keys": (b"{" + b'"a":0,' * 50_000 + b'"a":1}', True),
    "json: half a million escapes": (b'"' + b"\\ud800" * 500_000 + b'"', True),
    "json: a text with every control character": (b'"' + bytes(range(1, 32)) * 20_000 + b'"', True),
    "acme: base64 in base64": (base64.b64encode(base64.b64encode(base64.b64encode(b"x" * 2_000_000))), False),
}  # fmt: skip


def look(encoding: str, data: bytes) -> str:
    """All that is ever done with a payload on a page and in JSON; the problem that it says."""
    decoded = decode(encoding, data)
    beginning = data[: 16 * 1024]
    summarise_error(encoding, beginning)
    list_attempt_errors(encoding, beginning)
    if decoded.tree is not None:
        outline(decoded.tree)
        if len(data) < 1_000_000 or encoding != "py_pickle":  # its texts may be 64 MB once they are written out
            json.dumps(to_json(decoded.tree), ensure_ascii=False, allow_nan=False).encode()
    return decoded.problem


def apart(work: Callable[[], str]) -> dict[str, Any]:
    """What the work said in a process of its own, with the seconds and bytes that it took."""
    reading, sending = os.pipe()
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
        try:
            said: dict[str, Any] = {"said": work(), "raised": ""}
        except BaseException as error:  # whatever it is, the test has to hear of it
            said = {"said": "", "raised": repr(error)[:500]}
        after = resource.getrusage(resource.RUSAGE_SELF)
        said["seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        said["bytes"] = (after.ru_maxrss - before.ru_maxrss) * 1024
        os.write(sending, json.dumps(said).encode())
        os._exit(0)
    os.close(sending)
    with os.fdopen(reading) as answer:
        told = answer.read()
    os.waitpid(child, 0)
    return dict(json.loads(told)) if told else {"raised": "it was killed", "seconds": 20.0, "bytes": 0, "said": ""}


def _all() -> None:
    """Each attack in turn, as a line of JSON: in a small process, so that what an attack takes can be told."""
    everything = {name: data for name, (data, _) in (*ATTACKS.items(), *OWN.items())}
    for name, data in everything.items():
        encoding = name.split(":")[0] if ":" in name and name.split(":")[0] in ENCODINGS else "py_pickle"
        print(json.dumps({"name": name, **apart(lambda e=encoding, d=data: look(e, d))}), flush=True)  # type: ignore[misc]


ENCODINGS = ("json", "jsonpickle", "wit", "DBOS_GOB", "DBOS_JSON", "acme")


@pytest.mark.no_cover  # measured, in processes of their own
def test_no_payload_costs_more_than_a_second_or_a_hundred_megabytes(tmp_path: Path) -> None:
    """Where one can't be read, or not all of it, that is said."""
    done = subprocess.run(
        [sys.executable, "-c", "import test_hostile_payloads; test_hostile_payloads._all()"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert found.keys() == ATTACKS.keys() | OWN.keys()
    assert {name: line["raised"] for name, line in found.items() if line["raised"]} == {}
    assert {name: line["seconds"] for name, line in found.items() if line["seconds"] > 4 * SECONDS} == {}
    assert {name: line["bytes"] for name, line in found.items() if line["bytes"] > BYTES} == {}
    assert {name for name, line in found.items() if name in OWN and bool(line["said"]) == OWN[name][1]} == set()
    said = {name: found[name]["said"] for name in ATTACKS}
    assert {name: said[name] for name, (_, problem) in ATTACKS.items() if not said[name].startswith(problem)} == {}
    assert {name: said[name] for name, (_, problem) in ATTACKS.items() if said[name] and not problem} == {}
    assert not list(tmp_path.iterdir()), "something was run"


# Each way in which a pickle can name something to run; {0} is the command.
RUNS: dict[str, bytes] = {
    "GLOBAL, REDUCE": call("os.system", text("touch PWNED")),
    "STACK_GLOBAL": text("os") + text("system") + b"\x93(" + text("touch PWNED") + b"tR",
    "INST": b"(" + text("touch PWNED") + b"ios\nsystem\n",
    "OBJ": b"(cos\nsystem\n" + text("touch PWNED") + b"o",
    "NEWOBJ": b"csubprocess\nPopen\n(" + text("touch PWNED") + b"\x88t\x81",
    "NEWOBJ_EX": b"csubprocess\nPopen\n)}" + text("args") + text("touch PWNED") + b"s\x92",
    "BUILD": b"cshop\nOrder\n)\x81}" + text("__reduce__") + call("os.system", text("touch PWNED")) + b"sb",
    "getattr": call("builtins.getattr", call("builtins.__import__", text("os")), text("system"))
    + b"("
    + text("touch PWNED")
    + b"tR",
    "eval": call("builtins.eval", text("__import__('os').system('touch PWNED')")),
    "persistent id": b"Ptouch PWNED\n",
    "in a key": b"}" + call("os.system", text("touch PWNED")) + b"K\x01s",
    "in a class that is known": call("collections.OrderedDict", call("os.system", text("touch PWNED"))),
    "in a dtype": call("numpy.dtype", call("os.system", text("touch PWNED"))),
    "Python 2's names": b"c__builtin__\nexecfile\n(" + text("/etc/passwd") + b"tR",
}


@pytest.mark.parametrize("way", RUNS)
@pytest.mark.parametrize("protocol", [b"", b"\x80\x02", b"\x80\x05"])
def test_nothing_is_run_however_it_is_named(
    way: str, protocol: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = protocol + RUNS[way] + b"."
    before = set(sys.modules)
    for stored in (data, base64.b64encode(data)):
        look("py_pickle", stored)
        look("acme", stored)
    assert set(sys.modules) == before
    assert not list(tmp_path.iterdir())


def test_the_ways_do_run_where_they_are_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above would prove nothing."""
    monkeypatch.chdir(tmp_path)
    for way in ("GLOBAL, REDUCE", "STACK_GLOBAL", "INST", "OBJ", "getattr", "eval"):
        assert pickle.loads(b"\x80\x04" + RUNS[way] + b".") == 0
        (tmp_path / "PWNED").unlink()
