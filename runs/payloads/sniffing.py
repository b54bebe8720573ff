"""Which decoder a text of DBOS needs, from the serializer recorded beside it and the text's beginning."""

from typing import Final

from runs.payloads import go

JSON_STARTS: Final = b'{["-0123456789tfn'
PICKLE_START: Final = "gA"  # base64 of the byte 0x80, with which protocols 2 to 5 start


def sniff(serialization: str | None, head: str) -> str:
    """The encoding for decode(). ``head`` holds at least the first 16 characters.

    Without a recorded serializer, DBOS 1.x wrote jsonpickle and 2.x pickle; an app's own serializer may have written
    anything. A container in JSON is then read as jsonpickle, whose marks may come late: without them it reads as
    JSON does. Go's errors are stored in plain text or as gob whatever the row says.
    """
    if serialization in ("DBOS_JSON", "DBOS_GOB"):
        return _go(serialization, head)
    if serialization:
        return serialization
    if head.startswith(PICKLE_START):
        return "py_pickle"
    if head == go.NIL:
        return "DBOS_JSON"
    start = head.lstrip()[:1]
    if start in ("{", "["):
        return "jsonpickle"
    if (
        start == '"'
        or start == "-"
        or start.isdecimal()
        or head.strip() in ("null", "true", "false", "NaN", "Infinity")
    ):
        return "json"
    return "text"


def _go(serialization: str, head: str) -> str:
    if head == go.NIL or not head:
        return serialization
    data = go.octets(head, truncated=True)
    if data is None:
        return "text"
    if serialization == "DBOS_JSON" and data and data[0] not in JSON_STARTS:
        return "DBOS_GOB"
    return serialization
