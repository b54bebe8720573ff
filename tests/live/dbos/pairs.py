"""An application on DBOS that makes runs to compare with one another: each goes like ``plain``, but for one thing.

    python pairs.py DATABASE VERSION

Its code is another where VERSION is ``v2``. Nothing of Durascope is imported here.
"""

import random
import sys
import time
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID

DATABASE, VERSION = sys.argv[1], sys.argv[2]
ORDER = {"order_id": "ord-1", "lines": [{"sku": "tea", "count": 2}]}


@DBOS.step()
def reserve(sku: str) -> str:
    return f"kept {sku}"


@DBOS.step()
def weigh() -> dict[str, Any]:
    if DBOS.workflow_id == "lighter":
        return {"parcel": "KB-104", "weight_g": 0, "express": False}
    if DBOS.workflow_id == "spelled":
        return {"express": False, "weight_g": 4200.0, "parcel": "KB-104"}
    return {"parcel": "KB-104", "weight_g": 4200, "express": False}


@DBOS.step()
def audit() -> None:
    return None


@DBOS.step()
def charge(weight: int) -> str:
    if DBOS.workflow_id == "slow":
        time.sleep(0.5)
    if not weight:
        raise ValueError("nothing to charge for")
    return "charged"


@DBOS.step()
def send() -> str:
    if DBOS.workflow_id == "halted":
        DBOS.cancel_workflow("halted")
    return "sent"


@DBOS.step()
def thank() -> str:
    return "thanked"


@DBOS.workflow()
def checkout(order: dict[str, Any]) -> str:
    reserve(order["lines"][0]["sku"])
    parcel = weigh()
    # What no durable engine can know: a decision that is recorded nowhere.
    if VERSION == "v2" or (DBOS.workflow_id == "dice" and random.random() < 2):
        audit()
    charge(parcel["weight_g"])
    send()
    return thank()


@DBOS.workflow()
def family(weight: int) -> str:
    with SetWorkflowID(f"{DBOS.workflow_id}-child"):
        return DBOS.start_workflow(child, weight).get_result()


@DBOS.workflow()
def child(weight: int) -> str:
    reserve("tea")
    return charge(weight)


def run(workflow: Any, name: str, argument: Any) -> None:
    with SetWorkflowID(name):
        handle = DBOS.start_workflow(workflow, argument)
    try:
        handle.get_result()
    except Exception as error:
        print(name, type(error).__name__)


if __name__ == "__main__":
    config: DBOSConfig = {
        "name": "pairs",
        "system_database_url": f"sqlite:///{DATABASE}",
        "application_version": VERSION,
        "executor_id": "local",
        "log_level": "CRITICAL",
    }
    DBOS(config=config)
    DBOS.launch()
    if VERSION == "v2":
        run(checkout, "newer", ORDER)
    else:
        for name in ("plain", "same", "lighter", "spelled", "slow", "halted", "dice"):
            run(checkout, name, ORDER)
        run(checkout, "other", {"order_id": "ord-2", "lines": [{"sku": "tea", "count": 2}]})
        run(family, "parent", 1)
        run(family, "parent-2", 0)
    DBOS.destroy()
