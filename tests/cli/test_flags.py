"""Flags come from the options dataclass alone."""

from dataclasses import dataclass, field
from typing import Literal

import pytest
import typer
from typer.testing import CliRunner

from spinelab.cli.flags import describe_fields, with_flags
from spinelab.errors import InputError


@dataclass(frozen=True)
class Options:
    """How.

    Attributes:
        level_count: How many levels,
            the sacrum left out.
        fast: Skip the slow part.

    Example:
        >>> Options()
    """

    level_count: int = 3
    fast: bool = False

    def __post_init__(self) -> None:
        if self.level_count < 0:
            raise ValueError("level_count must not be negative")


seen: list[object] = []


@with_flags(Options)
def command(name: str, *, options: Options) -> None:
    """Does it."""
    seen.append((name, options))


app = typer.Typer(rich_markup_mode=None)
app.command()(command)


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_help_is_taken_from_the_attributes_section():
    assert describe_fields(Options) == {
        "level_count": "How many levels, the sacrum left out.",
        "fast": "Skip the slow part.",
    }


def test_a_class_without_attributes_has_no_help():
    assert describe_fields(int) == {}


def test_defaults_are_the_fields_own():
    seen.clear()
    assert run("a").exit_code == 0
    assert seen == [("a", Options())]


def test_flags_set_the_fields():
    seen.clear()
    assert run("a", "--level-count", "5", "--fast").exit_code == 0
    assert seen == [("a", Options(5, True))]


def test_help_lists_flag_text_and_default():
    text = " ".join(run("--help").output.split())
    assert "--level-count" in text
    assert "How many levels, the sacrum left out." in text
    assert "[default: 3]" in text


def test_values_the_options_refuse_are_told():
    with pytest.raises(InputError, match="options do not fit: level_count must not be negative; see --help"):
        command(name="a", level_count=-1, fast=False)


@dataclass(frozen=True)
class Inner:
    """What.

    Attributes:
        size_mm: How large.
        parts: What of; repeatable.
    """

    size_mm: float | None = None
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    """How.

    Attributes:
        inner: What.
        side: Which side.
    """

    inner: Inner = field(default_factory=Inner)
    side: Literal["left", "right"] | None = None


@with_flags(Outer, names={"size_mm": "size"})
def nested(*, options: Outer) -> None:
    """Does more."""
    seen.append(options)


def test_fields_of_options_within_options_are_flags_too():
    other = typer.Typer(rich_markup_mode=None)
    other.command()(nested)

    def call(*arguments):
        seen.clear()
        return CliRunner().invoke(other, list(arguments))

    assert call().exit_code == 0
    assert seen == [Outer()]
    assert call("--size", "3", "--parts", "a", "--parts", "b", "--side", "left").exit_code == 0
    assert seen == [Outer(Inner(3.0, ("a", "b")), "left")]
    wrong = call("--side", "up")
    assert wrong.exit_code == 2
    assert "'up' is not one of 'left', 'right'" in wrong.output
    assert not seen
