"""tools.export: the file answers what the model does, says how to use it, or is not there."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import VisionTransformer

import cli
from backbones import PatchMap
from cli import UserError
from models import ImageClassifier, build_model
from tests import tiny
from tools import export, exported
from train import load_run

PAGE = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
ONNX, TORCH = re.findall(r"^```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run of an epoch with BoostLU on the tiny folder."""
    root = tmp_path_factory.mktemp("run")
    folder = tiny.make_folder(root)
    _, run_dir = tiny.train(folder, root / "results", "--num_epochs", "1", "--boostlu", "5")
    return run_dir


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(np.random.RandomState(0).randint(0, 256, (5, 3, 16, 16), np.uint8))


def check(answers, run_dir, images):
    """The same logits as the model, for any number of images."""
    model, _, _ = load_run(run_dir)
    for count in (1, 2, 5):
        ours = model(images[:count]).detach()
        assert ours.shape == answers(images[:count]).shape == (count, tiny.NUM_CLASSES)
        assert torch.allclose(answers(images[:count]), ours, atol=1e-4, rtol=0)


def check_facts(facts, config):
    assert json.loads(facts["classes"]) == [f"class {k}" for k in range(tiny.NUM_CLASSES)]
    assert (facts["image_size"], facts["channel_order"], facts["epoch"]) == ("16", "RGB", "1")
    assert facts["command"].startswith(f"python main.py --dataset {config.dataset} ")
    assert {"input", "resize", "normalisation", "output", "git_commit_of_training"} <= set(facts)


def test_an_onnx_file_answers_what_the_model_does(run_dir, images, tmp_path, capsys, monkeypatch):
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason=f"needs {name}")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    out = tmp_path / "model.onnx"
    export.main([str(run_dir), "--format", "onnx", "--out", str(out)])
    compared, wrote = capsys.readouterr().out.splitlines()
    assert compared.startswith("largest difference of a logit on test images of ")
    assert wrote.startswith(f"wrote {out} (")
    session = onnxruntime.InferenceSession(str(out))
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.type, taken.shape) == (
        "images",
        "tensor(uint8)",
        ["batch", 3, 16, 16],
    )
    assert (given.name, given.shape) == ("logits", ["batch", tiny.NUM_CLASSES])
    check_facts(session.get_modelmeta().custom_metadata_map, load_run(run_dir)[1])
    check(exported.predictor(out.read_bytes(), "onnx"), run_dir, images)
    monkeypatch.chdir(tmp_path)
    out.rename("bestmodel.onnx")
    Image.new("RGB", (40, 30), "red").save("photo.png")
    exec(ONNX, {})
    assert capsys.readouterr().out.startswith("class ")
    out = tmp_path / "bestmodel.onnx"
    assert str(export.__file__).removesuffix("tools/export.py").encode() not in out.read_bytes()


def test_a_torch_export_file_answers_what_the_model_does(run_dir, images, capsys, monkeypatch):
    export.main([str(run_dir), "--format", "torch_export"])
    facts = {"facts.json": ""}
    program = torch.export.load(run_dir / "bestmodel.pt2", extra_files=facts)
    check_facts(json.loads(facts["facts.json"]), load_run(run_dir)[1])
    check(program.module(), run_dir, images)
    monkeypatch.chdir(run_dir)
    capsys.readouterr()
    exec(TORCH.replace("24, 24", "16, 16"), {})
    assert capsys.readouterr().out.startswith("class ")
    (run_dir / "bestmodel.pt2").unlink()


def small_vit():
    network = VisionTransformer(
        16, patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8
    )
    return ImageClassifier(PatchMap(network), 8, 3)


@pytest.mark.parametrize(
    "build",
    [lambda: build_model("resnet8", 3, image_size=16), small_vit],
    ids=["resnet8", "vit"],
)
def test_a_model_without_boost_is_the_same(build, images):
    model = build().eval()
    content = exported.packed(model, 16, "torch_export", {})
    answers = exported.predictor(content, "torch_export")
    assert exported.largest_difference(model, answers, images) <= 1e-5


