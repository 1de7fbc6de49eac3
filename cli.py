"""Command lines whose mistakes cost the user one line: what is wrong, and what to do."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from inspect import cleandoc
from io import TextIOWrapper
from typing import Any, NoReturn

import stopping
from launch import first_alone_talks, launch

_READER_ENDED = 141  # 128 + SIGPIPE, which not every system has


class UserError(ValueError):
    """A mistake that the user can mend: printed as one line on stderr, exit status 2.

    The message holds the value, the rule it breaks and what to do.
    """


class OwnTrouble(UserError):
    """What one of the processes that train together may meet alone: a bad image, lack of memory."""


class ToldElsewhere(UserError):
    """A mistake that another of the processes that train together tells the user."""


@contextlib.contextmanager
def same_for_all() -> Iterator[None]:
    """Within this, processes that train together make the same mistakes: the first one tells.

    But each tells its OwnTrouble.
    """
    try:
        yield
    except OwnTrouble:
        raise
    except UserError as error:
        if launch().is_first:
            raise
        raise ToldElsewhere(str(error)) from None


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UserError and suggests the flag that was probably meant."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        if options.get("description"):  # a docstring
            options["description"] = cleandoc(options["description"])
        super().__init__(**options)
        # argparse takes -1e-3 for a flag, and then misses the value of the one before
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.I)

    def parse_args(self, args=None, namespace=None):  # type: ignore[override]
        """The parsed flags; an unknown one raises UserError with the closest known one."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise UserError(self._unknown(unknown[0]))
        return parsed

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found, which names the flag, instead of printing the usage."""
        raise UserError(message.removeprefix("argument "))

    def _unknown(self, word: str) -> str:
        flag = word.partition("=")[0]
        if not flag.startswith("-"):
            return f"unexpected argument {flag!r}: settings are given as --flag value"
        return f"unknown flag {flag}{did_you_mean(flag, self._option_string_actions)} (see --help)"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean X?` for the known word closest to `word`, or nothing."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f", did you mean {by_lower[close[0]]}?" if close else ""


def choice(*names: str) -> Callable[[str], str]:
    """A converter that takes one of `names`, and suggests the closest for any other word."""

    def parse(text: str) -> str:
        if text in names:
            return text
        listed = ", ".join(names)
        raise argparse.ArgumentTypeError(f"{text!r} is none of {listed}{did_you_mean(text, names)}")

    parse.names = names  # type: ignore[attr-defined]
    return parse


def boolean(text: str) -> bool:
    """`true` or `false`, in any case; 1, 0, yes and no also do."""
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return known[text.lower()]


def number(
    kind: Callable[[str], Any] = float,
    low: float = -math.inf,
    high: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> Callable[[str], Any]:
    """A converter to a finite `kind` with low <= value <= high and above < value < below."""
    bounds = [(low, ">="), (above, ">"), (high, "<="), (below, "<")]
    rule = " and ".join(f"{sign} {bound:.12g}" for bound, sign in bounds if math.isfinite(bound))

    def parse(text: str) -> Any:
        word = "a whole number" if kind is int else "a number"
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {word}") from None
        if not (abs(value) < math.inf and low <= value <= high and above < value < below):
            raise argparse.ArgumentTypeError(f"{text} must be {word} {rule}".rstrip())
        return value

    parse.rule = rule  # type: ignore[attr-defined]
    return parse


def flag(
    group: str,
    default: Any,
    help: str,
    parse: Callable[[str], Any] = str,
    metavar: str | None = None,
    **facts: Any,
) -> Any:
    """A dataclass field that is a command-line flag; `facts` join these in its metadata."""
    shown = {"group": group, "default": default, "help": help, "metavar": metavar}
    return dataclasses.field(metadata={**shown, "parse": parse, **facts})


def flags_parser(settings: type, **options: Any) -> Parser:
    """A parser with a flag for every field of a dataclass; it gives only what was given."""
    parser = Parser(argument_default=argparse.SUPPRESS, **options)
    groups: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        meta = field.metadata
        group = groups.get(meta["group"]) or parser.add_argument_group(meta["group"])
        groups[meta["group"]] = group
        optional: dict[str, Any] = {"nargs": "?", "const": True} if _is_boolean(meta) else {}
        shown: dict[str, Any] = {"metavar": _metavar(meta), "help": _help(meta)}
        group.add_argument(f"--{field.name}", type=meta["parse"], **shown, **optional)
    return parser


def _is_boolean(meta: Any) -> bool:
    return meta["parse"] is boolean


def _metavar(meta: Any) -> str:
    if _is_boolean(meta):
        return "true|false"
    names = getattr(meta["parse"], "names", None)
    return meta["metavar"] or ("{" + ",".join(names) + "}" if names else "N")


def _help(meta: Any) -> str:
    default = str(meta["default"]).lower() if _is_boolean(meta) else meta["default"]
    facts = [getattr(meta["parse"], "rule", ""), f"default: {default}" if default != "" else ""]
    shown = "; ".join(fact for fact in facts if fact)
    return (f"{meta['help']} ({shown})" if shown else meta["help"]).replace("%", "%%")


def printable(text: str) -> str:
    """The text in one line, every character escaped that a terminal would not just show.

    Names come from files and may hold line breaks, or codes that a terminal obeys.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> int:
    """The exit status of `main(argv)`: 0 done, 2 the user's mistake, 130 Ctrl-C, 143 SIGTERM.

    Where the reader of standard output has ended, as `head` does, it is 141, which a shell gives
    SIGPIPE, and nothing is said. Any other exception is a fault of ours and passes, with its
    traceback and status 1.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the shell has closed it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for good
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may not fit its encoding
    try:
        with stopping.handled():
            return _status(main, sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt as stop:  # it may come on the way out, too
        signum = stop.args[0] if stop.args else signal.SIGINT
        with contextlib.suppress(OSError), first_alone_talks():  # the reader may have ended
            print(f"stopped by {signal.Signals(signum).name}", file=sys.stderr)
        _why_stdout_fails(probe="")
        return 128 + signum


def _status(main: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int:
    """As `run`; a stop signal passes."""
    try:
        status = main(argv) or 0
        sys.stdout.flush()
        return status
    except UserError as error:
        if not isinstance(error, ToldElsewhere):
            print(f"error: {printable(str(error))}", file=sys.stderr)
        _why_stdout_fails(probe="")
        return 2
    except OSError as error:
        found = _why_stdout_fails()
        if not found or type(error) is not type(found):
            raise
        if isinstance(found, BrokenPipeError):
            return _READER_ENDED
        reason = found.strerror or "it is closed"
        print(f"error: cannot write to standard output: {reason}", file=sys.stderr)
        return 2


def _why_stdout_fails(probe: str = "\n") -> OSError | None:
    """Why standard output takes no more, None if it does; what it does not take is dropped."""
    try:
        print(end=probe, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None
