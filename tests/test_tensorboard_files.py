"""What --tensorboard writes, read back: curves, hyperparameters, images, and no step twice."""

import io
import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from cli import UserError
from config import parse_args
from datasets import load_data
from hardware import find_hardware
from tensorboard_files import TensorBoard, examples_of, naming_settings
from tests import tiny
from tests.test_instrumentation import ROW
from train import load_run

PNG = io.BytesIO()
Image.new("RGB", (3, 2)).save(PNG, format="PNG")


def test_tensorboard_that_is_not_installed_costs_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="--tensorboard needs a package: pip install tensorboard"):
        TensorBoard(tmp_path)


def read(run_dir):
    """All events of a run, with the rules of TensorBoard for those that a restart drops."""
    name = "tensorboard.backend.event_processing.event_accumulator"
    accumulators = pytest.importorskip(name, reason="needs tensorboard")
    everything = {kind: 0 for kind in ("scalars", "images", "tensors")}
    return accumulators.EventAccumulator(str(run_dir / "tensorboard"), everything).Reload()


def steps(events, tag):
    return [event.step for event in events.Scalars(tag)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of three epochs with TensorBoard: its summary and its folder."""
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    root = tmp_path_factory.mktemp("run")
    return tiny.train(tiny.make_folder(root), root / "results", "--tensorboard")


def test_every_number_of_metrics_is_a_scalar(finished):
    _, run_dir = finished
    events = read(run_dir)
    head, *rows = [line.split(",") for line in (run_dir / "metrics.csv").read_text().splitlines()]
    names = [name for name in head if name not in ("epoch", "phase")]
    assert {*names} < {*events.Tags()["scalars"]}
    for name in names:
        told = {row[0]: float(row[head.index(name)]) for row in rows if row[head.index(name)]}
        shown = {str(event.step): event.value for event in events.Scalars(name)}
        assert shown == pytest.approx(told, rel=1e-5)


def test_the_audit_curves_are_in_one_chart(finished):
    from tensorboard.plugins.custom_scalar import layout_pb2

    (layout,) = read(finished[1]).Tensors("custom_scalars__config__")
    (category,) = layout_pb2.Layout.FromString(layout.tensor_proto.string_val[0]).category
    patterns = [tag for chart in category.chart for tag in chart.multiline.tag]
    assert "^loss_(tp|tn|fn)$" in patterns


def hyperparameters(events):
    """The settings as the HPARAMS tab has them."""
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    return {name: value.string_value or value.number_value for name, value in start.hparams.items()}


def test_the_settings_stand_beside_the_result(finished):
    summary, run_dir = finished
    events = read(run_dir)
    values = hyperparameters(events)
    assert values["mod_scheme"] == "LL-R"
    assert (values["delta_rel"], values["bsize"], values["seed"]) == (10, 4, 0)
    assert values["use_pretrained"] == "false"
    for name in ("test_map", "val_map"):
        (final,) = events.Scalars(f"final/{name}")
        assert final.value == pytest.approx(summary[name], rel=1e-6)


def test_validation_images_are_shown_at_the_end(finished):
    (shown,) = read(finished[1]).Images("validation images")
    with Image.open(io.BytesIO(shown.encoded_image_string)) as picture:
        assert picture.size == (shown.width, shown.height)
        pixels = np.array(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 100


def test_settings_are_numbers_or_text():
    config = parse_args(["--dataset", "digits", "--mod_scheme", "ASL", "--gammas", "1,3", "--flip"])
    values = naming_settings(config)
    assert list(values)[:4] == ["dataset", "mod_scheme", "delta_rel", "optimizer"]
    assert (values["gammas"], values["flip"], values["seed"]) == ("1,3", "true", 0)


@pytest.mark.parametrize("count", [1, 3])
def test_a_resumed_run_has_no_step_twice(finished, tmp_path, count):
    """Stopped before the end is written, or once it was, it goes on with what was there."""
    for stop in range(count):
        board = TensorBoard(tmp_path)
        for step in range(1 + stop, 4 + stop):
            board.write(ROW, step)
        board.finish({"seed": 1}, {"test_map": 50.0 + stop}, PNG.getvalue(), 3 + stop)
        board.close()
    board = TensorBoard(tmp_path)  # all epochs were finished, the summary was not
    board.finish({"seed": 1}, {"test_map": 70.0}, PNG.getvalue(), 2 + count)
    board.close()
    events = read(tmp_path)
    assert steps(events, "val_map") == [*range(1, 3 + count)]
    assert steps(events, "final/test_map") == [3 + count]
    assert events.Scalars("final/test_map")[0].value == 70
    assert len(events.Images("validation images")) == 1


def test_a_caption_says_what_is_given_true_and_predicted(finished, monkeypatch):
    _, run_dir = finished
    model, config, classes = load_run(run_dir)
    val, told = load_data(config).val, []
    monkeypatch.setattr(
        "tensorboard_files._drawn", lambda images, captions: told.extend(captions) or b""
    )
    examples_of(model.train(), val, classes, find_hardware("cpu", 0, "off"))
    assert not model.training  # else the statistics of its batch norms would change
    assert len(told) == len(val)
    given, true, predicted = told[0].splitlines()

    def named(labels):
        return ", ".join(classes[k] for k in np.flatnonzero(labels[0] == 1).tolist())

    assert given == f"given: {named(val.observed)}"
    assert true == f"true: {named(val.truth)}"
    batch, _ = val.images.__getitems__([0])
    with torch.inference_mode():
        best = int(model(batch)[0].argmax())
    assert predicted.startswith(f"predicted: {classes[best]} ")


def test_classes_without_truth_and_sparse_labels_are_captioned(tmp_path):
    folder = tiny.make_sparse_folder(tmp_path)
    config = tiny.settings(folder, tmp_path)
    val = load_data(config).val
    names = [f"{k} \n$x$" for k in range(tiny.MANY_CLASSES)]
    model = _Constant(tiny.MANY_CLASSES)
    assert examples_of(model, val, names, find_hardware("cpu", 0, "off")).startswith(b"\x89PNG")


class _Constant(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes

    def forward(self, images):
        return torch.zeros(len(images), self.num_classes)


def test_a_folder_that_takes_nothing_is_one_line(finished, tmp_path):
    (tmp_path / "tensorboard").write_text("in the way")
    with pytest.raises(UserError, match="--tensorboard: cannot write in "):
        TensorBoard(tmp_path).write(ROW, 1)
    assert json.loads((finished[1] / "summary.json").read_text())
