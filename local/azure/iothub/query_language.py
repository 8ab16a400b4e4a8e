"""The part of the IoT Hub query language that is emulated: from text to a question about rows.

docs, "IoT Hub query language": `SELECT * | path [AS name], … FROM devices | devices.jobs [WHERE condition]`, with
`= != <> < <= > >=`, `IN`, `AND`, `OR`, `NOT`, brackets, `is_defined` and `startswith`. Whatever else a real hub
takes (TOP, COUNT, GROUP BY, …) is refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.azure.iothub.query_tokens import QueryError, Tokens
from local.azure.iothub.query_values import COMPARISONS, UNDEFINED, Term, both, either, is_in, negated, starts_with

Row = Mapping[str, Any]
# docs, "Queries for IoT Hub jobs": the page filters by a name that its own rows do not have.
_JOB_ALIASES = {"createdTimeUtc": "createdDateTimeUtc"}


@dataclass(frozen=True)
class Query:
    """`source` is `devices` or `devices.jobs`; `columns` is empty for `SELECT *`."""

    source: str
    columns: tuple[tuple[str, Term], ...]
    condition: Term

    def finds(self, row: Row) -> bool:
        """Whether the row is in the result."""
        return self.condition(row) is True

    def projected(self, row: Row) -> Row:
        """What the result shows of the row; what is undefined is left out."""
        if not self.columns:
            return row
        values = {name: term(row) for name, term in self.columns}
        return {name: value for name, value in values.items() if value is not UNDEFINED}


def parse(text: str) -> Query:
    """The query that `text` is; QueryError otherwise."""
    tokens = Tokens(text)
    tokens.keyword("SELECT")
    columns = _columns(tokens)
    tokens.keyword("FROM")
    source = ".".join(_names(tokens))
    if source not in ("devices", "devices.jobs"):
        raise QueryError(f"not supported: FROM {source}")
    if source == "devices.jobs" and columns:
        raise QueryError("only SELECT * is possible FROM devices.jobs")
    condition = _Condition(tokens, source).disjunction() if tokens.take_keyword("WHERE") else _always
    tokens.end()
    return Query(source, tuple(columns), condition)


def parse_condition(text: str) -> Query:
    """All devices that meet a job's `queryCondition` (`*`: every device); QueryError otherwise."""
    if text.strip() == "*":
        return Query("devices", (), _always)
    tokens = Tokens(text)
    condition = _Condition(tokens, "devices").disjunction()
    tokens.end()
    return Query("devices", (), condition)


def _always(_row: Row) -> bool:
    return True


def _columns(tokens: Tokens) -> list[tuple[str, Term]]:
    if tokens.take_sign("*"):
        return []
    columns = [_column(tokens)]
    while tokens.take_sign(","):
        columns.append(_column(tokens))
    return columns


def _column(tokens: Tokens) -> tuple[str, Term]:
    path = _path(tokens)
    if tokens.peek() == ("sign", "(") or tokens.peek()[0] == "number":
        raise QueryError(f"not supported: {path[0]}")
    label = tokens.name() if tokens.take_keyword("AS") else path[-1]
    return label, _value_at(path)


def _names(tokens: Tokens) -> list[str]:
    names = [tokens.name()]
    while tokens.take_sign("."):
        names.append(tokens.name())
    return names


def _path(tokens: Tokens) -> list[str]:
    """`a.b['c d']`"""
    path = _names(tokens)
    while tokens.take_sign("["):
        path.append(str(tokens.literal()))
        tokens.sign("]")
        if tokens.take_sign("."):
            path += _names(tokens)
    return path


def _value_at(path: list[str]) -> Term:
    def value(row: Row) -> Any:
        found: Any = row
        for name in path:
            if not isinstance(found, Mapping) or name not in found:
                return UNDEFINED
            found = found[name]
        return found

    return value


class _Condition:
    def __init__(self, tokens: Tokens, source: str) -> None:
        self._tokens = tokens
        self._source = source

    def disjunction(self) -> Term:
        term = self._conjunction()
        while self._tokens.take_keyword("OR"):
            term = either(term, self._conjunction())
        return term

    def _conjunction(self) -> Term:
        term = self._negation()
        while self._tokens.take_keyword("AND"):
            term = both(term, self._negation())
        return term

    def _negation(self) -> Term:
        return negated(self._negation()) if self._tokens.take_keyword("NOT") else self._comparison()

    def _comparison(self) -> Term:
        tokens = self._tokens
        if tokens.take_sign("("):
            inner = self.disjunction()
            tokens.sign(")")
            return inner
        left = self._operand()
        kind, sign = tokens.peek()
        if kind == "sign" and sign in COMPARISONS:
            tokens.next()
            return COMPARISONS[sign](left, self._operand())
        return is_in(left, self._list()) if tokens.take_keyword("IN") else left

    def _operand(self) -> Term:
        if self._tokens.at_literal():
            value = self._tokens.literal()
            return lambda _row: value
        path = _path(self._tokens)
        if self._tokens.take_sign("("):
            return self._call(path[0])
        if self._source == "devices.jobs":
            path = path[2:] if path[:2] == ["devices", "jobs"] else path
            path = [_JOB_ALIASES.get(name, name) for name in path]
        return _value_at(path)

    def _call(self, function: str) -> Term:
        tokens = self._tokens
        if function.lower() not in ("is_defined", "startswith"):
            raise QueryError(f"not supported: {function}")
        argument = self._operand()
        if function.lower() == "is_defined":
            tokens.sign(")")
            return lambda row: argument(row) is not UNDEFINED
        tokens.sign(",")
        prefix = self._operand()
        tokens.sign(")")
        return starts_with(argument, prefix)

    def _list(self) -> list[Any]:
        tokens = self._tokens
        tokens.sign("[")
        values = [] if tokens.peek() == ("sign", "]") else [tokens.literal()]
        while tokens.take_sign(","):
            values.append(tokens.literal())
        tokens.sign("]")
        return values
