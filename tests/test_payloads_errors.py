"""Errors in one line: against str() of the real exceptions, the engine's own classes, and what Go and Obelisk wrote."""

import base64
import json
import pickle
from typing import Any

import pytest
from dbos._error import DBOSMaxStepRetriesExceeded

from runs.payloads import list_attempt_errors, summarise_error
from runs.records import ErrorSummary


def pickled(value: object) -> bytes:
    return base64.b64encode(pickle.dumps(value))


class Declined(Exception):
    pass


EXCEPTIONS: list[BaseException] = [
    ValueError("boom"),
    ValueError(),
    ValueError(3),
    ValueError(None),
    ValueError("a", 1, None, True, 1.5, b"x", ("t",), ["l", {"k": 2}]),
    KeyError("k"),
    IndexError("list index out of range"),
    TimeoutError("upstream 504"),
    FileNotFoundError(2, "No such file or directory", "/tmp/x"),
    ConnectionRefusedError(111, "Connection refused"),
    PermissionError("told not to"),
    Declined("51", "insufficient funds"),
    ExceptionGroup("two", [ValueError(1), ValueError(2)]),
    ExceptionGroup("one", [ValueError(1)]),
    DBOSMaxStepRetriesExceeded("charge", 3, [ValueError("x")]),
]


@pytest.mark.parametrize("error", EXCEPTIONS, ids=repr)
def test_a_python_exception_says_what_str_says(error: BaseException) -> None:
    assert summarise_error("py_pickle", pickled(error)) == ErrorSummary(type(error).__name__, str(error))


def test_the_errors_of_all_attempts_are_listed_even_when_they_are_one_object() -> None:
    one = TimeoutError("again")
    error = DBOSMaxStepRetriesExceeded("charge", 3, [ValueError("first"), one, one])
    assert list_attempt_errors("py_pickle", pickled(error)) == (
        ErrorSummary("ValueError", "first"),
        ErrorSummary("TimeoutError", "again"),
        ErrorSummary("TimeoutError", "again"),
    )
    assert list_attempt_errors("py_pickle", pickled(ValueError("alone"))) == ()
    assert list_attempt_errors("py_pickle", b"") == ()


def test_a_long_message_is_cut_to_500_characters_of_its_first_line() -> None:
    summary = summarise_error("py_pickle", pickled(ValueError("\n" + "x" * 900 + "\nsecond")))
    assert summary == ErrorSummary("ValueError", "x" * 499 + "…")


def test_an_error_that_was_cut_still_has_its_type_and_the_start_of_its_message() -> None:
    summary = summarise_error("py_pickle", pickled(ValueError("x" * 9000))[:4001])
    assert summary is not None
    assert "xxxx" in summary.message
    error = json.dumps({"name": "Declined", "message": "no", "data": "x" * 9000}).encode()[:4000]
    assert summarise_error("portable_json", error) == ErrorSummary("Declined", "no")


def test_text_that_utf8_cannot_carry_is_written_out() -> None:
    assert summarise_error("py_pickle", pickled(ValueError("\ud800"))) == ErrorSummary("ValueError", "\\ud800")


def test_an_object_without_arguments_says_what_its_fields_say() -> None:
    text = b'{"py/object": "shop.Refused", "code": 5, "message": "card refused"}'
    assert summarise_error("jsonpickle", text) == ErrorSummary("Refused", "card refused")


@pytest.mark.parametrize(
    ("encoding", "text", "summary"),
    [
        ("portable_json", '{"name":"ValueError","message":"bad","code":null}', ErrorSummary("ValueError", "bad")),
        ("custom_serializer", '"bad"', ErrorSummary("error", "bad")),
        ("acme", "ACME1:xyz", ErrorSummary("error", "ACME1:xyz")),
        ("text", 'body refused "x": permission denied', ErrorSummary("error", 'body refused "x": permission denied')),
        ("DBOS_JSON", "EOF", ErrorSummary("error", "EOF")),
        (
            "jsonpickle",
            '{"py/reduce": [{"py/type": "builtins.ValueError"}, {"py/tuple": ["boom 2"]}, {}]}',
            ErrorSummary("ValueError", "boom 2"),
        ),
        (
            "wit",
            '{"err": {"type": "string", "value": "SKU is out of stock"}}',
            ErrorSummary("error", "SKU is out of stock"),
        ),
        (
            "wit",
            '{"err": {"type": "variant { declined(string) }", "value": {"declined": "insufficient funds"}}}',
            ErrorSummary("error", "declined: insufficient funds"),
        ),
        (
            "wit",
            '{"err": {"type": "variant { mail-failed }", "value": "mail_failed"}}',
            ErrorSummary("error", "mail_failed"),
        ),
        ("wit", '{"err": null}', ErrorSummary("error", "")),
        ("wit", '{"ok": {"type": "u32", "value": 7}}', None),
        ("wit", '{"execution_failure": {"kind": "timed_out"}}', ErrorSummary("execution failure", "timed out")),
        (
            "wit",
            '{"execution_failure": {"kind": "uncategorized", "reason": "workflow trap: unreachable\\nline 2"}}',
            ErrorSummary("execution failure", "uncategorized: workflow trap: unreachable"),
        ),
        (
            "wit",
            '{"execution_failure": {"kind": "nondeterminism_detected", "detail": "found unprocessed request"}}',
            ErrorSummary("execution failure", "nondeterminism detected: found unprocessed request"),
        ),
    ],
)
def test_other_encodings_say_their_error(encoding: str, text: str, summary: Any) -> None:
    assert summarise_error(encoding, text.encode()) == summary


def test_nothing_recorded_is_no_error() -> None:
    assert summarise_error("DBOS_JSON", b"") is None


def test_what_cannot_be_read_says_so() -> None:
    summary = summarise_error("py_pickle", b"!!!")
    assert summary is not None
    assert summary.type == "error"
    assert summary.message.startswith("not a pickle")
