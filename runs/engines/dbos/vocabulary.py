"""DBOS's words and ours: statuses and the names of its own steps.

False friends: ``PENDING`` means running. DBOS calls published values *events* and messages *notifications*.
"""

from runs.records import Status, StepKind

STATUSES = {
    "PENDING": Status.RUNNING,
    "SUCCESS": Status.SUCCEEDED,
    "ERROR": Status.FAILED,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": Status.FAILED,
    "RETRIES_EXCEEDED": Status.FAILED,  # the same in older TypeScript
    "CANCELLED": Status.CANCELLED,
    "ENQUEUED": Status.QUEUED,
    "DELAYED": Status.SCHEDULED,
}

SLEEP = "DBOS.sleep"
GET_RESULT = "DBOS.getResult"
WAITS = frozenset({"DBOS.recv", "DBOS.getEvent"})  # they reserve the next id for their timeout
MESSAGES = frozenset({"DBOS.recv", "DBOS.send", "DBOS.send_bulk"})
VALUES = frozenset(
    {
        "DBOS.setEvent", "DBOS.getEvent", "DBOS.get_events", "DBOS.writeStream", "DBOS.closeStream", "DBOS.readStream",
        "DBOS.readStreamOffset",
    }
)  # fmt: skip
STREAM_CLOSED = '"__DBOS_STREAM_CLOSED__"'
NO_TOPIC = "__null__topic__"
INTERNAL_QUEUE = "_dbos_internal_queue"


def status_of(native: str) -> Status:
    return STATUSES.get(native, Status.UNKNOWN)


def kind_of(name: str, child: str | None) -> StepKind:
    """The kind of a row of operation_outputs, from its function_name and child_workflow_id."""
    if name == SLEEP:
        return StepKind.SLEEP
    if name in MESSAGES:
        return StepKind.MESSAGE
    if name in VALUES:
        return StepKind.VALUE
    if child is not None or name == GET_RESULT:
        return StepKind.CHILD_RUN
    return StepKind.CODE if name.startswith("DBOS.") else StepKind.ACTIVITY
