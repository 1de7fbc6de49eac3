"""Flags that benchmarks share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cli
import words


def add_number(
    parser: cli.Parser,
    name: str,
    help: str,
    default: Any,
    low: float,
    high: float = math.inf,
    kind: Callable[[str], Any] = int,
) -> None:
    """A flag for a number from `low` to `high`; the help says so, and the default if there is one.

    Of numbers with commas between them, where `default` is a tuple.
    """
    parse: Any = cli.number(kind, low, high)
    each, shown, rule = "", str(default), parse.rule
    if isinstance(default, tuple):
        each, shown, parse = "each ", ",".join(map(str, default)), words.numbers(parse)
    tail = "" if default is None else f"; {shown}"
    parser.add_argument(
        name, type=parse, default=default, metavar="N", help=f"{help} ({each}{rule}{tail})"
    )


def add_images(parser: cli.Parser) -> None:
    """The flag for a folder of pictures."""
    help = "folder of JPEGs; without it, they are made up"
    parser.add_argument("--images", type=Path, metavar="FOLDER", help=help)


def add_pairs(parser: cli.Parser, pairs: int, seconds: float | None = None) -> None:
    """The flags for how often everything is measured, and for how long at least."""
    add_number(parser, "--pairs", "how often all are measured in turn", pairs, 1, 1000)
    if seconds is not None:
        help = "a measurement takes so long at least, in whole epochs"
        add_number(parser, "--seconds", help, seconds, 0, 600, float)
