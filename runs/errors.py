"""Everything that can go wrong, as one tree. The docstring of a class is the first sentence a person reads.

    DurascopeError                    500
    ├── NotFound                      404
    │   ├── DatabaseNotFound
    │   │   └── SeveralDatabases
    │   ├── RunNotFound
    │   ├── StepNotFound
    │   ├── PayloadNotFound
    │   ├── RetryNotFound
    │   ├── JobNotFound
    │   └── AddressNotFound
    ├── BadRequest                    400
    │   ├── BadFilter
    │   ├── BadCursor
    │   ├── BadBody                   422
    │   ├── BadCount                  422
    │   ├── BadReason                 422
    │   ├── KeyUsed                   422
    │   ├── WrongMediaType            415   a write that is not JSON
    │   ├── LengthMissing             411   a body in pieces
    │   ├── BodyTooLarge              413
    │   ├── AddressTooLong            414
    │   ├── HeadersTooLong            431
    │   └── MethodNotAllowed          405
    ├── BadConfiguration              500   said at the start, never to a browser
    ├── CannotListen                  500   likewise
    ├── NotAllowed                    403   retrying is off for this database, or the file may not be written
    ├── NotEligible                   422   the plan itself says why not
    ├── AppendRefused                 409   what was planned is no longer so, or must not be
    │   ├── AlreadyRetried                  and which run is that retry
    │   └── ReplayDiverged                  the engine can't follow its history: what was appended is deleted again
    ├── DiskFull                      507   nothing was appended: there is no room
    ├── AppendUnsure                  500   the process that appended was ended, and its file does not tell
    └── Unreadable                    503   one database can't be read; the others can
        ├── FileMissing
        ├── NotAFile
        ├── NotSQLite
        ├── UnknownSchema             422
        ├── Damaged
        ├── NotPermitted
        ├── DatabaseLocked            423
        ├── DatabaseBusy
        └── QueryTooSlow

Each carries a ``detail`` (what happened here, in words) and, where there is one, a ``remedy`` (what to do).
"""

from http import HTTPStatus
from typing import ClassVar


class DurascopeError(Exception):
    """Something went wrong inside Durascope."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, detail: str = "", *, remedy: str = "") -> None:
        self.detail = detail
        self.remedy = remedy
        super().__init__(detail)

    @property
    def title(self) -> str:
        """The class's own first sentence."""
        return (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]

    def __str__(self) -> str:
        return " ".join(part for part in (self.title, self.detail, self.remedy) if part)


class NotFound(DurascopeError):
    """There is nothing at this address."""

    status = HTTPStatus.NOT_FOUND


class DatabaseNotFound(NotFound):
    """No database has this name."""


class SeveralDatabases(DatabaseNotFound):
    """One database is asked for here."""


class RunNotFound(NotFound):
    """The database has no run with this id."""


class StepNotFound(NotFound):
    """The run has no such step."""


class PayloadNotFound(NotFound):
    """The run has no such payload."""


class RetryNotFound(NotFound):
    """There is no such retry."""


class JobNotFound(NotFound):
    """There is no such job."""


class AddressNotFound(NotFound):
    """There is no page at this address."""


class BadRequest(DurascopeError):
    """The request can't be understood."""

    status = HTTPStatus.BAD_REQUEST


class BadFilter(BadRequest):
    """What was asked for can't be understood."""


class BadCursor(BadRequest):
    """The place to go on from can't be understood."""


class BadBody(BadRequest):
    """What was sent is not what is asked for here."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class BadCount(BadRequest):
    """The number that confirms is not how many runs these are."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class BadReason(BadRequest):
    """A retry needs a reason."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class KeyUsed(BadRequest):
    """This Idempotency-Key was given with another request."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class WrongMediaType(BadRequest):
    """Only application/json is accepted here."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class LengthMissing(BadRequest):
    """What is sent has to say how long it is."""

    status = HTTPStatus.LENGTH_REQUIRED


class BodyTooLarge(BadRequest):
    """What was sent is larger than anything that is asked for here."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class AddressTooLong(BadRequest):
    """The address is longer than any that leads somewhere here."""

    status = HTTPStatus.REQUEST_URI_TOO_LONG


class HeadersTooLong(BadRequest):
    """The headers are too long, or too many."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class MethodNotAllowed(BadRequest):
    """The method is none of this address."""

    status = HTTPStatus.METHOD_NOT_ALLOWED


class BadConfiguration(DurascopeError):
    """A setting can't be understood."""


class CannotListen(DurascopeError):
    """The server can't start."""


class NotAllowed(DurascopeError):
    """This is not allowed here."""

    status = HTTPStatus.FORBIDDEN


class NotEligible(DurascopeError):
    """This can't be retried."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class AppendRefused(DurascopeError):
    """Nothing was appended."""

    status = HTTPStatus.CONFLICT


class AlreadyRetried(AppendRefused):
    """It is already retried."""

    def __init__(self, detail: str = "", *, remedy: str = "", run: str = "") -> None:
        super().__init__(detail, remedy=remedy)
        self.run = run


class ReplayDiverged(AppendRefused):
    """The engine's own replay can't go on with it."""


class CopyNotSaved(DurascopeError):
    """No copy was saved."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


class DiskFull(DurascopeError):
    """Nothing was appended: the disk is full."""

    status = HTTPStatus.INSUFFICIENT_STORAGE


class AppendUnsure(DurascopeError):
    """Whether the retry was appended is not known."""


class Unreadable(DurascopeError):
    """The database can't be read."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class FileMissing(Unreadable):
    """File missing."""


class NotAFile(Unreadable):
    """Not a regular file."""


class NotSQLite(Unreadable):
    """Not a SQLite database."""


class UnknownSchema(Unreadable):
    """SQLite of an unknown schema."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class Damaged(Unreadable):
    """The database is damaged."""


class NotPermitted(Unreadable):
    """The database may not be read."""


class DatabaseLocked(Unreadable):
    """The database is locked by another process."""

    status = HTTPStatus.LOCKED


class DatabaseBusy(Unreadable):
    """The database kept changing while it was read."""


class QueryTooSlow(Unreadable):
    """The query took longer than allowed and was stopped."""
