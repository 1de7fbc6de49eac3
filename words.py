"""What words on the command line become: converters of single settings.

Each raises argparse.ArgumentTypeError for a word that it does not take.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path

from cli import did_you_mean
from recipes import RECIPES


def dataset(text: str) -> str:
    """A known name, or a path, which always holds a slash so that the two are never confused."""
    if text in RECIPES:
        return text
    if os.path.isfile(path(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is a file: give the folder that it lies in")
    if "/" in text or os.path.isdir(text):
        folder = str(Path(text))
        return folder if "/" in folder else f"./{folder}"
    rule = f"neither one of {', '.join(RECIPES)} nor an existing folder"
    raise argparse.ArgumentTypeError(f"{text!r} is {rule}{did_you_mean(text, RECIPES)}")


def path(text: str) -> str:
    """The path of a file or folder, which need not exist."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} must be the path of a file or folder")
    return text


def folder_name(text: str) -> str:
    """The name of one folder, not a path."""
    plain = text.isprintable() and not re.search(r"[/\\]", text) and len(os.fsencode(text)) <= 200
    if not plain or text in ("", ".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r} must be one folder name of 1 to 200 bytes")
    return text


def backbone(text: str) -> str:
    """What may be the name of a network; whether there is one is found out later."""
    if not re.fullmatch(r"[A-Za-z0-9_.+-]{1,100}", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be the name of a network, as resnet50")
    return text


def numbers(parse: Callable[[str], float]) -> Callable[[str], tuple[float, ...]]:
    """A converter of numbers with commas between them."""

    def several(text: str) -> tuple[float, ...]:
        return tuple(map(parse, text.split(",")))

    several.rule = f"each {parse.rule}"  # type: ignore[attr-defined]
    several.several = True  # type: ignore[attr-defined]
    return several
