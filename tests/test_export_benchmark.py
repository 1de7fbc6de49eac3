"""What docs/export.md says of exported files on photographs is on record, and can be made again."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

import cli
from benchmarks import export
from models import build_model
from tools.export import TOLERANCE

ROOT = Path(__file__).parents[1]
RECORD = json.loads((ROOT / "docs" / "export.json").read_text())
FORMATS = ("onnx", "torch_export")


def test_it_runs_on_made_photographs(tmp_path, capsys):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason=f"needs {name}")
    out = tmp_path / "result.json"
    words = ["--count", "3", "--image_size", "16", "--arch", "resnet8", "--out", str(out)]
    assert cli.run(export.main, words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(out.read_text())
    assert (found["images"], found["image_size"]) == (3, 16)
    (network,) = found["networks"].values()
    assert network["largest_logit"] > 0.01
    assert all(0 <= network[of]["largest_difference"] <= TOLERANCE for of in FORMATS)


def test_a_difference_on_the_last_image_alone_is_found(monkeypatch):
    """The weights are the same each time."""
    images = torch.randint(256, (export.AT_ONCE + 2, 3, 16, 16), dtype=torch.uint8)
    torch.manual_seed(0)
    model = build_model("resnet8", export.NUM_CLASSES, image_size=16).eval()
    answers = {
        "onnx": model,
        "torch_export": lambda part: (
            model(part) + 0.5 * (part == images[-1]).all((1, 2, 3))[:, None]
        ),
    }
    monkeypatch.setattr(export, "packed", lambda *_: b"")
    monkeypatch.setattr(export, "predictor", lambda _, format: answers[format])
    found = export.compare("resnet8", images)
    assert [found[of]["largest_difference"] for of in FORMATS] == [0, 0.5]


def test_a_picture_that_cannot_be_read_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    Image.new("RGB", (20, 20)).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_text("no picture")
    assert cli.run(export.main, ["--images", str(tmp_path)]) == 2
    said = capsys.readouterr()
    rule = "is no image of a known format: take it out"
    assert said.err == f"error: --images: {tmp_path / 'b.jpg'} {rule}\n"


def test_the_page_says_what_the_record_says():
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    assert f"{RECORD['images']} COCO photographs at {RECORD['image_size']} pixels" in page
    assert RECORD["images"] == 256
    assert set(RECORD["networks"]) == set(export.ARCHS)
    for arch, found in RECORD["networks"].items():
        (line,) = re.findall(rf"^\| {arch} \| ([\d.e-]+ \| [\d.e-]+ \| [\d.e-]+) \|$", page, re.M)
        differences = [found[of]["largest_difference"] for of in FORMATS]
        assert [float(cell) for cell in line.split(" | ")] == [found["largest_logit"], *differences]
        assert max(differences) <= TOLERANCE
