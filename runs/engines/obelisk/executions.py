"""What a retry must know of an execution: its row of t_state, its id, and the ids made from that.

Read for schemas V13 to V17 alone, whose four tables that a retry writes are the same.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from runs.engines.obelisk.shapes import text, whole
from runs.sources.base import Reader, Value

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CROCKFORD_OF_BASE32 = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", CROCKFORD)
ULID = f"[0-7][{CROCKFORD}]{{25}}"
DERIVED = r"(?:\.[ong]:[A-Za-z0-9/-]*_[0-9]+)"
EXECUTION_ID = re.compile(rf"E_({ULID}){DERIVED}*", re.ASCII)
TIME = 10  # characters of a ULID that are its time
CHANCE_BITS = 80  # bits of the other 16

TEMPORARY = ("temporarily_failed", "temporarily_timed_out")
SUCCEEDED = '"ok"'
CANCELLED = '{"err":{"execution_failure":"cancelled"}}'

_STATES = """SELECT s.execution_id, s.is_top_level, s.corresponding_version, s.ffqn, s.component_id_input_digest,
    s.component_type, s.deployment_id, s.pending_expires_finished, s.state, s.lifecycle, s.result_kind, s.join_set_id,
    s.join_set_closing, (SELECT max(l.version) FROM {schema}t_execution_log l WHERE l.execution_id = s.execution_id)
FROM {schema}t_state s WHERE """

_ONE = _STATES + "s.execution_id = :id"
# With everything derived from it: '/' follows '.' in ASCII.
_TREE = (
    _STATES
    + "s.execution_id = :id OR (s.execution_id > :id || '.' AND s.execution_id < :id || '/') ORDER BY s.execution_id"
)

# The last row that says something of the work: pausing and cancelling lie above it.
_LAST = """SELECT l.variant FROM {schema}t_execution_log l
WHERE l.execution_id = :id AND l.variant NOT IN ('paused', 'unpaused', 'cancellation_requested')
ORDER BY l.version DESC LIMIT 1"""


class Ineligible(Exception):
    """This retry must not be, and why, in words; ``earlier`` is a retry that stands in the way."""

    def __init__(self, reason: str, *, earlier: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.earlier = earlier


@dataclass(frozen=True, slots=True)
class Execution:
    """A row of t_state, and the newest version in its log. ``due`` as the column has it."""

    id: str
    top: bool
    version: int
    ffqn: str
    digest: bytes
    component_type: str
    deployment: str
    due: str
    state: str
    lifecycle: str
    result_kind: str
    join_set: str
    closing: bool
    newest: int

    @property
    def finished(self) -> bool:
        return self.state == "finished"

    @property
    def failed(self) -> bool:
        """Ended, neither well nor because somebody cancelled it."""
        return self.finished and self.result_kind not in (SUCCEEDED, CANCELLED)

    @property
    def guard(self) -> str:
        """What a plan for it relies on, as one line."""
        ended = f", {self.result_kind}" if self.finished else f", {self.lifecycle}"
        return f"{self.id} is {self.state}{ended}, at version {self.version}"


def execution(reader: Reader, run_id: str) -> Execution | None:
    """The execution of this id."""
    found = [_execution(row) for row in reader.rows(_ONE, {"id": run_id})]
    return found[0] if found else None


def tree(reader: Reader, run_id: str) -> Mapping[str, Execution]:
    """The execution and everything derived from it, parents first."""
    found = [_execution(row) for row in reader.rows(_TREE, {"id": run_id})]
    return {each.id: each for each in sorted(found, key=lambda each: (each.id.count("."), each.id))}


def last_variant(reader: Reader, run_id: str) -> str:
    """What its last row is, pausing and cancelling left aside."""
    rows = reader.rows(_LAST, {"id": run_id})
    return text(rows[0][0]) if rows else ""


def ulid_of(run_id: str) -> str:
    """The 26 characters that name a top-level execution and everything derived from it. Raises Ineligible."""
    match = EXECUTION_ID.fullmatch(run_id)
    if not match:
        raise Ineligible(f"{run_id!r} is no id that this engine makes.")
    return match[1]


def retry_id(original: str, number: int) -> str:
    """The id of the ``number``-th retry: always the same, so that the primary key refuses a second one.

    The time of the original's ULID with 80 bits of a hash of both: the engine takes any well-formed ULID.
    """
    digest = hashlib.sha256(f"{original}\n{number}".encode()).digest()
    drawn = base64.b32encode(digest[: CHANCE_BITS // 8]).decode().translate(_CROCKFORD_OF_BASE32)
    return f"E_{ulid_of(original)[:TIME]}{drawn}"


def _execution(row: tuple[Value, ...]) -> Execution:
    digest = row[4]
    return Execution(
        id=text(row[0]),
        top=bool(row[1]),
        version=whole(row[2]) or 0,
        ffqn=text(row[3]),
        digest=digest if isinstance(digest, bytes) else b"",
        component_type=text(row[5]),
        deployment=text(row[6]),
        due=text(row[7]),
        state=text(row[8]),
        lifecycle=text(row[9]),
        result_kind=text(row[10]).replace(" ", ""),
        join_set=text(row[11]),
        closing=bool(row[12]),
        newest=-1 if row[13] is None else whole(row[13]) or 0,
    )
