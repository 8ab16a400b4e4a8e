"""Values in queries, with the third truth value: what is undefined stays undefined.

docs, "IoT Hub query language - expressions and conditions": comparing something undefined, or values of different
types, gives Undefined, and a row is in the result only when its condition is true. So neither `tags.site = 'x'` nor
`tags.site != 'x'` finds a device without that tag.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final


class _Undefined:
    """The value of a path that leads nowhere."""


UNDEFINED: Final = _Undefined()
Term = Callable[[Mapping[str, Any]], Any]


def _kind(value: Any) -> type:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float
    return type(value)


def _compared(compare: Callable[[Any, Any], bool], left: Any, right: Any) -> Any:
    if UNDEFINED in (left, right) or _kind(left) is not _kind(right):
        return UNDEFINED
    try:
        return compare(left, right)
    except TypeError:  # objects and nulls have no order
        return UNDEFINED


def _comparison(compare: Callable[[Any, Any], bool]) -> Callable[[Term, Term], Term]:
    return lambda left, right: lambda row: _compared(compare, left(row), right(row))


COMPARISONS: dict[str, Callable[[Term, Term], Term]] = {
    "=": _comparison(operator.eq),
    "!=": _comparison(operator.ne),
    "<>": _comparison(operator.ne),
    "<": _comparison(operator.lt),
    "<=": _comparison(operator.le),
    ">": _comparison(operator.gt),
    ">=": _comparison(operator.ge),
}


def both(left: Term, right: Term) -> Term:
    """AND: false wins over undefined."""

    def term(row: Mapping[str, Any]) -> Any:
        values = (left(row), right(row))
        if any(value is False for value in values):
            return False
        return all(value is True for value in values) or UNDEFINED

    return term


def either(left: Term, right: Term) -> Term:
    """OR: true wins over undefined."""

    def term(row: Mapping[str, Any]) -> Any:
        values = (left(row), right(row))
        if any(value is True for value in values):
            return True
        return False if all(value is False for value in values) else UNDEFINED

    return term


def negated(term: Term) -> Term:
    """NOT: what is no truth value stays undefined."""

    def opposite(row: Mapping[str, Any]) -> Any:
        value = term(row)
        return not value if isinstance(value, bool) else UNDEFINED

    return opposite


def is_in(term: Term, values: list[Any]) -> Term:
    """IN: equal to one of the values."""

    def found(row: Mapping[str, Any]) -> Any:
        value = term(row)
        if value is UNDEFINED:
            return UNDEFINED
        return any(_compared(operator.eq, value, one) is True for one in values)

    return found


def starts_with(term: Term, prefix: Term) -> Term:
    """startswith(text, prefix); undefined for anything but text."""

    def found(row: Mapping[str, Any]) -> Any:
        text, start = term(row), prefix(row)
        return text.startswith(start) if isinstance(text, str) and isinstance(start, str) else UNDEFINED

    return found
