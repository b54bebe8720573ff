"""Cursors as opaque text: keyset paging whose place survives in an address."""

import base64
import binascii
import json
from collections.abc import Callable

from runs.addresses import encode, is_digest
from runs.errors import BadCursor
from runs.records import Cursor

MAX_LENGTH = 4000


def write_cursor(cursor: Cursor | None) -> str | None:
    """The cursor as text that is safe in an address; None stays None."""
    if cursor is None:
        return None
    segment = encode(cursor.id)
    # An id too long for an address is written as its digest, in a list, so that it can't be taken for an id.
    place: list[object] = [cursor.at, [segment] if is_digest(segment) else cursor.id]
    raw = json.dumps(place, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_cursor(text: str | None, find: Callable[[str], str] | None = None) -> Cursor | None:
    """The cursor that ``write_cursor`` wrote; None for empty. Raises BadCursor for anything else.

    ``find`` gives the id that a digest stands for (lookup.cursor knows how); without it, a digest is refused.
    """
    if not text:
        return None
    if len(text) > MAX_LENGTH:
        raise BadCursor("It is too long to be one of ours.", remedy="Start again from the first page.")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        place = json.loads(raw.decode("utf-8", "surrogatepass"))
    except (binascii.Error, ValueError, RecursionError):
        raise BadCursor(remedy="Start again from the first page.") from None
    if not isinstance(place, list) or len(place) != 2:
        raise BadCursor(remedy="Start again from the first page.")
    at, run_id = place
    if isinstance(run_id, list) and find is not None and len(run_id) == 1 and is_digest(str(run_id[0])):
        run_id = find(run_id[0])
    if isinstance(at, bool) or not isinstance(at, str | int) or not isinstance(run_id, str):
        raise BadCursor(remedy="Start again from the first page.")
    if isinstance(at, int) and not -(2**63) <= at < 2**63:
        raise BadCursor(remedy="Start again from the first page.")
    return Cursor(at=at, id=run_id)
