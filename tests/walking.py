"""Every way in which Durascope reads a database, taken once: through the engine, and through pages and JSON."""

import random
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from django.test import Client

from runs import links
from runs.engines.base import Engine
from runs.errors import DurascopeError
from runs.filters import Filter
from runs.payloads import decode, summarise_error, to_json
from runs.payloads.outline import outline
from runs.records import Payload, Run, Section, Status

TABS = ("timeline", "table", "history", "payloads", "family", "logs", "details", "raw")


def through(engine: Engine, chance: random.Random, runs: int = 3) -> int:
    """Asks the engine for all that it can say; an error of ours is an answer. How many answers there were that are none."""
    answers = 0

    def ask(work: Callable[[], Any]) -> Any:
        nonlocal answers
        try:
            found = work()
        except DurascopeError:
            return None
        answers += 1
        return found

    for work in (engine.revision, engine.overview, engine.names, engine.sections):
        ask(work)
    ask(lambda: engine.counts(Filter()))
    ask(lambda: engine.histogram(Filter()))
    ask(lambda: engine.runs(Filter(q="a"), None, 5))
    ask(lambda: engine.runs(Filter(statuses=frozenset({Status.FAILED})), None, 5))
    ask(lambda: engine.long_ids(500))
    page = ask(lambda: engine.runs(Filter(), None, 30))
    rows = list(page.rows) if page else []
    for run in chance.sample(rows, min(runs, len(rows))):
        _through_run(engine, run, ask)
    return answers


def _through_run(engine: Engine, run: Run, ask: Callable[[Callable[[], Any]], Any]) -> None:
    found = ask(lambda: engine.run(run.id))
    steps = ask(lambda: engine.steps(run.id)) or ()
    ask(lambda: engine.usual({step.name for step in steps}))
    for work in (engine.relatives, engine.neighbours, engine.event_types):
        ask(lambda work=work: work(run.id))
    events = ask(lambda: engine.events(run.id, None, 50))
    ask(lambda: engine.logs(run.id, None, 50))
    sections = ask(lambda: engine.extras(run.id)) or ()
    ask(lambda: engine.raw(run.id, None))
    for step in steps[:3]:
        ask(lambda step=step: engine.raw(run.id, step.ordinal))
    slots = [found.payloads] if found else []
    kept = [payload for slot in (*slots, *(step.payloads for step in steps[:10])) for payload in _filled(slot)]
    kept += [event.payload for event in (events.rows if events else ())[:10] if event.payload]
    kept += list(_in(sections))[:10]
    for payload in kept[:15]:
        body = ask(lambda payload=payload: engine.payload(payload.run_id, payload.name))
        if body is not None:
            tree = decode(payload.encoding, body.data, truncated=body.truncated).tree
            summarise_error(payload.encoding, body.data)
            if tree is not None:
                to_json(tree)
                outline(tree)


def _filled(slot: Any) -> Iterator[Payload]:
    yield from (payload for payload in (slot.input, slot.output, slot.error) if payload)


def _in(sections: tuple[Section, ...]) -> Iterator[Payload]:
    yield from (cell for section in sections for row in section.rows for cell in row if isinstance(cell, Payload))


def addresses(slug: str, run_ids: list[str], payloads: Callable[[str], list[str]]) -> Iterator[str]:
    """The pages and JSON of one database and some of its runs; ``payloads`` names those of a run."""
    yield from ("/", "/runs/", f"/db/{slug}/", f"/db/{slug}/runs/", f"/db/{slug}/runs/?{urlencode({'q': 'a'})}")
    yield from ("/api/v1/databases/", f"/api/v1/databases/{slug}/", f"/api/v1/databases/{slug}/runs/", "/api/v1/runs/")
    for run_id in run_ids:
        page = links.run_page(slug, run_id)
        yield page
        yield from (f"{page}{tab}/" for tab in TABS[1:])
        yield f"{page}markdown/"
        yield f"{page}retry/"
        yield f"/search/?{urlencode({'q': run_id})}"
        yield links.run_href(slug, run_id)
        yield links.events_href(slug, run_id)
        for name in payloads(run_id):
            yield f"{page}payloads/{name}/"
            yield f"{page}payloads/{name}/?as=hex"
            yield f"{page}payloads/{name}/?as=stored"
            yield links.payload_href(slug, run_id, name)


def client() -> Client:
    """Asks the pages within this process: what a view raises that is no error of ours is raised in the test."""
    return Client(headers={"host": "127.0.0.1"})
