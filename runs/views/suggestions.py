"""Which two of the databases being served are worth comparing: those of one engine, most alike in name first."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, takewhile
from urllib.parse import urlencode

from runs import links
from runs.fleet import Contents, Entry

MOST = 6


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Two databases, and what each holds."""

    a: str
    b: str
    a_holds: Contents
    b_holds: Contents

    @property
    def page(self) -> str:
        return f"{links.COMPARE}?{urlencode([('a', self.a), ('b', self.b)])}"


def suggestions(entries: Sequence[Entry]) -> tuple[Suggestion, ...]:
    """Up to ``MOST`` pairs. A name that goes on where another ends (shop, shop-staging) is most likely its copy."""
    held = {entry.slug: entry.contents for entry in entries if isinstance(entry.contents, Contents)}
    pairs = [(a, b) for a, b in combinations(sorted(held), 2) if held[a].engine == held[b].engine]
    pairs.sort(key=lambda pair: (not pair[1].startswith(pair[0]), -_alike(*pair), pair))
    return tuple(Suggestion(a, b, held[a], held[b]) for a, b in pairs[:MOST])


def _alike(a: str, b: str) -> int:
    """With how many characters both begin."""
    return sum(1 for _ in takewhile(lambda each: each[0] == each[1], zip(a, b, strict=False)))
