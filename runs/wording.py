"""Numbers, times and ids as a person reads them. The only formatter: pages and terminal use it alike."""

from datetime import datetime, timedelta, tzinfo

NOTHING = "–"
_SI = ("kB", "MB", "GB", "TB")


def duration(value: timedelta | None) -> str:
    """Three significant figures below a minute, then the two largest units: ``4.02 s``, ``12 h 1 m``, ``−12 ms``."""
    if value is None:
        return NOTHING
    seconds = value.total_seconds()
    sign = "−" if seconds < 0 else ""
    return sign + _positive(abs(seconds))


def _positive(seconds: float) -> str:
    if seconds == 0:
        return "0 s"
    if seconds < 0.0009995:
        return f"{_figures(seconds * 1e6)} µs"
    if seconds < 0.9995:
        return f"{_figures(seconds * 1e3)} ms"
    if seconds < 59.95:
        return f"{_figures(seconds)} s"
    whole = round(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days:,} d {hours} h" if hours else f"{days:,} d"
    if hours:
        return f"{hours} h {minutes} m" if minutes else f"{hours} h"
    return f"{minutes} m {secs} s" if secs else f"{minutes} m"


def _figures(number: float) -> str:
    if number < 9.995:
        return f"{number:.2f}"
    return f"{number:.1f}" if number < 99.95 else f"{number:.0f}"


def milliseconds(value: timedelta | None) -> str:
    """The exact duration for a title: ``43,303,200 ms``."""
    if value is None:
        return ""
    micros = value // timedelta(microseconds=1)
    whole, part = divmod(abs(micros), 1000)
    fraction = f".{part:03d}".rstrip("0") if part else ""
    return f"{'−' if micros < 0 else ''}{whole:,}{fraction} ms"


def size(count: int | None) -> str:
    """Bytes in decimal units, three significant figures: ``1.23 MB``."""
    if count is None:
        return NOTHING
    if count < 1000:
        return f"{count} B"
    number, unit = count / 1000, 0
    while number >= 999.5 and unit < len(_SI) - 1:
        number, unit = number / 1000, unit + 1
    return f"{_figures(number)} {_SI[unit]}"


def short_id(text: str) -> str:
    """A long id cut in the middle, 11 … 6; shorter ones whole. Odd characters are made visible."""
    shown = visible(text)
    return shown if len(shown) <= 20 else f"{shown[:11]}…{shown[-6:]}"


def visible(text: str) -> str:
    """One line, in which what can't be seen or would reorder the line is written as an escape."""
    return text if text.isprintable() else "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def clock_time(moment: datetime, zone: tzinfo, *, beside: datetime | None = None, exact: bool = False) -> str:
    """``13:07:29``, ``exact`` with milliseconds; with the day where it is another than ``beside``'s, and the year too."""
    local = moment.astimezone(zone)
    text = f"{local:%H:%M:%S}" + (f".{local.microsecond // 1000:03d}" if exact else "")
    other = beside.astimezone(zone) if beside else None
    if other is None or local.date() != other.date():
        day = f"{local.day} {local:%b}"
        text = f"{day} {text}" if other is None or local.year == other.year else f"{day} {local.year} {text}"
    return text


def full_time(moment: datetime, zone: tzinfo) -> str:
    """For a title: ``2026-11-22 13:07:29.866 UTC``."""
    local = moment.astimezone(zone)
    fraction = f"{local.microsecond:06d}".rstrip("0")
    return f"{local:%Y-%m-%d %H:%M:%S}{'.' + fraction if fraction else ''} {local.tzname() or ''}".rstrip()


def ago(moment: datetime, present: datetime) -> str:
    """``4 s ago``, ``in 3 m``: the largest unit, two below an hour's worth of doubt."""
    seconds = (present - moment).total_seconds()
    text = _rough(abs(seconds))
    if abs(seconds) < 1:
        return "now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def _rough(seconds: float) -> str:
    for unit, length in (("y", 31_557_600), ("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length):,} {unit}"
    return f"{int(seconds)} s"


def plural(count: int, noun: str, many: str = "") -> str:
    """``1 run``, ``10,265 runs``."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def percent(part: float, whole: float) -> str:
    """``18 %``; ``<1 %`` for what is there but small."""
    if not whole:
        return NOTHING
    share = 100 * part / whole
    return "<1 %" if 0 < share < 0.5 else f"{share:.0f} %"
