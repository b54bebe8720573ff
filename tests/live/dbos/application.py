"""An application on DBOS, any release from 2.0: everything in it fails until the file ``mended`` is there.

    python application.py FOLDER NAME        with DBOS__APPVERSION in the environment

The database is FOLDER/live.sqlite. Each step writes ``<run> <step>`` to FOLDER/executed when it runs. On standard input, ``start``
begins every case and answers ``ended`` when all have, ``one`` does so with a single run; ``crash`` begins a run that ends the
whole process. The end of the input stops it. Nothing of Durascope is imported here.
"""

import asyncio
import os
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSConfiguredInstance, SetWorkflowID, SetWorkflowTimeout

try:
    from dbos import WorkflowSerializationFormat

    PORTABLE: dict[str, Any] = {"serialization_type": WorkflowSerializationFormat.PORTABLE}
except ImportError:  # before 2.14 there was one format
    PORTABLE = {}

FOLDER = Path(sys.argv[1])


class Broken(Exception):
    pass


class Declined(Exception):
    """Its message is not its arguments, as of many errors of real applications."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(code, words)
        self.code, self.words = code, words

    def __str__(self) -> str:
        return f"declined with {self.code}: {self.words}"


def mended() -> bool:
    return (FOLDER / "mended").exists()


def ran(step: str) -> None:
    with (FOLDER / "executed").open("a") as file:
        file.write(f"{DBOS.workflow_id} {step}\n")


def look(statement: str) -> object:
    """What is recorded of this run."""
    with closing(sqlite3.connect(FOLDER / "live.sqlite", timeout=30)) as connection:
        ((found,),) = connection.execute(statement, (DBOS.workflow_id,)).fetchall()
    return found


@DBOS.step()
def reserve() -> str:
    ran("reserve")
    return "reserved"


@DBOS.step()
def charge() -> str:
    ran("charge")
    if not mended():
        raise Broken("the bank is closed")
    return "charged"


@DBOS.step()
def decline() -> str:
    ran("decline")
    if not mended():
        raise Declined(51, "insufficient funds")
    return "paid"


@DBOS.step()
def ship(what: str) -> str:
    ran("ship")
    return f"shipped {what}"


@DBOS.step()
def wait_long() -> None:
    ran("wait_long")
    if not mended():
        while look("SELECT status FROM workflow_status WHERE workflow_uuid = ?") != "CANCELLED":
            time.sleep(0.1)
        time.sleep(1)


@DBOS.step()
async def count(shelf: int) -> int:
    ran(f"count-{shelf}")
    await asyncio.sleep(0.2)
    if shelf == 3 and not mended():
        await others_recorded(4)
        raise Broken("shelf 3 fell down")
    return shelf


async def others_recorded(count: int) -> None:
    """Waits until so many steps of this run are recorded: what is not when the run fails counts as never done. Not for ever, since
    releases before 2.11 may lose one."""
    for _ in range(300):
        if look("SELECT count(*) FROM operation_outputs WHERE workflow_uuid = ?") == count:
            return
        await asyncio.sleep(0.1)


@DBOS.workflow()
def step_fails(what: str) -> str:
    reserve()
    charge()
    return ship(what)


@DBOS.workflow()
def body_fails() -> str:
    reserved = reserve()
    if not mended():
        raise Broken("raised between two steps")
    return reserved


@DBOS.workflow()
def caught() -> str:
    reserve()
    try:
        charge()
    except Broken:
        ran("caught")
    return decline()


@DBOS.workflow()
async def gathered() -> int:
    return sum(await asyncio.gather(*(count(shelf) for shelf in range(1, 6))))


@DBOS.workflow()
def parent(what: str) -> str:
    reserve()
    result = DBOS.start_workflow(step_fails, what).get_result()
    return ship(result)


@DBOS.workflow()
def grandparent(what: str) -> str:
    return DBOS.start_workflow(parent, what).get_result()


@DBOS.workflow()
def receives() -> str:
    reserve()
    greeting = DBOS.recv("greetings", timeout_seconds=20)
    charge()
    return f"received {greeting}"


@DBOS.workflow()
def publishes() -> str:
    DBOS.set_event("stage", "begun")
    DBOS.write_stream("log", "one")
    charge()
    DBOS.set_event("stage", "charged")
    DBOS.write_stream("log", "two")
    DBOS.close_stream("log")
    return "published"


@DBOS.workflow(**PORTABLE)
def portable() -> str:
    reserve()
    return decline()


@DBOS.step()
def fall() -> None:
    ran("fall")
    if not mended():
        os._exit(1)


@DBOS.workflow(max_recovery_attempts=1)
def crashes() -> str:
    reserve()
    fall()
    return ship("what was left")


@DBOS.workflow()
def late() -> str:
    wait_long()
    return ship("late")


@DBOS.dbos_class()
class Shop(DBOSConfiguredInstance):
    def __init__(self, name: str) -> None:
        super().__init__(config_name=name)
        self.name = name

    @DBOS.workflow()
    def sell(self) -> str:
        reserve()
        charge()
        return ship(self.name)


SHOP = Shop("corner")


def start() -> None:
    """Begins every case under its own id, and waits until each has ended."""
    cases: dict[str, tuple[Any, ...]] = {
        "step": (step_fails, "a box"),
        "again": (step_fails, "another box"),
        "body": (body_fails,),
        "caught": (caught,),
        "parent": (parent, "a child's box"),
        "whole": (parent, "a whole child's box"),
        "grandparent": (grandparent, "a grandchild's box"),
        "receives": (receives,),
        "publishes": (publishes,),
        "portable": (portable,),
        "instance": (SHOP.sell,),
    }
    handles = []
    for run, (workflow, *arguments) in cases.items():
        with SetWorkflowID(run):
            handles.append(DBOS.start_workflow(workflow, *arguments))
    DBOS.send("receives", "hello", "greetings")
    with SetWorkflowID("late"), SetWorkflowTimeout(1):
        handles.append(DBOS.start_workflow(late))
    for handle in handles:
        with suppress(Exception):  # all of them fail: that is what they are for
            handle.get_result()
    asyncio.run(gather_twice())


async def gather_twice() -> None:
    for run in ("gathered", "gathered-all"):
        with SetWorkflowID(run):
            handle = await DBOS.start_workflow_async(gathered)
        with suppress(Exception):
            await handle.get_result()


def main() -> None:
    database = f"sqlite:///{FOLDER / 'live.sqlite'}"
    DBOS(
        config={
            "name": sys.argv[2],
            "system_database_url": database,
            "log_level": "CRITICAL",
            "run_admin_server": False,
        }
    )
    DBOS.launch()
    print("launched", flush=True)
    for line in sys.stdin:
        if line.strip() == "start":
            start()
        elif line.strip() == "crash":
            with SetWorkflowID("crashes"):
                DBOS.start_workflow(crashes).get_result()
        else:
            DBOS.start_workflow(body_fails).get_result()
        print("ended", flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main()
