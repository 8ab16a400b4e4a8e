"""A query's text as tokens, and the reading of them one by one."""

import re
from typing import Any, NoReturn

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")
    | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
    | (?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
    | (?P<sign><=|>=|!=|<>|[=<>()\[\],.*])
    )""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}


class QueryError(ValueError):
    """The text is not a query, or not one that is emulated; names the token."""


class Tokens:
    """The tokens of a text and a place among them. A `kind` is string, number, name, sign or end."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_split(text))
        self._at = 0

    def peek(self) -> tuple[str, str]:
        """Kind and text of the next token."""
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "the end")

    def next(self) -> tuple[str, str]:
        """The same, and go on."""
        token = self.peek()
        self._at += 1
        return token

    def take_keyword(self, word: str) -> bool:
        """Go on if the next token is this keyword, in any case of letters."""
        kind, text = self.peek()
        found = kind == "name" and text.upper() == word
        self._at += found
        return found

    def take_sign(self, sign: str) -> bool:
        """Go on if the next token is this sign."""
        found = self.peek() == ("sign", sign)
        self._at += found
        return found

    def keyword(self, word: str) -> None:
        """The keyword must come now."""
        if not self.take_keyword(word):
            self.refuse(self.peek()[1])

    def sign(self, sign: str) -> None:
        """The sign must come now."""
        if not self.take_sign(sign):
            self.refuse(self.peek()[1])

    def end(self) -> None:
        """Nothing may follow."""
        if self.peek()[0] != "end":
            self.refuse(self.peek()[1])

    def name(self) -> str:
        """A name must come now."""
        kind, text = self.next()
        return text if kind == "name" else self.refuse(text)

    def at_literal(self) -> bool:
        """Whether the next token is a value."""
        kind, text = self.peek()
        return kind in ("string", "number") or (kind == "name" and text.lower() in _WORDS)

    def literal(self) -> Any:
        """A value must come now: text, number, true, false or null."""
        if not self.at_literal():
            self.refuse(self.peek()[1])
        kind, text = self.next()
        if kind == "string":
            return re.sub(r"\\(.)|(['\"])\2", r"\1\2", text[1:-1])
        return float(text) if kind == "number" else _WORDS[text.lower()]

    def refuse(self, token: str) -> NoReturn:
        """QueryError that names the token."""
        raise QueryError(f"not supported, or not expected here: {token}")


def _split(text: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    while rest := text[position:].strip():
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise QueryError(f"not understood: {rest.split()[0]}")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens
