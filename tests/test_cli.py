"""Command lines: what a wrong one is told, the converters of values, exit statuses."""

import argparse
import dataclasses
import os
import signal
import sys

import pytest

import cli
from cli import Parser, UserError, boolean, choice, did_you_mean, flag, flags_parser, number


@pytest.fixture(autouse=True)
def keep_the_handler():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


# Parser


def parse(*argv):
    parser = Parser(prog="tool", description="A tool.")
    parser.add_argument("--colour", default="red")
    parser.add_argument("--count", type=number(int, 0, 9), default=1)
    parser.add_argument("--column", type=choice("left", "right"), default="left")
    return vars(parser.parse_args(argv))


def test_flags_are_parsed():
    assert parse() == {"colour": "red", "count": 1, "column": "left"}
    assert parse("--count=3", "--column", "right", "--colour", "") == {
        "colour": "",
        "count": 3,
        "column": "right",
    }


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--color", "red"], "unknown flag --color, did you mean --colour? (see --help)"),
        (["--COUNT=3"], "unknown flag --COUNT, did you mean --count? (see --help)"),
        (["--zzz"], "unknown flag --zzz (see --help)"),
        (["red"], "unexpected argument 'red': settings are given as --flag value"),
        (["--count", "10"], "--count: 10 must be a whole number >= 0 and <= 9"),
        (["--count"], "--count: expected one argument"),
        (
            ["--column", "rigth"],
            "--column: 'rigth' is none of left, right, did you mean right?",
        ),
    ],
)
def test_what_a_wrong_command_line_is_told(capsys, argv, message):
    with pytest.raises(UserError) as caught:
        parse(*argv)
    assert str(caught.value) == message
    assert capsys.readouterr() == ("", "")  # no usage


def test_a_flag_is_never_shortened():
    """--colo could become another flag's beginning one day."""
    with pytest.raises(UserError, match="did you mean --colour"):
        parse("--colo", "red")


def test_help_is_not_an_error(capsys):
    with pytest.raises(SystemExit) as done:
        parse("--help")
    assert done.value.code == 0
    assert "A tool." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("pascall", ", did you mean pascal?"),
        ("LL-r", ", did you mean LL-R?"),
        ("COCO", ", did you mean coco?"),
        ("imagenet", ""),
        ("", ""),
    ],
)
def test_did_you_mean(word, expected):
    assert did_you_mean(word, ["pascal", "coco", "LL-R"]) == expected


# Converters


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (number(), "-1.5e3", -1500.0),
        (number(int), "-12", -12),
        (number(int, 0, 5), "0", 0),
        (number(int, 0, 5), "5", 5),
        (number(above=0, below=1), "0.999", 0.999),
        (number(above=0, high=1), "1", 1.0),
        (choice("a", "b"), "b", "b"),
        *[(boolean, text, True) for text in ("true", "True", "TRUE", "1", "yes")],
        *[(boolean, text, False) for text in ("false", "False", "0", "no", "NO")],
    ],
)
def test_values(convert, text, value):
    assert convert(text) == value
    assert type(convert(text)) is type(value)


@pytest.mark.parametrize(
    ("convert", "text", "message"),
    [
        (number(), "x", "'x' is not a number"),
        (number(), "", "'' is not a number"),
        (number(), "nan", "nan must be a number"),
        (number(), "-inf", "-inf must be a number"),
        (number(), "1e999", "1e999 must be a number"),
        (number(int), "1.0", "'1.0' is not a whole number"),
        (number(int), "1e3", "'1e3' is not a whole number"),
        (number(int, 0, 5), "6", "6 must be a whole number >= 0 and <= 5"),
        (number(int, 0, 5), "-1", "-1 must be a whole number >= 0 and <= 5"),
        (number(int, 0, 5), "9" * 400, "must be a whole number >= 0 and <= 5"),
        (number(above=0, below=1), "0", "0 must be a number > 0 and < 1"),
        (number(above=0, below=1), "1", "1 must be a number > 0 and < 1"),
        (number(low=0.5), "0.49", "0.49 must be a number >= 0.5"),
        (choice("a", "b"), "c", "'c' is none of a, b"),
        (choice("a", "b"), "A", "'A' is none of a, b, did you mean a?"),
        (boolean, "2", "'2' is neither true nor false"),
        (boolean, "", "'' is neither true nor false"),
        (boolean, "y", "'y' is neither true nor false"),
    ],
)
def test_wrong_values(convert, text, message):
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        convert(text)
    assert str(caught.value).endswith(message)


