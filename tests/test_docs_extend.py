"""docs/extend.md: its edits, made in a copy of the program, do what it says; its numbers hold."""

import csv
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from record import METRICS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
EDIT = re.compile(r"^In `(\S+)`, (above|below) `([^\n]+)`:\n\n```python\n(.*?)```", re.M | re.S)
NEW = re.compile(r"^The new file `(\S+)`:\n\n```python\n(.*?)```", re.M | re.S)
TINY = shlex.split(
    "--arch resnet8 --use_pretrained false --image_size 16 --bsize 48 --num_epochs 1 "
    "--num_workers 0 --val_frac 0.5 --save_path runs --exp_name run"
)
RECORDS = {"AN": "digits_AN_0_adam_0.002_seed1", "LL-R": "digits_LL-R_2.5_adam_0.001_seed1"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The program with all edits of the page."""
    root = tmp_path_factory.mktemp("copy")
    for path in [*ROOT.glob("*.py"), *(ROOT / "data").glob("*.py")]:
        place = root / path.relative_to(ROOT)
        place.parent.mkdir(exist_ok=True)
        shutil.copy(path, place)
    for name, code in NEW.findall(PAGE):
        assert not (root / name).exists()
        (root / name).write_text(code)
    for name, side, line, code in EDIT.findall(PAGE):
        edit(root / name, side, line, code)
    make_shapes(root / "data" / "shapes")
    return root


def edit(path, side, line, code):
    """Put the code above or below the line, which is there once."""
    text = path.read_text()
    assert text.count(f"\n{line}\n") == 1, f"{path.name} has no single line {line}"
    both = f"{code}{line}\n" if side == "above" else f"{line}\n{code}"
    path.write_text(text.replace(f"\n{line}\n", f"\n{both}"))


def make_shapes(folder):
    """The release of the example, unpacked."""
    (folder / "pictures").mkdir(parents=True)
    lines = []
    for i in range(18):
        classes = ["circle", "square", "triangle"][i % 3 : i % 3 + 1 + i % 2]
        lines.append(f"pictures/{i}.png,{'train' if i < 12 else 'val'},{';'.join(classes)}")
        noise = np.random.RandomState(i).randint(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(noise).save(folder / "pictures" / f"{i}.png")
    (folder / "labels.csv").write_text("\n".join(lines))


def run(copy, *words):
    """What the command prints in the copy; it ends well."""
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def commands():
    """The commands of the page, without `python`."""
    blocks = re.findall(r"^```bash\n(.*?)```", PAGE, re.M | re.S)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


def test_the_page_has_the_edits_that_it_counts():
    assert [name for name, *_ in EDIT.findall(PAGE)] == [
        "losses.py", "losses.py", "recipes.py", "settings.py",
        "data/releases.py", "data/releases.py", "recipes.py",
    ]  # fmt: skip
    assert [name for name, _ in NEW.findall(PAGE)] == ["data/format_shapes.py"]


def test_the_scheme_of_the_page_trains(copy):
    train, *_ = commands()
    small = ["--ss_frac_train", "0.02", "--ss_frac_val", "0.2"]
    printed = run(copy, *train, *TINY, *small)
    assert "\nDW, unobserved_weight 0.2, adam, " in printed
    config = json.loads((copy / "runs" / "run" / "config.json").read_text())
    assert (config["mod_scheme"], config["unobserved_weight"]) == ("DW", 0.2)
    assert json.loads((copy / "runs" / "run" / "summary.json").read_text())["epochs_run"] == 1


def test_the_loss_of_the_page_is_what_it_says(copy):
    spec = importlib.util.spec_from_file_location("edited_losses", copy / "losses.py")
    edited = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(edited)
    logits, labels = torch.randn(4, 3), torch.tensor([[1.0, -1, 0]] * 4)

    def loss(name, **own):
        scheme = edited.build_scheme(name, num_classes=3, **own)
        return scheme(logits, labels, epoch=1, index=torch.arange(4)).loss.item()

    for share, same in ((0, "IU"), (0.5, "WAN"), (1, "AN")):
        assert loss("DW", unobserved_weight=share) == pytest.approx(loss(same))


def test_the_data_set_of_the_page_is_prepared_and_trains(copy):
    _, prepare, train = commands()
    printed = run(copy, *prepare)
    assert "shapes: 3 classes, written to data/shapes" in printed
    assert "train: 12 images, 1.33 positives per image" in printed
    words = ["--lr", "1e-4"]  # as the recipe says: part of no name then
    printed = run(copy, *train, *TINY, *words, "--overwrite")
    assert printed.startswith("shapes: 6 train, 6 val and 6 test images, 3 classes")
    assert "\nLL-R, delta_rel 1 %, adam, lr 0.0001, " in printed


def rows_of(name):
    """The table of the page, as lists of cells by column."""
    table = PAGE.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]
    head, _, *rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.mark.parametrize("name", RECORDS)
def test_the_numbers_of_the_page_are_those_of_the_records(name):
    path = ROOT / "results" / "digits" / RECORDS[name] / "metrics.csv"
    known = {row["epoch"]: row for row in csv.DictReader(path.read_text().splitlines())}
    rows = rows_of(name)
    assert len(rows) >= 4
    for row in rows:
        for column, cell in row.items():
            if cell:
                digits = len(cell.partition(".")[2])
                assert cell == f"{float(known[row['epoch']][column]):.{digits}f}", (row, column)
            else:
                assert known[row["epoch"]][column] == ""


def test_every_column_and_panel_is_explained():
    section = PAGE.partition("## How to read the audit")[2]
    assert set(METRICS) <= set(re.findall(r"`(\w+)`", section))
    from instrumentation import CURVES

    for panel in CURVES:
        assert f"| {panel.removesuffix(' (%)')} |" in section
