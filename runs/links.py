"""Addresses of what Durascope shows: the only place that builds them, for pages (``…_page``) and JSON (``…_href``).

Run ids are written by runs.addresses; slugs are made safe by the catalogue and stand as they are. No address holds a
secret or a path of the file system.
"""

from runs.addresses import encode

API = "/api/v1"


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


def plan_href(slug: str, run_id: str) -> str:
    return f"{run_href(slug, run_id)}retry/"


def plan_page(slug: str, run_id: str) -> str:
    return f"{run_page(slug, run_id)}retry/"


def retry_href(number: int) -> str:
    return f"{API}/retries/{number}/"


def retry_page(number: int) -> str:
    return f"/retries/{number}/"


def job_page(number: int) -> str:
    return f"/retries/jobs/{number}/"


def plans_page(query: str = "") -> str:
    """Where several runs are planned: all that a filter matches, or those that a form names."""
    return f"/retries/plan/?{query}" if query else "/retries/plan/"


def job_href(number: int) -> str:
    return f"{API}/jobs/{number}/"


def payload_href(slug: str, run_id: str, name: str) -> str:
    """``name`` is a records.Payload's: its characters are safe in an address, dots and tildes included."""
    return f"{run_href(slug, run_id)}payloads/{name}/"


def payload_page(slug: str, run_id: str, name: str) -> str:
    return f"{run_page(slug, run_id)}payloads/{name}/"
