"""Several runs retried from the pages: which have a box, what their plans say together, what confirms them, and the job."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from asking import Asker
from django.test import Client
from serving import eventually

from runs import appending, clock, jobs, selection
from runs.addresses import encode
from runs.errors import QueryTooSlow
from runs.jobs import waking
from runs.state.models import Item, Job
from runs.views import bulk, picking
from tests.bulk import multiply
from tests.dbos_files import sql

PLAN = "/retries/plan/"
FAILED = {"status": "failed", "children": "show"}

Ask = Callable[..., Asker]
Fresh = Callable[[str], Path]


class Page:
    """A page, as far as tests look at it."""

    def __init__(self, answer: Any) -> None:
        self.status = answer.status_code
        self.text = answer.content.decode()
        self.words = " ".join(unescape(re.sub(r"<[^>]+>", " ", self.text)).split())
        self.boxes = [unescape(value) for value in re.findall(r'type="checkbox" name="run" value="([^"]*)"', self.text)]

    @property
    def planned(self) -> list[str]:
        """What the form carries: a line a run."""
        (value,) = re.findall(r'name="planned" value="([^"]*)"', self.text)
        return unescape(value).splitlines()

    @property
    def rows(self) -> Counter[str]:
        """Rows to be written, by table."""
        found = re.findall(r'<code>(\w+)</code></th><td class="num">([\d,]+)</td>', self.text)
        return Counter({table: int(count.replace(",", "")) for table, count in found})


@pytest.fixture
def zoo(fresh: Fresh) -> Path:
    return fresh("zoo-3.4.0")


@pytest.fixture
def ask_both(ask: Ask, zoo: Path, fresh: Fresh, state: Path, monkeypatch: pytest.MonkeyPatch) -> Asker:
    monkeypatch.setenv("DURASCOPE_RETRY", "zoo,shop")
    return ask(f"zoo={zoo}", f"shop={fresh('shop')}")


@pytest.fixture
def get(ask_both: Asker) -> Callable[..., Page]:
    return lambda address, **query: Page(ask_both.client.get(f"{address}?{urlencode(query, doseq=True)}"))


@pytest.fixture
def post(ask_both: Asker) -> Callable[..., Any]:
    return lambda address, **fields: ask_both.client.post(address, fields)


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are recorded, and nobody does them."""
    monkeypatch.setattr(jobs, "wake", lambda: None)


@pytest.fixture
def awake() -> Iterator[None]:
    """The process that does jobs is gone at the end."""
    yield
    for process in waking._started:
        process.kill()
        process.wait()
    waking._started.clear()


def failed_in(zoo: Path, *, children: bool) -> list[str]:
    """By plain SQL: what failed, or was cancelled, and has no retry that is unfinished or succeeded."""
    found = sql(
        zoo,
        "SELECT workflow_uuid FROM workflow_status s WHERE status IN ('ERROR', 'CANCELLED')"
        " AND (? OR parent_workflow_id IS NULL) AND NOT EXISTS (SELECT 1 FROM workflow_status f"
        " WHERE f.forked_from = s.workflow_uuid AND f.status NOT IN ('ERROR', 'CANCELLED')) ORDER BY 1",
        children,
    )
    return [run for (run,) in found]


# In a list


@pytest.mark.parametrize("children", [True, False])
def test_what_may_be_retried_has_a_box_and_nothing_else(get: Callable[..., Page], zoo: Path, children: bool) -> None:
    page = get("/db/zoo/runs/", limit=500, **({"children": "show"} if children else {}))
    assert sorted(page.boxes) == [f"zoo/{encode(run)}" for run in failed_in(zoo, children=children)]


def test_all_that_are_shown_can_be_ticked_without_a_script(get: Callable[..., Page]) -> None:
    assert "checked" not in get("/runs/", **FAILED).text
    page = get("/runs/", select="shown", **FAILED)
    assert page.text.count(" checked>") == len(page.boxes) == 50


