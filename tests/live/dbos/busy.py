"""A DBOS application that writes as fast as it can, until it is told to rest.

    python busy.py FOLDER NAME

The database is FOLDER/live.sqlite. On standard input, ``fail`` has fifty orders fail, whose ids are fail-00 to fail-49; ``work``
begins to run ticks, one after another in each of four threads, and to let orders succeed; ``rest`` ends that, and FOLDER/ticks then
says how many ticks have succeeded, as far as the application was told. Each is answered ``ended``. The end of the input stops it.
What goes wrong, and what the engine warns of, is written to FOLDER/problems. Nothing of Durascope is imported here.
"""

import logging
import sys
import threading
from contextlib import suppress
from pathlib import Path

from dbos import DBOS, SetWorkflowID

FOLDER = Path(sys.argv[1])
THREADS = 4
FAILED = 50
RESTING = threading.Event()
ticks: list[int] = []


@DBOS.step()
def charge() -> str:
    if not (FOLDER / "mended").exists():
        raise ValueError("the bank is closed")
    return "charged"


@DBOS.step()
def reserve() -> str:
    return "reserved"


@DBOS.step()
def beat(number: int) -> int:
    return number


@DBOS.workflow()
def order() -> str:
    return f"{reserve()} and {charge()}"


@DBOS.workflow()
def tick(number: int) -> int:
    return beat(number)


def fail() -> None:
    for number in range(FAILED):
        with SetWorkflowID(f"fail-{number:02}"), suppress(ValueError):
            order()


def work() -> None:
    (FOLDER / "mended").touch()
    threads = [threading.Thread(target=beat_on, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for line in sys.stdin:
        if line.strip() == "rest":
            break
    RESTING.set()
    for thread in threads:
        thread.join()
    (FOLDER / "ticks").write_text(str(len(ticks)))


def beat_on(number: int) -> None:
    try:
        while not RESTING.is_set():
            ticks.append(tick(number))
    except Exception as problem:
        with (FOLDER / "problems").open("a") as file:
            file.write(f"{problem!r}\n")


def main() -> None:
    (FOLDER / "problems").touch()
    DBOS(
        config={
            "name": sys.argv[2],
            "system_database_url": f"sqlite:///{FOLDER / 'live.sqlite'}",
            "log_level": "WARNING",
            "run_admin_server": False,
        }
    )
    DBOS.launch()
    logging.getLogger("dbos").addHandler(logging.FileHandler(FOLDER / "problems"))
    print("launched", flush=True)
    for line in sys.stdin:
        if line.strip() == "fail":
            logging.disable()  # that they fail is meant
            fail()
            logging.disable(logging.NOTSET)
        else:
            print("ended", flush=True)
            work()
        print("ended", flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main()
