"""One line for an error: its type and what it says, from the tree of whatever recorded it."""

import json
import re
from collections.abc import Callable
from typing import Final

from runs.payloads.plain import escaped, float_text
from runs.payloads.tree import Bytes, Decoded, Mapping, Node, Ref, Scalar, Sequence, integer
from runs.records import ErrorSummary

LONGEST: Final = 500
FAILURES: Final = ("execution_failure", "execution_error")  # Obelisk 0.38 and later, and 0.37
OS_ERRORS: Final = (
    "OSError", "BlockingIOError", "ChildProcessError", "ConnectionError", "BrokenPipeError", "ConnectionAbortedError",
    "ConnectionRefusedError", "ConnectionResetError", "FileExistsError", "FileNotFoundError", "InterruptedError",
    "IsADirectoryError", "NotADirectoryError", "PermissionError", "ProcessLookupError", "TimeoutError",
)  # fmt: skip
EXHAUSTED: Final = "DBOSMaxStepRetriesExceeded"
GO_ERROR: Final = "*dbos.DBOSError"
GO_EXHAUSTED: Final = re.compile(r"Step .*? has exceeded its maximum of [0-9]+ retries: ")
# ErrorCode of dbos-transact-golang, dbos/internal/models/errors.go.
GO_CODES: Final = (
    "", "ConflictingID", "Initialization", "NonExistentWorkflow", "ConflictingWorkflow", "WorkflowCancelled",
    "UnexpectedStep", "AwaitedWorkflowCancelled", "ConflictingRegistration", "WorkflowUnexpectedType",
    "WorkflowExecution", "StepExecution", "DeadLetterQueue", "MaxStepRetriesExceeded",
    "QueueDeduplicated", "PatchingNotEnabled", "Timeout", "NoApplicationVersions", "QueueNotFound", "ScheduleNotFound",
)  # fmt: skip
MESSAGES: Final = ("message", "msg", "detail", "reason", "error")  # fields that say it, where no argument does


def summarise(encoding: str, decoded: Decoded) -> ErrorSummary | None:
    """The error that a tree describes; None for a value of Obelisk that is ``ok``."""
    if decoded.tree is None:
        return _summary("error", decoded.problem or "nothing recorded")
    if encoding == "wit":
        return _wit(decoded.tree)
    return _error(decoded.tree)


def attempts(decoded: Decoded) -> tuple[ErrorSummary, ...]:
    """The errors of the attempts that one error lists, oldest first; empty where it lists none."""
    tree = decoded.tree
    if not isinstance(tree, Mapping):
        return ()
    if tree.type == GO_ERROR:
        lines = GO_EXHAUSTED.sub("", _text_field(tree, "Message"), count=1).splitlines()
        retries = _field(tree, "MaxRetries")
        # One line an attempt; where a line more or less is there, nobody can tell whose it is.
        if not isinstance(retries, Scalar) or not isinstance(retries.value, int) or len(lines) != retries.value + 1:
            return ()
        return tuple(_summary("error", line) for line in lines)
    listed = _field(tree, "errors")
    if _short(tree.type) != EXHAUSTED or not isinstance(listed, Sequence):
        return ()
    anchored = {item.anchor: item for item in listed.items if isinstance(item, Sequence | Mapping)}
    shown = (anchored.get(item.number, item) if isinstance(item, Ref) else item for item in listed.items)
    return tuple(_error(item) for item in shown)


def _wit(tree: Node) -> ErrorSummary | None:
    if not isinstance(tree, Mapping) or len(tree.entries) != 1:
        return _error(tree)
    key, value = tree.entries[0]
    name = key.value if isinstance(key, Scalar) else None
    if name in ("ok", "Ok"):
        return None
    if name in FAILURES:
        parts = (
            [_text_field(value, part) for part in ("kind", "reason", "detail")] if isinstance(value, Mapping) else []
        )
        kind, reason, detail = parts or (_message(value), "", "")
        said = _first_line(reason or detail)
        return _summary("execution failure", kind.replace("_", " ") + (f": {said}" if said else ""))
    if name not in ("err", "Err"):
        return _error(tree)
    if isinstance(value, Mapping) and len(value.entries) == 1:  # a case of a variant, with what it carries
        case, carried = value.entries[0]
        return _summary("error", f"{_message(case)}: {_message(carried)}")
    return _summary("error", "" if isinstance(value, Scalar) and value.value is None else _message(value))


