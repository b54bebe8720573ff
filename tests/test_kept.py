"""A line of a page is rendered once for what it shows, and anew for whatever else it would show."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.template import Context, Template
from django.template.base import NodeList

from runs.templatetags import kept

AT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
READER: dict[str, Any] = {"zone": UTC, "hide": False, "present": AT}
LINE = "{{ name }} {% when at %} {% hidden_or name %}{{ about }} "
SHOWN = "{% load kept %}{% kept name at in rows beside about %}" + LINE + "{% endkept %}"


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The values of ``name`` for which something between the tags was rendered."""
    names: list[object] = []
    render = NodeList.render

    def noted(self: NodeList, context: Context) -> Any:
        if "name" in context:
            names.append(context["name"])
        return render(self, context)

    template = Template(SHOWN)
    (node,) = template.nodelist.get_nodes_by_type(kept.KeptNode)
    monkeypatch.setattr(node, "nodelist", type("Noted", (NodeList,), {"render": noted})(node.nodelist))  # type: ignore[attr-defined]
    names.append(template)
    return names


def show(rendered: list[Any], *names: str, **context: Any) -> str:
    rows = [(name, AT) for name in names]
    return rendered[0].render(Context({**READER, "rows": rows, "about": "", **context}))


def test_equal_values_are_rendered_once(rendered: list[Any]) -> None:
    first = show(rendered, "a<b")
    assert "a&lt;b" in first
    assert show(rendered, "a<b") == first
    assert show(rendered, "other") != first
    assert rendered[1:] == ["a<b", "other"]


def test_a_list_is_in_order_and_only_what_is_new_in_it_is_rendered(rendered: list[Any]) -> None:
    alone = [show(rendered, name) for name in ("a", "b", "c")]
    assert show(rendered, "c", "a", "d", "b").split(show(rendered, "d")) == [alone[2] + alone[0], alone[1]]
    assert rendered[1:] == ["a", "b", "c", "d"]


def test_other_values_beside_a_list_render_it_anew(rendered: list[Any]) -> None:
    assert "elsewhere" in show(rendered, "a", about="elsewhere")
    assert "elsewhere" not in show(rendered, "a")
    assert rendered[1:] == ["a", "a"]


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        ({"zone": ZoneInfo("Asia/Tokyo"), "present": AT}, "08:30"),
        ({"hide": True}, 'class="hidden"'),
        ({"present": datetime(2026, 11, 23, 0, 30, tzinfo=UTC)}, "22 Nov 23:30"),
    ],
)
def test_another_reader_or_another_day_sees_it_otherwise(
    rendered: list[Any], other: dict[str, Any], shown: str
) -> None:
    assert shown not in show(rendered, "a")
    assert shown in show(rendered, "a", **other)
    assert shown not in show(rendered, "a")
    assert len(rendered[1:]) == 2


def test_those_last_used_are_kept(rendered: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST", 2)
    for name in ("a", "b", "a", "c", "a", "b"):
        show(rendered, name)
    assert rendered[1:] == ["a", "b", "c", "b"]


def test_what_is_very_long_is_not_kept(rendered: list[Any]) -> None:
    name = "a" * kept.LONGEST
    assert name in show(rendered, name)
    assert show(rendered, name) == show(rendered, name)
    assert rendered[1:] == [name] * 3