def test_only_databases_that_may_be_retried_have_boxes(
    get: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURASCOPE_RETRY", "zoo")
    page = get("/runs/", limit=500, **FAILED)
    assert {box.partition("/")[0] for box in page.boxes} == {"zoo"}
    assert "all that match, 1,000 at most" in page.words
    assert "Retrying is off for shop" in get(PLAN, **FAILED).words


def test_where_retrying_is_off_nothing_is_offered_and_nothing_is_planned(ask: Ask, zoo: Path) -> None:
    client = ask(f"zoo={zoo}").client
    page = Page(client.get("/runs/?status=failed"))
    assert page.boxes == []
    assert "selbar" not in page.text
    assert client.get(f"{PLAN}?run=zoo/wf-declined").status_code == 403
    assert client.get(f"{PLAN}?status=failed").status_code == 403


def test_a_page_whose_boxes_no_address_can_hold_is_a_form_with_a_token(
    get: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert '<form class="picks" method="get"' in get("/db/zoo/runs/", **FAILED).text
    monkeypatch.setattr(picking, "LONGEST", 150)
    page = get("/db/zoo/runs/", **FAILED)
    assert '<form class="picks" method="post"' in page.text
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(PLAN, {"run": page.boxes}).status_code == 403
    strict.get("/db/zoo/runs/?status=failed")
    token = strict.cookies["durascope_csrf"].value
    planned = Page(strict.post(PLAN, {"run": page.boxes, "csrfmiddlewaretoken": token}))
    assert planned.status == 200
    assert [line.split(" ")[0] for line in planned.planned] == page.boxes


# The plan of several


def test_a_plan_of_several_says_what_the_plans_of_each_say(
    get: Callable[..., Page], ask_both: Asker, zoo: Path, unpacked: Fresh
) -> None:
    page = get(PLAN, status="failed")
    expected: Counter[str] = Counter()
    for line in page.planned:
        reference, _, digest = line.partition(" ")
        slug, _, run = reference.partition("/")
        alone = ask_both(f"/api/v1/databases/{slug}/runs/{run}/retry/")
        if digest:
            assert alone["digest"] == digest
            assert alone["new_run"] in page.words
            for table, changes in alone["rows"].items():
                expected[table] += sum(len(change["each"]) or 1 for change in changes)
    assert {line.partition("/")[0] for line in page.planned} == {"zoo", "shop"}
    assert page.rows == expected
    assert zoo.read_bytes() == unpacked("zoo-3.4.0").read_bytes()


def test_what_cannot_be_retried_is_listed_with_the_reason(get: Callable[..., Page]) -> None:
    page = get(PLAN, run=["zoo/wf-declined", "zoo/wf-happy", "zoo/nowhere"])
    assert "1 of 3 runs will be retried: 1 fork. 2 can’t be, and are left out." in page.words
    assert "It succeeded: there is nothing to retry." in page.words
    assert "'nowhere'" in page.words


def test_one_that_is_retried_with_another_is_left_to_that_one(get: Callable[..., Page]) -> None:
    page = get(PLAN, run=["zoo/wf-parent-fail-2", "zoo/wf-parent-fail", "zoo/wf-declined", "zoo/wf-declined-fork"])
    assert "It is retried with wf-parent-fail, which is chosen too." in page.words
    assert "Its retry wf-declined-fork is chosen too." in page.words
    digests = {line.partition(" ")[0]: line.partition(" ")[2] for line in page.planned}
    assert [run for run, digest in digests.items() if digest] == ["zoo/wf-parent-fail", "zoo/wf-declined-fork"]


def test_what_is_true_of_all_is_said_once(get: Callable[..., Page]) -> None:
    page = get(PLAN, run=["zoo/wf-body-error", "zoo/wf-retry-exhausted"])
    assert page.words.count("The original stays as it is") == 1
    assert page.words.count("The worker must have its workflow registered") == 1


def test_more_than_can_be_planned_together_are_not_planned_silently(
    get: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (selection, bulk, picking):
        monkeypatch.setattr(module, "MOST", 5)
    page = get(PLAN, db="zoo", **FAILED)
    assert "More than 5 runs match: these are the newest 5." in page.words
    assert len(page.planned) == 5
    assert "the newest 5 of 8 that match" in get("/db/zoo/runs/", **FAILED).words
    assert get(PLAN, run=[f"zoo/wf-{number}" for number in range(6)]).status == 400


def test_one_plan_that_cannot_be_made_leaves_the_others(
    get: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["wf-declined-fork", "wf-body-error", "wf-retry-exhausted", "wf-parent-fail"]
    references = [selection.Reference("zoo", encode(run)) for run in chosen]
    fine = selection.plan_all(references)
    real = appending.plan_by

    def slow(reader: Any, run_id: str, options: Any) -> Any:
        if run_id == chosen[1]:
            raise QueryTooSlow("It takes too long.")
        return real(reader, run_id, options)

    monkeypatch.setattr(appending, "plan_by", slow)
    found = selection.plan_all(references)
    assert "It takes too long." in found[1].reason
    assert [*found[:1], *found[2:]] == [*fine[:1], *fine[2:]]
    assert sum(one.eligible for one in found) >= 2


@pytest.mark.parametrize(
    "query", [{"run": "wf-declined"}, {"status": "succeeded"}, {"status": ["failed", "running"]}, {"status": "dead"}]
)
def test_what_is_no_selection_is_refused(get: Callable[..., Page], query: dict[str, Any]) -> None:
    assert get(PLAN, **query).status == 400


def test_of_nothing_chosen_it_says_so(get: Callable[..., Page]) -> None:
    assert "No run is chosen" in get(PLAN).words


# Confirmed


def confirmed(page: Page, **changed: str) -> dict[str, str]:
    count = sum(1 for line in page.planned if line.partition(" ")[2])
    return {
        "planned": "\n".join(page.planned),
        "reason": "the bank is back",
        "count": str(count),
        "key": "k",
        **changed,
    }


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"count": "3"}, "3 was given; 2 runs are to be retried."),
        ({"count": ""}, "Type 2."),
        ({"count": "two"}, "Type 2."),
        ({"reason": "  "}, "A retry needs a reason."),
    ],
)
def test_what_does_not_confirm_is_refused_with_nothing_lost(
    get: Callable[..., Page], post: Callable[..., Any], changed: dict[str, str], words: str
) -> None:
    page = get(PLAN, run=["zoo/wf-body-error", "zoo/wf-declined", "zoo/wf-happy"])
    fields = confirmed(page, **changed)
    again = Page(post(PLAN, **fields))
    assert again.status == 422
    assert words in again.words
    assert f">{fields['reason']}</textarea>" in again.text
    assert again.planned == page.planned
    assert not Job.objects.exists()