# Flags of a dataclass


@dataclasses.dataclass
class Settings:
    """The settings of a tool."""

    rate: float = flag("first", 0.5, "how fast, 50% say", number(above=0))
    loud: bool = flag("second", False, "make noise", boolean)
    side: str = flag("first", "left", "which side", choice("left", "right"), colour="red")


def test_a_dataclass_gives_its_flags():
    parser = flags_parser(Settings, prog="tool")
    assert vars(parser.parse_args([])) == {}  # only what was given
    given = parser.parse_args(["--loud", "--rate", "2", "--side", "right"])
    assert vars(given) == {"loud": True, "rate": 2.0, "side": "right"}
    for text, value in (("true", True), ("false", False)):
        assert parser.parse_args(["--loud", text]).loud is value
    with pytest.raises(UserError, match="--rate: 0 must be a number > 0"):
        parser.parse_args(["--rate", "0"])


def test_help_shows_groups_ranges_choices_and_defaults():
    text = " ".join(flags_parser(Settings, prog="tool").format_help().split())
    assert "--rate N how fast, 50% say (> 0; default: 0.5)" in text
    assert "--side {left,right} which side (default: left)" in text
    assert "make noise (default: false)" in text
    assert text.index("first:") < text.index("which side") < text.index("second:")
    assert dataclasses.fields(Settings)[2].metadata["colour"] == "red"


# Exit statuses


@pytest.mark.parametrize(("result", "status"), [(None, 0), (0, 0), (3, 3)])
def test_the_status_of_a_main_that_returns(result, status):
    assert cli.run(lambda argv: result, ["x"]) == status


def test_a_mistake_of_the_user_is_one_line_and_status_2(capsys):
    def main(argv):
        raise UserError(f"image a\n\x1b[2J{argv[0]}.png is missing")

    assert cli.run(main, ["0"]) == 2
    assert capsys.readouterr() == ("", "error: image a\\n\\x1b[2J0.png is missing\n")


def test_the_command_line_is_the_default(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "argv", ["main.py", "--seed", "1"])
    assert cli.run(seen.append) == 0
    assert seen == [["--seed", "1"]]


def test_ctrl_c_is_130(capsys):
    def main(argv):
        raise KeyboardInterrupt

    assert cli.run(main, []) == 130
    assert capsys.readouterr() == ("", "stopped by SIGINT\n")


def test_sigterm_is_143(capsys):
    def main(argv):
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

    assert cli.run(main, []) == 143
    assert capsys.readouterr() == ("", "stopped by SIGTERM\n")


def test_a_terminated_run_may_clean_up(capsys):
    """SIGTERM arrives as KeyboardInterrupt: what handles Ctrl-C handles it too."""
    cleaned = []

    def main(argv):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        except KeyboardInterrupt:
            cleaned.append(True)
            raise

    assert cli.run(main, []) == 143
    assert cleaned == [True]


@pytest.mark.parametrize("fault", [ValueError("ours"), RuntimeError("ours"), SystemExit(5)])
def test_any_other_exception_passes(capsys, fault):
    def main(argv):
        raise fault

    with pytest.raises(type(fault)) as caught:
        cli.run(main, [])
    assert caught.value is fault
    assert capsys.readouterr() == ("", "")
