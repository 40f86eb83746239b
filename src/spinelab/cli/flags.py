"""Flags derived from a frozen options dataclass: its fields, their defaults and their docstring."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer

from spinelab.errors import InputError

#: A field of this type is a flag that may be repeated.
Several = tuple[str, ...]


def with_flags(
    kind: type, *, names: Mapping[str, str] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a decorator that replaces a function's `options` parameter by one flag a field of `kind`.

    A field ``batch: int = 1`` becomes ``--batch`` with the field's line under "Attributes:" in the docstring
    of `kind` as its help. Of a field that is itself such a class the fields become flags.

    Args:
        kind: The options.
        names: Field -> name of its flag, where that is another.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)
        own = [p for name, p in signature.parameters.items() if name != "options"]
        flags = _flags(kind, names or {})

        @wraps(function)
        def command(**values: Any) -> Any:
            chosen = {flag.name: values.pop(flag.name) for flag in flags}
            return function(**values, options=_build(kind, chosen, names or {}))

        command.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in (*own, *flags)}
        return command

    return decorate


def _flags(kind: type, names: Mapping[str, str]) -> list[inspect.Parameter]:
    hints = get_type_hints(kind)
    help_of = describe_fields(kind)
    flags = []
    for field in fields(kind):
        hint = hints[field.name]
        if is_dataclass(hint):
            flags += _flags(hint, names)  # type: ignore[arg-type]
            continue
        default = field.default if field.default is not MISSING else inspect.Parameter.empty
        if hint == Several:
            hint, default = list[str] | None, default or None
        flags.append(
            inspect.Parameter(
                names.get(field.name, field.name),
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[hint, typer.Option(help=help_of.get(field.name))],
            )
        )
    return flags


def _build(kind: type, values: dict[str, Any], names: Mapping[str, str]) -> Any:
    hints = get_type_hints(kind)
    chosen = {}
    for field in fields(kind):
        hint = hints[field.name]
        if is_dataclass(hint):
            chosen[field.name] = _build(hint, values, names)  # type: ignore[arg-type]
            continue
        value = values[names.get(field.name, field.name)]
        chosen[field.name] = tuple(value or ()) if hint == Several else value
    try:
        return kind(**chosen)
    except ValueError as error:
        raise InputError(f"options do not fit: {error}; see --help") from error


def describe_fields(kind: type) -> dict[str, str]:
    """Returns field name -> its text under "Attributes:" in the class's docstring, on one line.

    Example:
        >>> from spinelab.evaluation import EvaluateOptions
        >>> describe_fields(EvaluateOptions)["seed"]
        'Seed of the bootstrap.'
    """
    section = inspect.getdoc(kind) or ""
    section = section.partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        start = re.match(r"    (\w+): (.*)", line)
        if start:
            name = start[1]
            found[name] = start[2]
        elif line.startswith("        ") and name:
            found[name] += " " + line.strip()
        elif not line.strip():
            continue
        else:
            break
    return found
