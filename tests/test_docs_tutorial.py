"""The data set of docs/tutorial.md is made as the page says."""

import re
import shlex
from pathlib import Path

import cli
from data import prepare

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")


def test_the_stand_in_is_made_and_prepared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    exec(program, {})
    command, *_ = re.findall(r"^python -m data\.prepare (.*)$", PAGE, flags=re.MULTILINE)
    assert cli.run(prepare.main, shlex.split(command)) == 0
    said = capsys.readouterr().out.splitlines()
    shown = PAGE[PAGE.index("data/shop: 10 classes") :].split("\n```")[0].splitlines()
    assert said[: len(shown)] == shown
