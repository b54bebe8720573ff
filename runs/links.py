"""Addresses of what Durascope shows: the only place that builds them, for pages (``…_page``) and JSON (``…_href``).

Run ids are written by runs.addresses; slugs are made safe by the catalogue and stand as they are. No address holds a
secret or a path of the file system.
"""

from collections.abc import Sequence
from urllib.parse import urlencode

from runs.addresses import encode

API = "/api/v1"
COMPARE = "/compare/"


def database_href(slug: str) -> str:
    return f"{API}/databases/{slug}/"


def database_page(slug: str) -> str:
    return f"/db/{slug}/"


def runs_href(slug: str) -> str:
    return f"{database_href(slug)}runs/"


def runs_page(slug: str) -> str:
    return f"{database_page(slug)}runs/"


def run_href(slug: str, run_id: str) -> str:
    return f"{runs_href(slug)}{encode(run_id)}/"


def run_page(slug: str, run_id: str) -> str:
    return f"{runs_page(slug)}{encode(run_id)}/"


def events_href(slug: str, run_id: str) -> str:
    return f"{run_href(slug, run_id)}events/"


def plan_page(slug: str, run_id: str) -> str:
    return f"{run_page(slug, run_id)}retry/"


def retry_href(number: int) -> str:
    return f"{API}/retries/{number}/"


def retry_page(number: int) -> str:
    return f"/retries/{number}/"


def job_page(number: int) -> str:
    return f"/retries/jobs/{number}/"


def plans_page(query: str = "") -> str:
    """Where several runs are planned: all that a filter matches, the rest of a job, or those that a form names."""
    return f"/retries/plan/?{query}" if query else "/retries/plan/"


def job_href(number: int) -> str:
    return f"{API}/jobs/{number}/"


def payload_href(slug: str, run_id: str, name: str) -> str:
    """``name`` is a records.Payload's: its characters are safe in an address, dots and tildes included."""
    return f"{run_href(slug, run_id)}payloads/{name}/"


def payload_page(slug: str, run_id: str, name: str) -> str:
    return f"{run_page(slug, run_id)}payloads/{name}/"


def pair_page(a: str, a_run: str, b: str, b_run: str, more: Sequence[tuple[str, str]] = ()) -> str:
    """Two runs, compared; ``more`` are further parameters. Ids stand in the query as they are."""
    query = [("a", a), ("a_run", a_run), ("b", b), ("b_run", b_run), *more]
    return f"{COMPARE}run/?{urlencode(query, errors='surrogatepass')}"


def compare_with_page(slug: str, run_id: str) -> str:
    """What one run can be compared with."""
    return f"{COMPARE}run/?{urlencode([('a', slug), ('a_run', run_id)], errors='surrogatepass')}"
