"""How is an instant kept as a number?

The database keeps whole microseconds since 1970 in UTC: exact, sortable, the same on every database. Inside they are
aware datetimes; at the edge ISO 8601 with an offset.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_END = datetime.max.replace(tzinfo=UTC)


@overload
def to_micros(instant: datetime) -> int: ...
@overload
def to_micros(instant: None) -> None: ...
def to_micros(instant: datetime | None) -> int | None:
    """Microseconds since 1970 of an aware datetime."""
    return None if instant is None else (instant - _EPOCH) // _MICROSECOND


@overload
def from_micros(micros: int) -> datetime: ...
@overload
def from_micros(micros: None) -> None: ...
def from_micros(micros: int | None) -> datetime | None:
    """The aware UTC datetime of that many microseconds since 1970."""
    return None if micros is None else _EPOCH + micros * _MICROSECOND


def later(instant: datetime, span: timedelta) -> datetime:
    """The UTC datetime that much later, or the last one there is: the calendar of Python ends with the year 9999."""
    return instant + min(span, _END - instant)
