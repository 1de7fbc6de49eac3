"""Every command of the pages is one that this program takes: flags, modules, scripts, files."""

import argparse
import importlib
import importlib.util
import os
import re
import shlex
from pathlib import Path

import pytest

import cli
from config import parse_args

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "data" / "README.md")
FOREIGN = {  # commands of other programs, by their first words: why their flags are not tried
    "python -m pytest": "pytest's own; the settings that it reads are in pyproject.toml",
    "tensorboard --logdir": "TensorBoard's own program, which only looks at what is written",
}
_EDITED = "with the edits of its page, by tests/test_docs_extend.py"
UNCHECKED = {  # single commands: why they are not tried here
    "python -m data.prepare": "no whole command: the data set is what the sentence is about",
    "python main.py --dataset digits --mod_scheme DW --unobserved_weight 0.2": _EDITED,
    "python -m data.prepare shapes": _EDITED,
    "pip install cleanlab": "a baseline of one benchmark, which does without where it is missing",
    "python main.py --dataset shapes --mod_scheme LL-R": _EDITED,
}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(
    r"(?:\w+=(?:\"[^\"]*\"|\S*) )*(?:python3? |torchrun |pip |tensorboard |scripts/)"
)


def commands(page):
    """The single commands of a page: of its code blocks, and of its code between backquotes."""
    blocks = _FENCE.findall(page)
    text = _FENCE.sub("", page)
    lines = [line for kind, block in blocks if kind in ("bash", "sh")
             for line in block.replace("\\\n", "").splitlines()]  # fmt: skip
    other = [line for kind, block in blocks if not kind for line in block.splitlines()]
    other += re.findall(r"^ {4}(\S.*)$", text, flags=re.MULTILINE)
    other += re.findall(r"(?<!`)`([^`\n]+)`", text)
    lines += filter(_COMMAND.match, other)
    parts = [part.strip() for line in lines for part in line.split(" #")[0].split(" && ")]
    parts = [part for part in dict.fromkeys(parts) if part and not part.startswith("#")]
    return [part for part in parts if not re.fullmatch("scripts/[*.sh]*", part)]


def all_commands():
    pages = ((page, page.read_text(encoding="utf-8")) for page in PAGES)
    return [
        pytest.param(command, id=f"{page.relative_to(ROOT)}: {command}")
        for page, text in pages
        for command in commands(text)
    ]


class Parsed(Exception):
    """The flags are right, and nothing is to be done."""


@pytest.fixture
def parses_only(monkeypatch):
    """Every tool stops once it has parsed its flags."""
    for parser in (argparse.ArgumentParser, cli.Parser):
        monkeypatch.setattr(parser, "parse_args", parse_and_stop(parser.parse_args))


def parse_and_stop(parse):
    """The same, which goes on with nothing once it has succeeded."""

    def parse_args(self, args=None, namespace=None):
        parse(self, args, namespace)
        raise Parsed

    return parse_args


def check(command):
    """Raise UserError, or fail, unless it is a right command."""
    words = [word for word in shlex.split(command) if word != "..."]
    given = [words.pop(0) for word in list(words) if re.match(r"[A-Z_]+=", word)]
    program, *words = words
    if program.startswith("scripts/"):
        check_script(program, given)
    elif program == "pip" and command not in UNCHECKED:
        check_pip(words)
    elif command in UNCHECKED or any(map(command.startswith, FOREIGN)):
        assert words[0] != "-m" or importlib.util.find_spec(words[1])
    elif words[:1] == ["-c"]:
        compile(words[1], command, "exec")
    elif program in ("python", "python3") and words[0] == "-m":
        check_module(words[1], words[2:])
    else:
        assert program in ("python", "python3", "torchrun"), f"{program} is not known here"
        parse_args(words[words.index("main.py") + 1 :])


def check_script(path, given):
    """It may be run, and the scripts read what they are given."""
    assert os.access(ROOT / path, os.X_OK)
    read = " ".join(file.read_text() for file in (ROOT / "scripts").glob("*.sh"))
    for setting in given:
        assert re.search(rf"\b{setting.partition('=')[0]}\b", read), setting


def check_pip(words):
    """It installs from a file that is there, or packages that the tests have."""
    assert words[0] == "install"
    known = (ROOT / "requirements-dev.txt").read_text() + (ROOT / "requirements.txt").read_text()
    if words[1] == "-r":
        assert (ROOT / words[2]).is_file()
    else:
        assert all(re.search(f"^{word}>=", known, flags=re.MULTILINE) for word in words[1:])


def check_module(name, words):
    """It has a `main` that takes these words; a capital N stands for a number, RUN... for runs."""
    module = importlib.import_module(name)
    given = ["1" if word == "N" else word.removesuffix("...") for word in words]
    try:
        module.main(given)
    except Parsed:
        return
    pytest.fail(f"{name} parsed no flags")


@pytest.mark.parametrize("command", all_commands())
def test_a_command_of_a_page_is_right(command, request):
    if re.match(r"(?:[A-Z_]+=\S+ )*python -m ", command):
        request.getfixturevalue("parses_only")
    check(command)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("python main.py --dataset digits --mod_scheme LL-X", cli.UserError),
        ("torchrun --nproc_per_node=8 main.py --bsise 64", cli.UserError),
        ("python -m tools.evaluate run --slpit test", cli.UserError),
        ("python -m tools.evaluate", cli.UserError),
        ("python -m tools.evalute run", ModuleNotFoundError),
        ("scripts/nothing.sh", AssertionError),
        ("DATASETS=pascal scripts/all.sh", AssertionError),
        ("pip install -r requirement.txt", AssertionError),
        ("pip install nothing", AssertionError),
        ("make", AssertionError),
    ],
)
def test_a_wrong_command_is_found(command, error, request):
    if command.startswith("python -m "):
        request.getfixturevalue("parses_only")
    with pytest.raises(error):
        check(command)


def test_commands_are_found_wherever_a_page_has_them():
    page = (
        "see `python -m a` and `b`, `scripts/*.sh`\n\n    python -m c --d\n    e\n\n"
        "```bash\nA=1 scripts/f.sh && g  # h\ni \\\n  j\n```\n```text\nk\n```\n```\npip l\nm\n```\n"
    )
    found = ["A=1 scripts/f.sh", "g", "i   j", "pip l", "python -m c --d", "python -m a"]
    assert commands(page) == found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"\]\(([^)#:\s]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_no_page_is_empty_of_what_it_had():
    found = {page.name: len(commands(page.read_text(encoding="utf-8"))) for page in PAGES[:-1]}
    assert found["README.md"] >= 20
    assert sum(found.values()) >= 150


@pytest.mark.parametrize("name", [*FOREIGN, *UNCHECKED])
def test_what_is_not_checked_is_still_on_a_page(name):
    assert any(name in page.read_text(encoding="utf-8") for page in PAGES)