def test_confirmed_twice_with_one_key_it_is_one_job(
    get: Callable[..., Page], post: Callable[..., Any], asleep: None
) -> None:
    fields = confirmed(get(PLAN, run=["zoo/wf-body-error", "zoo/wf-declined", "zoo/wf-happy"]))
    answers = [post(PLAN, **fields) for _ in range(2)]
    assert [(answer.status_code, answer.headers["Location"]) for answer in answers] == [(302, "/retries/jobs/1/")] * 2
    assert list(Item.objects.values_list("database", "run")) == [("zoo", "wf-body-error"), ("zoo", "wf-declined")]
    assert Job.objects.get().reason == "the bank is back"


def test_a_form_without_a_token_or_of_another_site_confirms_nothing(get: Callable[..., Page]) -> None:
    fields = confirmed(get(PLAN, run="zoo/wf-body-error"))
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(PLAN, fields).status_code == 403
    strict.get(f"{PLAN}?run=zoo/wf-body-error")
    fields["csrfmiddlewaretoken"] = strict.cookies["durascope_csrf"].value
    assert strict.post(PLAN, fields, headers={"Origin": "http://127.0.0.1:9"}).status_code == 403
    assert strict.post(PLAN, fields, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert strict.post("/retries/jobs/1/cancel/").status_code == 403
    assert not Job.objects.exists()


# The job


def test_a_job_of_both_engines_comes_to_its_end_and_says_what_became_of_each(
    get: Callable[..., Page], post: Callable[..., Any], zoo: Path, fresh: Fresh, awake: None, ask_both: Asker
) -> None:
    shop = fresh("shop")
    before = sql(shop, "SELECT count(*) FROM t_state")[0][0]
    workflows = get("/db/shop/runs/", status="failed", limit=500).boxes[:3]
    page = get(PLAN, run=["zoo/wf-body-error", "zoo/wf-declined", *workflows])
    sql(zoo, "UPDATE workflow_status SET status = 'PENDING' WHERE workflow_uuid = 'wf-declined'")
    job = post(PLAN, **confirmed(page)).headers["Location"]
    assert eventually(lambda: Job.objects.get().finished_at is not None, 60)
    done = get(job)
    assert "Finished. 4 of 5 runs are retried." in done.words
    assert "failed 0 skipped 1 done 4 not tried 0" in done.words
    assert "wf-body-error.retry-1" in done.text
    assert "changed meanwhile" in done.words
    assert "data-live=" not in done.text
    assert "Cancel the rest" not in done.words
    assert sql(zoo, "SELECT forked_from FROM workflow_status WHERE workflow_uuid LIKE '%.retry-1'") == [
        ("wf-body-error",)
    ]
    assert sql(shop, "SELECT count(*) FROM t_state")[0][0] >= before + 3
    index = get("/retries/")
    assert "4 of 5 done, 1 skipped" in index.words
    assert "0 single retries" in index.words


def test_a_job_is_cancelled_by_a_form_alone(
    get: Callable[..., Page], post: Callable[..., Any], ask_both: Asker, asleep: None
) -> None:
    job = post(PLAN, **confirmed(get(PLAN, run=["zoo/wf-body-error", "zoo/wf-declined"]))).headers["Location"]
    page = get(job)
    assert "It goes on when this page is closed" in page.words
    (tag,) = re.findall(r'data-live="([^"]+)"', page.text)
    unchanged = {"Durascope-Tag": unescape(tag)}
    assert ask_both.client.get(job, headers=unchanged).status_code == 204
    assert get(f"{job}cancel/").status == 405
    assert post(f"{job}cancel/").headers["Location"] == job
    assert ask_both.client.get(job, headers=unchanged).status_code == 200
    being_cancelled = get(job).words
    assert "Being cancelled." in being_cancelled
    assert "waiting 2" in being_cancelled
    cancelled_at = Job.objects.get().cancelled_at
    assert cancelled_at is not None
    Job.objects.update(finished_at=cancelled_at, stopped="It was cancelled.")
    cancelled = get(job).words
    assert "not tried 2" in cancelled
    assert "waiting" not in cancelled


def test_the_rest_of_a_job_that_was_stopped_is_planned_from_its_page(
    get: Callable[..., Page], post: Callable[..., Any], asleep: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [
        "zoo/wf-body-error",
        "zoo/wf-declined",
        "shop/" + get("/db/shop/runs/", **FAILED).boxes[0].partition("/")[2],
    ]
    job = post(PLAN, **confirmed(get(PLAN, run=chosen))).headers["Location"]
    rest = f"{PLAN}?job=1"
    assert rest not in get(job).text, "it goes on by itself"
    Item.objects.filter(run="wf-body-error").update(result="done")
    Item.objects.filter(run="wf-declined").update(result="failed", detail="The disk is full.")
    Job.objects.update(finished_at=clock.now(), stopped="It was cancelled.")
    assert f'href="{rest}"' in get(job).text
    planned = confirmed(get(PLAN, job=1))
    assert [line.partition(" ")[0] for line in planned["planned"].splitlines()] == chosen[1:]
    monkeypatch.setenv("DURASCOPE_RETRY", "zoo")
    assert rest not in get(job).text
    assert get(PLAN, job=1).status == 403
    monkeypatch.setenv("DURASCOPE_RETRY", "zoo,shop")
    Item.objects.update(result="done")
    assert rest not in get(job).text
    assert [get(PLAN, job=number).status for number in (2, "x", "9" * 30)] == [404] * 3


def test_of_the_rest_only_what_can_be_planned_alike_is_and_it_says_what_is_not(
    get: Callable[..., Page], post: Callable[..., Any], asleep: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["zoo/wf-body-error", "zoo/wf-declined"]
    job = post(PLAN, **confirmed(get(PLAN, run=chosen))).headers["Location"]
    Job.objects.update(finished_at=clock.now())
    Item.objects.update(result="skipped")
    assert "job=1" not in get(job).text, "it came to its end, and what was skipped had changed"
    Item.objects.update(result="failed")
    assert "job=1" in get(job).text
    declined = Item.objects.get(run="wf-declined")
    for column, value in (("options", {**declined.options, "pin": "v9"}), ("place", "/another.sqlite")):
        Item.objects.filter(pk=declined.pk).update(**{column: value})
        page = get(PLAN, job=1)
        assert [line.partition(" ")[0] for line in page.planned] == chosen[:1]
        assert "1 run is not among them: options were chosen for them, or another file is served" in page.words
        Item.objects.filter(pk=declined.pk).update(**{column: getattr(declined, column)})
    monkeypatch.setattr(bulk, "MOST", 1)
    page = get(PLAN, job=1)
    assert len(page.planned) == 1
    assert "2 are left: these are the first 1." in page.words


def test_a_long_job_shows_what_needs_a_look_and_all_when_asked(
    get: Callable[..., Page], post: Callable[..., Any], zoo: Path, asleep: None
) -> None:
    multiply(zoo, 110)
    job = post(PLAN, **confirmed(get(PLAN, db="zoo", **FAILED))).headers["Location"]
    last = Item.objects.count() - 1
    Item.objects.filter(position=last).update(result="failed", detail="The disk is full.")
    page = get(job)
    shown = [int(position) for position in re.findall(r'<tr role="row" id="r(\d+)"', page.text)]
    assert shown == [last, *range(99)]
    assert get(job, show="all").text.count('<tr role="row" id="r') == last + 1


def test_a_job_that_is_none_is_not_found(get: Callable[..., Page]) -> None:
    assert get("/retries/jobs/7/").status == 404
