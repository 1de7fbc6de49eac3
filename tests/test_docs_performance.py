"""docs/performance.md says what its records say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from config import FLAGS
from losses import SCHEMES
from record import RunRecord

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
RECORDS = {
    path.stem: json.loads(path.read_text()) for path in (ROOT / "docs/performance").glob("*.json")
}


def numbers(start):
    """The numbers in the last three cells of the row that starts so."""
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| {start}"))
    return [float(word) for word in re.findall(r"\d+\.?\d*", " ".join(line.split(" | ")[-3:]))]


def speeds(record):
    return [record[name] for name in ("baseline_images_per_s", "ours_images_per_s", "ratio")]


@pytest.mark.parametrize(
    ("start", "record"),
    [
        ("digits, whole", "throughput_digits"),
        ("ResNet-50 at 128 pixels from", "throughput_resnet50"),
    ],
)
def test_the_speed_of_training(start, record):
    assert numbers(start) == pytest.approx(speeds(RECORDS[record]), rel=0.01)


def test_the_speed_of_reading():
    record = RECORDS["loader"]
    for start, kind in (("JPEGs to", "uncached"), ("the same, decoded", "cached")):
        expected = speeds({**record, **record[kind]})
        assert numbers(start) == pytest.approx(expected, rel=0.01)
    assert record["uncached"]["ratio"] >= 2
    assert record["cached"]["ratio"] >= 20
    assert record["mean_difference_of_255"] < 2
    assert f"{record['mean_difference_of_255']:.3f} of 255" in PAGE
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"{record['uncached']['ratio']:.1f} times as fast as the usual pipeline" in readme
    assert f"{record['cached']['ratio']:.0f} times once they are decoded" in readme


def test_the_cost_of_losses():
    found = RECORDS["losses"]["schemes"]
    bce, *of_ll_r = numbers("loss of LL-R")
    assert bce == pytest.approx(RECORDS["losses"]["bce_ms"], rel=0.02)
    assert of_ll_r == pytest.approx([found["LL-R"][key] for key in ("ms", "ratio")], rel=0.02)
    others = [found[name][key] for key in ("ms", "ratio") for name in ("LL-Ct", "LL-Cp")]
    assert numbers("the same of LL-Ct") == pytest.approx(others, rel=0.02)
    assert max(found[name]["ratio"] for name in ("LL-R", "LL-Ct", "LL-Cp")) < 6, "as said on paper"
    assert set(SCHEMES) <= set(found)
    assert max(found.items(), key=lambda item: item[1]["ratio"])[0] == "EM+APL"


def test_the_start():
    record = RECORDS["startup"]
    expected = [record[name] for name in ("imports_s", "first_step_s")]
    assert numbers("until the first") == pytest.approx(expected, rel=0.02)
    assert f"takes {record['help_s']:.2f} s" in PAGE
    assert record["first_step_over_imports_s"] < 2
    assert record["help_s"] < 0.5


def test_where_the_time_goes():
    for start, record in (("digits | ", "digits"), ("ResNet-50 at 128 pixels | ", "resnet50")):
        (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| {start}"))
        said = [float(word) for word in re.findall(r"([\d.]+) %", line)]
        parts = RECORDS[f"throughput_{record}"]["share_of_time"].values()
        assert said == pytest.approx([100 * part for part in parts], abs=0.5)
    assert RECORDS["throughput_digits"]["share_of_time"]["outside"] < 0.1


def test_threads_on_cores_that_others_use():
    for start, speeds_of in RECORDS["threads"]["images_per_s"].items():
        (line,) = (
            line for line in PAGE.splitlines() if line.replace("`", "").startswith(f"| {start} |")
        )
        said = [float(cell) for cell in line.split("|")[2:4]]
        assert said == pytest.approx([*speeds_of.values()], rel=0.01)


def test_how_the_cost_grows():
    for axis, start in (
        ("images", "images of"), ("classes", "classes, all"), ("pixels", "pixels, Res"),
        ("processes", "processes, Res"),
    ):  # fmt: skip
        (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| {start}"))
        cells = re.findall(r"([\d,]+): ([\d.,]+) / ([\d.,]+)", line)
        said = [[float(word.replace(",", "")) for word in cell] for cell in cells]
        rows = RECORDS["scale"][axis]
        expected = [[row["value"], *speeds(row)[:2]] for row in rows]
        assert np.array(said) == pytest.approx(np.array(expected), rel=0.02)


def test_bf16_agrees_with_float32():
    """Within what seeds differ by: test mAP, and the mean training loss of each epoch."""
    names = [f"digits_LL-R_2.5_adam_0.001_seed{seed}" for seed in (1, 2, 3)]
    runs = {
        "bf16": [RunRecord(ROOT / "results/bf16" / f"{name}_amp-bf16") for name in names],
        "float32": [RunRecord(ROOT / "results/digits" / name) for name in names],
    }
    maps = {kind: [run.read_summary()["test_map"] for run in some] for kind, some in runs.items()}
    for values in maps.values():
        assert f"{np.mean(values):.2f} +- {np.std(values, ddof=1):.2f}" in PAGE
    losses = {
        kind: np.array([[row["train_loss"] for row in run.read_metrics()] for run in some])
        for kind, some in runs.items()
    }
    between = losses["float32"].std(0, ddof=1)
    apart = abs(losses["float32"].mean(0) - losses["bf16"].mean(0)) / between
    assert apart.max() < 2, "as the page says"


def test_every_flag_of_the_page_exists():
    of_others = {"images", "count", "pairs", "nproc_per_node", "max", "nnodes", "help"}
    assert set(re.findall(r"--(\w+)", PAGE)) <= FLAGS.keys() | of_others