def test_a_difference_is_found_and_nothing_is_written(run_dir, monkeypatch, tmp_path):
    out = tmp_path / "model.pt2"
    out.write_text("earlier")
    right = exported.predictor

    def wrong(content, format):
        answers = right(content, format)
        return lambda images: answers(images) + 2e-4 * (len(images) == 3)

    monkeypatch.setattr(exported, "predictor", wrong)
    with pytest.raises(UserError, match=r"2\.0e-04, more than 1e-04: nothing is written"):
        export.main([str(run_dir), "--format", "torch_export", "--out", str(out)])
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    assert out.read_text() == "earlier"


def test_where_nothing_can_be_written_nothing_is_computed(run_dir, monkeypatch, capsys):
    monkeypatch.setattr(exported, "packed", None)
    words = [str(run_dir), "--format", "torch_export", "--out"]
    for out in (run_dir, run_dir / "config.json" / "x"):
        assert cli.run(export.main, [*words, str(out)]) == 2
        said = capsys.readouterr()
        assert said.err.startswith(f"error: cannot write {out}: ")
        assert (said.out, said.err.count("\n")) == ("", 1)


def test_a_logit_that_is_no_number_differs(images):
    wrong = exported.largest_difference(
        lambda x: torch.zeros(len(x), 2), lambda x: torch.full((len(x), 2), torch.nan), images
    )
    assert not wrong <= export.TOLERANCE


def compared_on(capsys, *words):
    export.main(["--format", "torch_export", *map(str, words)])
    found = capsys.readouterr()
    return found.out.partition(" on ")[2].partition(":")[0], found.err


def test_it_is_compared_on_pictures_that_are_given_else_on_noise(run_dir, tmp_path, capsys):
    gone = tmp_path / "run"
    shutil.copytree(run_dir, gone)
    config = json.loads((gone / "config.json").read_text())
    (gone / "config.json").write_text(json.dumps({**config, "dataset": str(tmp_path / "gone")}))
    what, note = compared_on(capsys, gone)
    assert what == "noise"
    assert note.startswith("note: ")
    assert note.count("\n") == 1
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with pytest.raises(UserError, match="holds no picture"):
        compared_on(capsys, gone, "--images", pictures)
    Image.new("RGB", (40, 30), "red").save(pictures / "a.PNG")
    assert compared_on(capsys, gone, "--images", pictures) == (f"pictures of {pictures}", "")
    (pictures / "a.PNG").write_text("no picture")
    with pytest.raises(UserError, match=r"--images: .*a\.PNG is no image"):
        compared_on(capsys, gone, "--images", pictures)


def test_packages_that_are_not_installed_cost_one_line(run_dir, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.run(export.main, [str(run_dir), "--format", "onnx"]) == 2
    needs = "--format onnx needs packages: pip install onnx onnxscript onnxruntime"
    assert capsys.readouterr().err == f"error: {needs}\n"


def test_a_model_too_large_for_onnx_is_refused(monkeypatch):
    monkeypatch.setattr(exported, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="give --format torch_export"):
        exported.packed(build_model("resnet8", 3).eval(), 16, "onnx", {})


def test_a_network_that_pytorch_cannot_follow_costs_one_line(run_dir, monkeypatch, capsys):
    forward = ImageClassifier.forward

    def branching(self, images):
        return forward(self, images if images.sum() > 0 else images + 1)

    monkeypatch.setattr(ImageClassifier, "forward", branching)
    assert cli.run(export.main, [str(run_dir), "--format", "torch_export"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: PyTorch {torch.__version__} cannot export resnet8 as torch_e")
    assert said.count("\n") == 1
    assert not (run_dir / "model.pt2").exists()


def test_what_another_run_exported_does_not_outlive_it(run_dir, tmp_path):
    from folder import clear

    shutil.copytree(run_dir, tmp_path / "run")
    (tmp_path / "run" / "bestmodel.onnx").touch()
    clear(tmp_path / "run")
    assert not list((tmp_path / "run").glob("bestmodel*"))


def test_the_page_names_all_that_is_in_the_file(run_dir):
    config = load_run(run_dir)[1]
    for name in exported.facts_of(run_dir, config, ("a",), 1):
        assert f"`{name}`" in PAGE
