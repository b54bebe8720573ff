"""The page of two runs and its JSON, asked over HTTP: bounded, silent while payloads are hidden, an address for everything."""

import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from tests.asking import Asker

API = "/api/v1/compare/runs/"
PAGE = "/compare/run/"
EASY = "1000%,60s"


@pytest.fixture
def asker(ask: Callable[..., Asker], pairs: Path, unpacked: Callable[[str], Path]) -> Asker:
    return ask(f"pairs={pairs}", f"shop={unpacked('shop')}")


def address(a: str, b: str, path: str = PAGE, **more: Any) -> str:
    query = {"a": "pairs", "a_run": a, "b": "pairs", "b_run": b, "tolerance": EASY, **more}
    return f"{path}?{urlencode(query, doseq=True)}"


def get(asker: Asker, url: str, status: int = 200) -> str:
    answer = asker.client.get(url)
    assert answer.status_code == status, answer.content[:500]
    return answer.content.decode()


def text(page: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


def test_the_json_is_as_the_document_declares(asker: Asker) -> None:
    for other in ("lighter", "other", "newer", "dice", "halted", "same"):
        body = asker(API, a="pairs", a_run="plain", b="pairs", b_run=other, tolerance=EASY)
        assert len(body["rows"]) >= 5
    assert body["first_divergence"] is None
    assert asker(API, a="pairs", a_run="plain", b="pairs", expect=400)["error"] == "BadFilter"
    assert asker(API, a="pairs", a_run="plain", b="pairs", b_run="x", expect=404)["error"] == "RunNotFound"
    assert asker(API, a="pairs", a_run="plain", b="nowhere", b_run="x", expect=404)["error"] == "DatabaseNotFound"
    assert asker(API, a="pairs", a_run="plain", b="pairs", b_run="same", ignore="x", expect=400)["error"] == "BadFilter"


def test_the_page_tells_the_first_difference_its_cause_and_every_step(asker: Asker) -> None:
    page = text(get(asker, address("plain", "lighter")))
    assert "First difference: step 2 weigh , another result." in page
    assert "$.weight_g is 4200 in A and 0 in B." in page
    assert "After it: 1 step changed, 2 only in A." in page
    for name in ("reserve", "weigh", "charge", "send", "thank"):
        assert name in page


def test_an_opened_row_shows_what_its_payloads_differ_in_by_path(asker: Asker) -> None:
    page = get(asker, address("plain", "lighter", open=1))
    assert re.search(r'class="a"[^>]*title="\$\.weight_g"', page)
    assert "weight_g: 4200" in text(page)
    alone = get(asker, address("plain", "lighter", open=1, row=1))
    assert alone.lstrip().startswith('<tbody id="d1"')
    assert "<html" not in alone
    assert "weight_g: 0" in text(alone)
    assert "weight_g" not in text(get(asker, address("plain", "lighter", row=1)))
    assert "ord-2" in text(get(asker, address("plain", "other", open="input", row="input")))
    assert "charge" in text(get(asker, address("plain", "lighter", open="end")))


def test_children_are_compared_in_place_and_lead_to_their_own_page(asker: Asker) -> None:
    page = get(asker, address("parent", "parent-2", open=0))
    assert "The runs that it started" in page
    assert "a_run=parent-child" in page
    assert "b_run=parent-2-child" in page


def test_no_value_is_shown_while_payloads_are_hidden(asker: Asker) -> None:
    for more in ({}, {"open": [0, 1, 2]}, {"open": 1, "row": 1}):
        page = text(get(asker, address("plain", "lighter", hide="on", **more)))
        assert "4200" not in page
        assert "nothing to charge for" not in page


def test_equal_rows_are_folded_and_open_by_address(asker: Asker) -> None:
    page = get(asker, address("long-tea", "long-changed"))
    assert "698 identical steps" in text(page)
    assert page.count('class="name') < 20
    block = re.search(r'href="([^"]+unfold=0[^"]*)"', page)
    assert block is not None
    unfolded = get(asker, unescape(block[1]).partition("#")[0])
    assert unfolded.count('class="name') == 201  # a window of them, and the input
    assert len(unfolded) < 450_000
    only = get(asker, address("long-tea", "long-changed", only="diff"))
    assert only.count("only A</span>") == 2


def test_a_page_of_long_unrelated_runs_is_a_window_with_a_way_on(asker: Asker) -> None:
    page = get(asker, address("long-tea", "long-unrelated"))
    assert len(page) < 450_000
    following = re.search(r'href="([^"]+)" rel="next"', page)
    assert following is not None
    assert "Earlier steps" in get(asker, unescape(following[1]))


def test_both_sides_are_links_and_can_be_swapped(asker: Asker) -> None:
    page = get(asker, address("plain", "lighter"))
    assert 'href="/db/pairs/runs/plain/"' in page
    assert 'href="/db/pairs/runs/lighter/"' in page
    assert "a_run=lighter&amp;b=pairs&amp;b_run=plain" in page
    assert "Plan a retry in B" in page


def test_a_run_leads_to_what_it_can_be_compared_with(ask: Callable[..., Asker], pairs: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copy(pairs, tmp_path / "twin.sqlite"))
    asker = ask(f"pairs={pairs}", twin)
    run = get(asker, "/db/pairs/runs/spelled/")
    link = re.search(r'href="([^"]+)">Compare with…', run)
    assert link is not None
    page = get(asker, unescape(link[1]))
    assert "the same id in twin" in page
    assert "the last that succeeded" in page
    assert "the one before it" in page
    assert 'name="b_run"' in page
    get(asker, f"{PAGE}?a=pairs&a_run=nobody", 404)
    get(asker, PAGE, 400)


def test_hostile_parameters_are_refused_in_words(asker: Asker) -> None:
    get(asker, address("plain", "same", row=999), 404)
    get(asker, address("plain", "same", ignore="$["), 400)
    get(asker, address("plain", "same", tolerance="much"), 400)
    get(asker, address("plain", "same", **{"from": "x"}), 400)
    get(asker, address("plain", "<script>alert(1)</script>"), 404)
    assert "Nothing differs" in get(asker, address("plain", "same", open=["x", "99999", "-3"], unfold="1e9"))
    client = Client()
    assert b"<script>alert" not in client.get(address("plain", "<script>alert(1)</script>")).content
