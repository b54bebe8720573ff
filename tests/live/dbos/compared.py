"""An application on DBOS that makes databases to compare.

    python compared.py DATABASE VERSION FIRST COUNT [PREFIX]

Runs orders FIRST to FIRST + COUNT - 1, each with the id PREFIX-number (``order`` where none is given) and a child, and ends. What
a step returns differs from one run of this program to another. Nothing of Durascope is imported here.
"""

import os
import sys
import time
import uuid
from contextlib import suppress

from dbos import DBOS, DBOSConfig, SetWorkflowID

DATABASE, VERSION, FIRST, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
PREFIX = sys.argv[5] if len(sys.argv) > 5 else "order"
SELF = uuid.uuid4().hex


@DBOS.step()
def reserve(number: int) -> str:
    return f"stock for {number}"


@DBOS.step()
def stamp() -> str:
    return SELF


@DBOS.workflow()
def deliver(number: int) -> str:
    return reserve(number)


@DBOS.workflow()
def order(asked: dict[str, int]) -> str:
    if asked["number"] % 5 == 4:
        stamp()
    deliver(asked["number"])
    if asked["number"] % 7 == 3:
        raise ValueError(f"order {asked['number']} was refused")
    return "done"


@DBOS.workflow()
def waiting(topic: str) -> str:
    """Ended by the run of this program that sends it something."""
    DBOS.recv(topic, timeout_seconds=600)
    stamp()
    return "heard"


if __name__ == "__main__":
    config: DBOSConfig = {
        "name": "compared",
        "system_database_url": f"sqlite:///{DATABASE}",
        "application_version": VERSION,
        "executor_id": "local",
        "log_level": "CRITICAL",
    }
    DBOS(config=config)
    DBOS.launch()
    known = {found.workflow_id for found in DBOS.list_workflows(name="waiting")}
    for number in range(FIRST, FIRST + COUNT):
        with SetWorkflowID(f"{PREFIX}-{number}"):
            handle = DBOS.start_workflow(order, {"number": number, "amount": number * 10})
        with suppress(ValueError):
            handle.get_result()
    if known:
        # Both copies of a database that was copied while it waited end it, each in its own way.
        DBOS.send("waits", "go on", topic="go")
        DBOS.retrieve_workflow("waits").get_result()
    else:
        with SetWorkflowID("waits"):
            DBOS.start_workflow(waiting, "go")
    time.sleep(0.5)  # what waits has begun to
    os._exit(0)  # it goes on waiting, for whoever opens the database next
