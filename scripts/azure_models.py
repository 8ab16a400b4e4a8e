"""What Azure's management SDKs know of a resource type: the names, types and duties of its properties.

Both kinds of model that the SDKs have are read: msrest's (``_attribute_map``) and TypeSpec's (``rest_field``).
A type is a pair: ("scalar", types), ("enum", class), ("model", class), ("list" or "dict", type within), ("any", None).
"""

import sys
import typing
from dataclasses import dataclass
from enum import Enum
from typing import Any


@dataclass(frozen=True)
class Field:
    """One property of a model."""

    type: Any
    required: bool
    read_only: bool


@dataclass(frozen=True)
class Nested:
    """The object that a dotted key of a model stands for."""

    fields: dict[str, Field]


def fields_of(model: type, models: Any) -> dict[str, Field]:
    """Name in JSON → field, of either kind of model."""
    if hasattr(model, "_attribute_map"):
        return _msrest_fields(model, models)
    return _typespec_fields(model, models)


def _msrest_fields(model: Any, models: Any) -> dict[str, Field]:
    found: dict[str, Field] = {}
    nested: dict[str, dict[str, Field]] = {}
    for attribute, described in model._attribute_map.items():
        if not described["key"]:
            continue  # additional properties, which the service ignores
        rule = getattr(model, "_validation", {}).get(attribute, {})
        of_type = _msrest_type(described["type"], models)
        one = Field(of_type, bool(rule.get("required")), bool(rule.get("readonly")))
        key = described["key"].replace("\\.", "\0")
        outer, dot, inner = key.partition(".")
        if dot:
            nested.setdefault(outer, {})[inner.replace("\0", ".")] = one
        else:
            found[key.replace("\0", ".")] = one
    for outer, inner_fields in nested.items():
        required = any(one.required and not one.read_only for one in inner_fields.values())
        found[outer] = Field(Nested(inner_fields), required, False)
    return found


_SCALARS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "duration": (str,),
    "iso-8601": (str,),
}


def _msrest_type(name: str, models: Any) -> Any:
    if name.startswith("["):
        return "list", _msrest_type(name[1:-1], models)
    if name.startswith("{"):
        return "dict", _msrest_type(name[1:-1], models)
    if name in _SCALARS:
        return "scalar", _SCALARS[name]
    named = getattr(models, name, None)
    if named is None:
        return "any", None
    return ("enum", named) if issubclass(named, Enum) else ("model", named)


def _typespec_fields(model: Any, models: Any) -> dict[str, Field]:
    model.__new__(model)  # names its fields at the first instance
    found = {}
    for attribute, described in model._attr_to_rest_field.items():
        owner = next(base for base in model.__mro__ if attribute in vars(base).get("__annotations__", {}))
        space = {**vars(sys.modules[owner.__module__]), "_models": models}
        hint = typing.get_type_hints(owner, space)[attribute]
        options = typing.get_args(hint) if typing.get_origin(hint) is typing.Union else (hint,)
        read_only = described._visibility == ["read"]
        found[described._rest_name] = Field(_hinted(hint), type(None) not in options, read_only)
    return found


def _hinted(hint: Any) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Union or str(origin) == "<class 'types.UnionType'>":
        rest = [one for one in options if one is not type(None)]
        enums = [one for one in rest if isinstance(one, type) and issubclass(one, Enum)]
        return ("enum", enums[0]) if enums else _hinted(rest[0])
    if origin is list:
        return "list", _hinted(options[0])
    if origin is dict:
        return "dict", _hinted(options[1])
    for name, kinds in _SCALARS.items():
        if hint is kinds[0] and name in ("str", "bool", "int", "float"):
            return "scalar", kinds
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "enum", hint
    if isinstance(hint, type) and hasattr(hint, "_is_model"):
        return "model", hint
    return "any", None