def _error(node: Node) -> ErrorSummary:
    if not isinstance(node, Mapping):
        shown = _python_tuple(node.items) if isinstance(node, Sequence) and node.type else _message(node)
        return _summary(_short(getattr(node, "type", "")) or "error", shown)
    if node.type == GO_ERROR:
        code = _field(node, "Code")
        number = code.value if isinstance(code, Scalar) and isinstance(code.value, int) else 0
        known = GO_CODES[number] if 0 < number < len(GO_CODES) else ""
        return _summary(known or f"DBOSError {number}", _text_field(node, "Message"))
    if not node.type and isinstance(_field(node, "message"), Scalar):
        return _summary(_text_field(node, "name") or "error", _text_field(node, "message"))
    return _summary(_short(node.type) or "error", _python(node))


def _python(node: Mapping) -> str:
    """What str() of a Python exception says, as far as its class leaves that to Python."""
    name, args = _short(node.type), _field(node, "args")
    if name == EXHAUSTED:
        step, retries = _text_field(node, "step_name"), _text_field(node, "max_retries")
        return f"DBOS Error 7: Step {step} has exceeded its maximum of {retries} retries"
    items = args.items if isinstance(args, Sequence) else []
    if name in OS_ERRORS and len(items) >= 2:
        where = f": {_literal(items[2])}" if len(items) > 2 else ""
        return f"[Errno {_message(items[0])}] {_message(items[1])}{where}"
    if name.endswith("ExceptionGroup") and len(items) == 2 and isinstance(items[1], Sequence):
        count = len(items[1].items)
        return f"{_message(items[0])} ({count} sub-exception{'s' if count != 1 else ''})"
    if len(items) == 1:
        said_plainly = name != "KeyError" and isinstance(items[0], Scalar) and isinstance(items[0].value, str)
        return _message(items[0]) if said_plainly else _literal(items[0])
    if items:
        return _python_tuple(items)
    said = next((text for field in MESSAGES if (text := _text_field(node, field))), "")
    return said or ("" if not node.entries or isinstance(args, Sequence) else _nested(node, repr, 0))


def _python_tuple(items: list[Node]) -> str:
    return "(" + ", ".join(_literal(item) for item in items[:20]) + ")"


def _literal(node: Node) -> str:
    return _nested(node, repr, 0)


def _message(node: Node) -> str:
    """A text as it is; anything else as JSON, in short."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return node.value
    return _nested(node, _json, 0)


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _nested(node: Node, quoted: Callable[[str], str], depth: int) -> str:
    """A node in a few words: no deeper than 4 levels, 20 items each."""
    match node:
        case Scalar(str() as text, type):
            return quoted(text[:LONGEST]) if type in ("", "str") else text[:LONGEST]
        case Scalar(None):
            return "None" if quoted is repr else "null"
        case Scalar(bool() as truth):
            return str(truth) if quoted is repr else str(truth).lower()
        case Scalar(float() as number):
            return repr(number) if quoted is repr else float_text(number)
        case Scalar(int() as number):
            return str(integer(number).value)
        case Bytes(data):
            return repr(data[:100])
        case Sequence(items) if depth < 4:
            opening, closing = "[", "]"
            if quoted is repr and node.type == "tuple":
                opening, closing = "(", ",)" if len(items) == 1 else ")"
            return opening + ", ".join(_nested(item, quoted, depth + 1) for item in items[:20]) + closing
        case Mapping(entries) if depth < 4:
            said = (f"{_nested(key, quoted, 4)}: {_nested(value, quoted, depth + 1)}" for key, value in entries[:20])
            return _short(node.type) + "{" + ", ".join(said) + "}"
    return "…"


def _field(node: Mapping, name: str) -> Node | None:
    return next((value for key, value in node.entries if isinstance(key, Scalar) and key.value == name), None)


def _text_field(node: Mapping, name: str) -> str:
    value = _field(node, name)
    return "" if value is None or (isinstance(value, Scalar) and value.value is None) else _message(value)


def _short(type: str) -> str:
    return type.rsplit(".", 1)[-1]


def _first_line(text: str) -> str:
    return next((line for line in (line.strip() for line in text[: LONGEST * 20].splitlines()) if line), "")


def _summary(type: str, message: str) -> ErrorSummary:
    said = escaped(_first_line(message))
    return ErrorSummary(escaped(type)[:200], said if len(said) <= LONGEST else said[: LONGEST - 1] + "…")
