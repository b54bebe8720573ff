"""Lines of a page that are rendered once: of a list that is asked for again and again, most stay as they were."""

from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime
from threading import Lock

from django.template import Context, Library, Node, NodeList
from django.template.base import FilterExpression, Parser, Token
from django.utils.safestring import SafeString

register = Library()

MOST = 1_000  # renderings that are kept of one place in a template, the last used: about 3 kB each
LONGEST = 20_000  # characters of a rendering that is kept: names that fill megabytes are read again instead


class KeptNode(Node):
    """``{% kept %}``. It stays as long as its template, which is as long as the process."""

    child_nodelists = ("nodelist",)

    def __init__(
        self, nodelist: NodeList, names: list[str], items: FilterExpression, beside: list[FilterExpression]
    ) -> None:
        self.nodelist, self.names, self.items, self.beside = nodelist, names, items, beside
        self._renderings: OrderedDict[Hashable, SafeString] = OrderedDict()
        self._lock = Lock()

    def render(self, context: Context) -> SafeString:
        zone = context["zone"]
        present: datetime = context["present"]
        # How any instant, and any stored value, is shown: an instant of another day says its day.
        reader = zone, context["hide"], present.astimezone(zone).date()
        around = (*reader, *(value.resolve(context) for value in self.beside))
        return SafeString("".join([self._rendered(context, around, item) for item in self.items.resolve(context)]))

    def _rendered(self, context: Context, around: tuple[Hashable, ...], item: tuple[Hashable, ...]) -> SafeString:
        key = around, item
        with self._lock:
            if (known := self._renderings.get(key)) is not None:
                self._renderings.move_to_end(key)
                return known
        with context.push(**dict(zip(self.names, item, strict=True))):
            rendered = self.nodelist.render(context)
        if len(rendered) <= LONGEST:
            with self._lock:
                self._renderings[key] = rendered
                while len(self._renderings) > MOST:
                    self._renderings.popitem(last=False)
        return rendered


@register.tag
def kept(parser: Parser, token: Token) -> KeptNode:
    """``{% kept name run in rows beside slug %}…{% endkept %}``: a loop over tuples; what lies between is rendered once for equal
    ones, which are hashable. All that it shows must follow from the tuple, from the values ``beside``, and from how the reader
    wants instants and stored values shown: from nothing else of the page."""
    head, _, beside = token.contents.partition(" beside ")
    names, _, items = head.partition(" in ")
    nodelist = parser.parse(("endkept",))
    parser.delete_first_token()
    return KeptNode(
        nodelist,
        names.split()[1:],
        parser.compile_filter(items.strip()),
        [parser.compile_filter(word) for word in beside.split()],
    )
