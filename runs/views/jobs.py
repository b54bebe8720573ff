"""Jobs: several retries that go on whether or not anybody looks, and the list of all retries."""

from collections.abc import Mapping, Sequence

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_POST

from runs import jobs, links, planning
from runs.records import Status
from runs.state import jobs as recorded
from runs.state import place, retries
from runs.state.models import Item, Job
from runs.views.answers import page
from runs.views.live import unchanged

LISTED = 100
SHOWN = 100  # runs of a job; those that need a look come first
_ORDER = ("failed", recorded.HELD, "skipped", "done", "")
# What a result looks like: the colour and glyph of a status, the word stays its own.
_LOOKS = {
    "done": Status.SUCCEEDED,
    "failed": Status.FAILED,
    recorded.HELD: Status.PAUSED,
    "skipped": Status.CANCELLED,
    "": Status.QUEUED,
}


def index(request: HttpRequest) -> HttpResponse:
    """``GET /retries/``: the newest jobs, and the newest retries that are of no job."""
    kept = place.is_kept()
    context = {
        "here": "retries",
        "jobs": [(job, _counted(job)) for job in recorded.newest(LISTED)] if kept else [],
        "retries": retries.newest_alone(LISTED) if kept else [],
        "kept": kept,
    }
    return page(request, "runs/retries.html", context)


def job(request: HttpRequest, number: int) -> HttpResponse:
    """``GET /retries/jobs/<number>/``: what became of each run so far. It follows the job until its end."""
    found = jobs.job_of(number)
    jobs.look_after(found)
    counts = recorded.counts(found)
    tag = f"{number}-{sorted(counts.items())}-{found.cancelled_at}-{found.finished_at}"
    if answer := unchanged(request, tag):
        return answer
    items = recorded.items_of(found)
    untried = "not tried" if found.finished_at else "waiting"
    everything = request.GET.get("show") == "all"
    context = {
        "here": "retries",
        "job": found,
        "live_tag": "" if found.finished_at else tag,
        "counts": [
            (word or untried, counts.get(word, 0), _LOOKS[word])
            for word in _ORDER
            if word != recorded.HELD or word in counts
        ],
        "untried": untried,
        "total": len(items),
        "over": len(items) - counts.get("", 0),
        "failed": counts.get("failed", 0),
        "done": counts.get("done", 0),
        "held": counts.get(recorded.HELD, 0),
        "items": [(item, _LOOKS[item.result]) for item in (items if everything else _first(items))],
        "rest": links.plans_page(f"job={number}") if _has_rest(found, counts) else "",
        "more": 0 if everything else max(0, len(items) - SHOWN),
    }
    return page(request, "runs/job.html", context)


@require_POST
def cancel(_request: HttpRequest, number: int) -> HttpResponse:
    """``POST /retries/jobs/<number>/cancel/``: it stops before its next run."""
    return HttpResponseRedirect(links.job_page(jobs.cancel(jobs.job_of(number)).pk))


def _first(items: Sequence[Item]) -> list[Item]:
    """What needs a look, then what was done last, then what comes next."""
    ranked = sorted(items, key=lambda item: (_ORDER.index(item.result), _place(item)))
    return ranked[:SHOWN]


def _has_rest(found: Job, counts: Mapping[str, int]) -> bool:
    """Whether there is something left to be planned: of a job that came to its end, only what failed can be."""
    if not found.finished_at or not (found.stopped or counts.get("failed")):
        return False
    rest = jobs.rest_of(found).references
    return bool(rest) and all(planning.allowed(slug) for slug in {one.slug for one in rest})


def _place(item: Item) -> int:
    return -item.position if item.result == "done" else item.position


def _counted(found: Job) -> dict[str, int]:
    counts = recorded.counts(found)
    return {**counts, "waiting": counts.get("", 0), "total": sum(counts.values())}
