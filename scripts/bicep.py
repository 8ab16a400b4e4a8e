"""Reads Bicep files (pycep) into resources and modules whose values are plain Python.

pycep does not tell a text from a name: ``'x'`` and ``x`` are both ``"x"``. So a name is whatever the file declares.
An expression is a dict with one key, ``function`` or ``operator``; a loop has ``loop_type``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from lark.exceptions import UnexpectedInput
from pycep import BicepParser


class NotBicep(Exception):
    """A file that cannot be parsed; the text says where."""


@dataclass(frozen=True)
class Resource:
    """A resource that is made, or one that is only referred to (``existing``)."""

    file: Path
    symbol: str
    type: str
    api_version: str
    existing: bool
    body: dict[str, Any]
    loop: dict[str, Any] | None

    @property
    def properties(self) -> dict[str, Any]:
        return dict(self.body.get("properties") or {})


@dataclass(frozen=True)
class Module:
    """A call of another file."""

    file: Path
    symbol: str
    target: Path
    body: dict[str, Any]

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.body.get("params") or {})


class BicepFile:
    """One parsed file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.tree = _parse(path.read_text())
        except UnexpectedInput as error:
            raise NotBicep(f"{path}:{error.line}:{error.column}: this is not Bicep") from None

    def _section(self, name: str) -> dict[str, Any]:
        return dict(self.tree.get(name) or {})

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        return self._section("parameters")

    @property
    def required(self) -> set[str]:
        return {name for name, parameter in self.parameters.items() if parameter["default"] is None}

    @property
    def variables(self) -> dict[str, Any]:
        return {name: variable["value"] for name, variable in self._section("variables").items()}

    @property
    def outputs(self) -> dict[str, Any]:
        return {name: output["value"] for name, output in self._section("outputs").items()}

    @cached_property
    def resources(self) -> list[Resource]:
        found = []
        for symbol, one in self._section("resources").items():
            body, loop = _body(one["config"])
            found.append(Resource(self.path, symbol, one["type"], one["api_version"], one["existing"], body, loop))
        return found

    @cached_property
    def modules(self) -> list[Module]:
        return [
            Module(self.path, symbol, self.path.parent / one["detail"]["path"], _body(one["config"])[0])
            for symbol, one in self._section("modules").items()
        ]

    def declares(self, name: str) -> bool:
        """Whether a bare word of this file is a name rather than a text."""
        loops = {r.loop["detail"]["item_name"] for r in self.resources if r.loop}
        return name in loops or any(
            name in self._section(section) for section in ("parameters", "variables", "resources", "modules")
        )


@cache  # making one takes longer than reading a file
def _parser() -> BicepParser:
    return BicepParser()


@cache  # the same text is read again and again by the tests
def _parse(text: str) -> dict[str, Any]:
    return dict(_parser().parse(text=text))


def _body(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What stands between the braces, without the condition or loop around it."""
    loop = config.get("loop_type")
    if "config" in config and ("condition" in config or loop):
        inner, nested = _body(config["config"])
        return inner, loop or nested
    return config, loop


def is_expression(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("function", "operator")


def possibilities(value: Any) -> list[Any]:
    """The values that a conditional may take; the value itself where it is none."""
    if not is_expression(value):
        return [value]
    found = []
    for operands in _dicts(value):
        if {"condition", "true_value", "false_value"} <= operands.keys():
            found += possibilities(operands["true_value"]) + possibilities(operands["false_value"])
            break
    return found or [value]


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _dicts(inner)


def texts(value: Any) -> Iterator[str]:
    """Every text and name within a value, keys included."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


def read_folder(folder: Path) -> dict[Path, BicepFile]:
    """Every Bicep file under a folder, by its path."""
    return {path: BicepFile(path) for path in sorted(folder.rglob("*.bicep"))}
