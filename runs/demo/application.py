"""A small shop on DBOS that never closes: it keeps starting, failing, retrying and finishing runs, so the demo moves.

About one order a second comes in; once KEPT runs are there the oldest finished ones are deleted with their children, so
the file stays small. Nothing of Durascope is imported here: this is an application like any other.
"""

import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

from dbos import DBOS, SetWorkflowID

KEPT = 3000
SECONDS_BETWEEN_ORDERS = 1.0
ITEMS = ("kettle", "lamp", "notebook", "teapot", "umbrella")
SHIPPING = "shipping"


class CardDeclined(Exception):
    """The bank said no."""


class OutOfStock(Exception):
    """The shelf is empty."""


@dataclass
class Order:
    number: int
    item: str
    quantity: int
    price: Decimal
    placed_at: datetime


@DBOS.step()
def reserve_stock(item: str, quantity: int) -> dict[str, Any]:
    time.sleep(random.uniform(0.02, 0.2))
    if random.random() < 0.05:
        raise OutOfStock(f"{item}: {quantity} wanted, 0 on the shelf")
    return {"item": item, "quantity": quantity, "shelf": random.choice("ABCDEF")}


@DBOS.step(retries_allowed=True, interval_seconds=0.4, max_attempts=3)
def charge_card(number: int, amount: Decimal) -> dict[str, Any]:
    time.sleep(random.uniform(0.05, 0.4))
    if random.random() < 0.3:
        raise ConnectionError("payments.example answered 503")
    if random.random() < 0.05:
        raise CardDeclined(f"order {number}: insufficient funds")
    return {"charge": f"ch_{number:06d}", "amount": amount}


@DBOS.step()
def release_stock(item: str, quantity: int) -> None:
    time.sleep(random.uniform(0.02, 0.1))


@DBOS.step()
def book_courier(number: int) -> str:
    time.sleep(random.uniform(0.1, 0.8))
    return f"parcel-{number:06d}"


@DBOS.step()
def send_email(number: int, subject: str) -> None:
    time.sleep(random.uniform(0.02, 0.1))


@DBOS.workflow()
def ship_parcel(number: int) -> str:
    """A child run, on a queue that lets three parcels through at a time."""
    parcel = book_courier(number)
    DBOS.sleep(random.uniform(0.5, 4))
    DBOS.set_event("handed_over", datetime.now(UTC))
    return parcel


@DBOS.workflow()
def fulfil_order(order: Order) -> dict[str, Any]:
    """Reserve, charge, ask the fraud desk where the sum is large, ship; put the goods back where charging fails."""
    reserve_stock(order.item, order.quantity)
    DBOS.set_event("stage", "reserved")
    try:
        charge = charge_card(order.number, order.price * order.quantity)
    except CardDeclined:
        release_stock(order.item, order.quantity)
        raise
    DBOS.set_event("stage", "charged")
    if order.price * order.quantity > 200 and DBOS.recv("fraud_desk", timeout_seconds=10) == "refused":
        release_stock(order.item, order.quantity)
        raise PermissionError(f"order {order.number} was refused by the fraud desk")
    parcel = DBOS.enqueue_workflow(SHIPPING, ship_parcel, order.number).get_result()
    send_email(order.number, "Your order is on its way")
    return {"order": order.number, "charge": charge, "parcel": parcel}


@DBOS.step()
def count_shelf(shelf: str) -> int:
    time.sleep(random.uniform(0.05, 0.15))
    return random.randrange(200)


@DBOS.workflow()
def count_stock() -> dict[str, int]:
    """A longer run with many steps and a stream."""
    counted: dict[str, int] = {}
    for shelf in "ABCDEF":
        counted[shelf] = count_shelf(shelf)
        DBOS.write_stream("counted", {shelf: counted[shelf]})
        DBOS.sleep(1)
    DBOS.close_stream("counted")
    return counted


def open_shop(database: Path) -> None:
    """Makes the database and starts the engine. Raises what the engine raises where it can't."""
    # Declined cards are the shop's daily life: their tracebacks would only fill the disk.
    DBOS(config={"name": "shop", "system_database_url": f"sqlite:///{database}", "log_level": "CRITICAL"})
    DBOS.launch()
    DBOS.register_queue(SHIPPING, worker_concurrency=3)


def trade(stopped: threading.Event) -> None:
    """Takes orders until told to stop."""
    for number in count(1):
        order = Order(
            number=number,
            item=random.choice(ITEMS),
            quantity=random.randint(1, 4),
            price=Decimal(random.randint(500, 9900)) / 100,
            placed_at=datetime.now(UTC),
        )
        with SetWorkflowID(f"order-{datetime.now(UTC):%H%M%S}-{number}"):
            handle = DBOS.start_workflow(fulfil_order, order)
        if random.random() < 0.5:
            DBOS.send(handle.workflow_id, random.choice(("passed", "passed", "refused")), "fraud_desk")
        if number % 30 == 0:
            DBOS.start_workflow(count_stock)
        if number % 60 == 0:
            forget()
        if stopped.wait(random.uniform(0.3, 1.7) * SECONDS_BETWEEN_ORDERS):
            return


def forget() -> None:
    """Deletes the oldest finished runs beyond KEPT."""
    kept = len(DBOS.list_workflows(load_input=False, load_output=False))
    if kept > KEPT:
        oldest = DBOS.list_workflows(
            status=["SUCCESS", "ERROR"], has_parent=False, limit=(kept - KEPT), load_input=False, load_output=False
        )
        DBOS.delete_workflows([run.workflow_id for run in oldest], delete_children=True)
