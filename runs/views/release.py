"""Checking again what was appended paused: by the engine's replay, as runs.releasing does it."""

from django.http import HttpRequest, HttpResponseRedirect

from runs import following, links, retrying
from runs.api.retries import asker
from runs.catalogue import served
from runs.errors import MethodNotAllowed, RetryNotFound
from runs.state import place


def release(request: HttpRequest, number: int) -> HttpResponseRedirect:
    """``POST /retries/<number>/release/`` checks the retry and releases it, or deletes it again, and leads back to its page."""
    if request.method != "POST":
        raise MethodNotAllowed("This address only takes the button of a retry's page.")
    if not place.is_kept():
        raise RetryNotFound(remedy="Retrying is off in this process.")
    found = following.retry(number)
    retrying.release(served().database(found.database), found, *asker(request))
    return HttpResponseRedirect(links.retry_page(number))
