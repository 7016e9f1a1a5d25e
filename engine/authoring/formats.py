"""Dates, times, numbers and money as people read them: the filters `date`, `time`, `number` and `money`.

Without a locale they read as in English; in a version of a message in another language, or with `locale="it"`, as the CLDR has it
for that locale (Babel). Each is total: None for what makes no sense.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy
from datetime import date, datetime
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

from engine.authoring.locales import known
from engine.authoring.operators import is_number, moment_of, number, text_of, zone_of

if TYPE_CHECKING:
    from babel import Locale
    from babel.numbers import NumberPattern

STYLES = ("short", "medium", "long", "full")
"""Lengths that every language has a date and a time of."""

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_DIRECTIVE = re.compile(r"%(-?)([A-Za-z%])")
_LONGEST_FORMAT = 100
_DIGITS = 400
"""More than the largest float has before its point."""


def date_text(value: object, zone: str, format: object = None, *, locale: object = "") -> object:
    """A moment or date as text, in the customer's zone. `format`: strftime's directives (`%-d` has no leading zero), or one of
    STYLES; without it "%d %B %Y", and with a locale its long form."""
    from babel.dates import format_date

    return _told(value, zone, format, _locale(locale), ("%d %B %Y", "long"), format_date)


def time_text(value: object, zone: str, format: object = None, *, locale: object = "") -> object:
    """The same of a time of day; without a format "%H:%M", and with a locale its short form."""
    return _told(value, zone, format, _locale(locale), ("%H:%M", "short"), _styled_time)


def _told(
    value: object,
    zone: str,
    format: object,
    there: Locale | None,
    usual: tuple[str, str],
    styled: Callable[[datetime, Any, Locale | str], str],
) -> object:
    """`usual`: the format where none is given, without and with a locale."""
    moment = _local(value, zone)
    if moment is None:
        return None
    layout = usual[there is not None] if format is None else text_of(format, zone)[:_LONGEST_FORMAT]
    if layout not in STYLES:
        return _laid_out(moment, layout, there)
    return _spaced(styled(moment, layout, there or "en"))


def _styled_time(moment: datetime, style: Any, there: Locale | str) -> str:
    from babel.dates import format_time

    return format_time(moment, style, tzinfo=moment.tzinfo, locale=there)


def money(value: object, zone: str, currency: object = "", decimals: object = 2, *, locale: object = "") -> object:
    """`1234.5 | money("€")` is €1,234.50, in Italian 1.234,50 €; without a locale a currency of letters stands behind."""
    amount, unit = number_of(value, None), text_of(currency, zone)[:10]
    digits = _digits(decimals, 2)
    if not is_number(amount):
        return None
    there = _locale(locale)
    if there is not None:
        formats = there.currency_formats if unit else there.decimal_formats
        return _patterned(formats["standard" if unit else None], amount, digits, there, unit)
    body, sign = f"{abs(amount):,.{digits}f}", "-" if amount < 0 else ""  # type: ignore[arg-type, operator]  # is_number has looked
    return f"{sign}{body} {unit}" if unit.isalpha() and unit.isascii() else f"{sign}{unit}{body}"


def number_text(value: object, zone: str, decimals: object = None, *, locale: object = "") -> object:
    """`1234.5 | number` is 1,234.5, in Italian 1.234,5; `number(2)` has two decimals."""
    amount = number_of(value, None)
    if not is_number(amount):
        return None
    there = _locale(locale)
    if there is not None:
        return _patterned(there.decimal_formats[None], amount, _digits(decimals, None), there, "")
    if decimals is None:
        return f"{amount:,}" if isinstance(amount, int) else f"{amount:,.15g}"
    return f"{amount:,.{_digits(decimals, 2)}f}"


def number_of(value: object, default: object) -> object:
    """The number that a number, true, false or a text says."""
    if isinstance(value, bool):
        return int(value)
    if is_number(value):
        return value
    try:
        return number(float(value) if len(value) <= 40 else None) if isinstance(value, str) else default
    except ValueError:
        return default


def _local(value: object, zone: str) -> datetime | None:
    """The moment by the customer's clock; of a date its own midnight."""
    if type(value) is date or (isinstance(value, str) and len(value) <= 10):
        return moment_of(value, "UTC")
    moment = moment_of(value, zone)
    return moment and moment.astimezone(zone_of(zone))


def _locale(tag: object) -> Locale | None:
    return known(tag) if isinstance(tag, str) and tag else None


def _digits(decimals: object, default: int | None) -> int | None:
    return decimals if type(decimals) is int and 0 <= decimals <= 6 else default


def _patterned(pattern: NumberPattern, amount: object, digits: int | None, there: Locale, unit: str) -> str:
    """The number by a pattern of the CLDR, with so many decimals (None: as many as the pattern allows)."""
    pattern = copy(pattern)
    if digits is not None:
        pattern.frac_prec = (digits, digits)
    with localcontext(prec=_DIGITS):
        return _spaced(pattern.apply(Decimal(str(amount)), there, currency=unit or None, currency_digits=False))


def _spaced(text: str) -> str:
    """With the one no-break space that all fonts have."""
    return text.replace("\u202f", "\xa0")


def _laid_out(moment: datetime, layout: str, there: Locale | None) -> str:
    return _DIRECTIVE.sub(lambda found: _directive(moment, found[1], found[2], there), layout)


def _directive(moment: datetime, bare: str, letter: str, there: Locale | None) -> str:
    hour = moment.hour % 12 or 12
    if letter in "AaBbp":
        return _word(moment, letter, there)
    words = {"%": "%", "Y": f"{moment.year}", "Z": moment.tzname() or "", "z": f"{moment:%z}"}
    numbers = {"d": moment.day, "m": moment.month, "H": moment.hour, "I": hour, "M": moment.minute, "S": moment.second}
    numbers |= {"y": moment.year % 100}
    if letter in words:
        return words[letter]
    if letter == "j":
        return f"{moment:%j}".lstrip("0") if bare else f"{moment:%j}"
    if letter == "u":
        return str(moment.isoweekday())
    if letter not in numbers:
        return ""
    return str(numbers[letter]) if bare else f"{numbers[letter]:02d}"


def _word(moment: datetime, letter: str, there: Locale | None) -> str:
    """The name of the day (A, a), of the month (B, b) or of the half of the day (p); short ones in small letters."""
    if there is not None:
        width = "wide" if letter.isupper() else "abbreviated"
        if letter == "p":
            return _styled_time(moment, "a", there)
        if letter in "Aa":
            return str(there.days["format"][width][moment.weekday()])
        return str(there.months["format"][width][moment.month])
    if letter == "p":
        return "AM" if moment.hour < 12 else "PM"
    name = _DAYS[moment.weekday()] if letter in "Aa" else _MONTHS[moment.month - 1]
    return name if letter.isupper() else name[:3]
