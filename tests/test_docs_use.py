"""docs/use.md gives commands that are right, and names the flags as they are."""

import re
import shlex
from pathlib import Path

import pytest

from tools import evaluate, predict

PAGE = (Path(__file__).parents[1] / "docs" / "use.md").read_text(encoding="utf-8")
TOOLS = {"predict": predict, "evaluate": evaluate}


def test_every_command_is_right():
    tried = re.findall(r"^python -m tools\.(\w+) (.*)$", PAGE, flags=re.MULTILINE)
    assert [name for name, _ in tried] == ["predict", "evaluate", "evaluate", "evaluate"]
    for name, words in tried:
        TOOLS[name]._parser().parse_args(shlex.split(words))


@pytest.mark.parametrize("name", TOOLS)
def test_every_flag_is_told_and_every_flag_told_is_there(name):
    section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE | re.I)[1]
    there = {flag for flag in TOOLS[name]._parser()._option_string_actions if flag[:2] == "--"}
    told = set(re.findall(r"--[a-z_]+", section))
    computing = {"--bsize", "--num_workers", "--amp", "--device", "--gpu_num", "--help"}
    elsewhere = {"--mod_scheme", "--dataset", "--image_size", "--val_set_variant"}
    assert there - told <= computing
    assert told - there <= elsewhere
