"""The benchmarks of speed in their smallest sizes: what they compare, and that they run through.

How fast anything is depends on the machine, and is asserted nowhere.
"""

import contextlib
import json
import os
import statistics
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from benchmarks import (
    baseline,
    loader,
    losses,
    output,
    pairs,
    photographs,
    scale,
    startup,
    threads,
    throughput,
)
from data.formatted import load_labels
from losses import build_scheme
from models import build_model


def published(main, capsys, tmp_path, *flags):
    """What a benchmark prints, which it writes to the file too."""
    out = tmp_path / "result.json"
    assert cli.run(main, [*flags, "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(out.read_text())
    return found


def assert_compared(found, baseline_rate, num_pairs):
    """The ratios are ours by the baseline's."""
    assert len(found["ratios"]) == num_pairs
    assert found["ratio"] == pytest.approx(statistics.median(found["ratios"]), rel=1e-3)
    if num_pairs == 1:
        assert found["ratio"] == pytest.approx(found["ours_images_per_s"] / baseline_rate, rel=2e-3)


def test_what_is_measured_takes_turns():
    calls = []
    kinds = {name: lambda name=name: calls.append(name) or len(calls) for name in "AB"}
    assert pairs.alternate(kinds, 2) == {"A": [1, 3], "B": [2, 4]}
    assert calls == ["A", "B", "A", "B"]


def test_ratios_are_taken_pair_by_pair():
    found = pairs.compared([1, 2, 4], [2, 2, 16])
    assert found == {"baseline_images_per_s": 2, "ours_images_per_s": 2,
                     "ratio": 2, "ratios": [2, 1, 4]}  # fmt: skip


def test_a_rate_is_of_whole_epochs_that_fill_the_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(pairs.time, "perf_counter", lambda: clock[0])

    def epoch():
        clock[0] += 2
        return 10

    assert pairs.rate(epoch, 5) == 5
    assert clock == [6]
    assert pairs.rate(epoch, 0) == 5
    assert clock == [8]


def test_the_first_epoch_does_not_count():
    taken = iter([7, 5, 5])
    assert len(pairs.rates({"only": lambda: next(taken)}, 2, 0)["only"]) == 2
    assert next(taken, None) is None


def test_made_photographs_are_the_same_each_time_and_no_flat_pictures(tmp_path):
    first, again = (photographs.make_photographs(tmp_path / name, 2) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    for path in first:
        with Image.open(path) as image:
            assert (image.format, image.size) == ("JPEG", (640, 480))
        assert 50_000 < path.stat().st_size < 200_000
    assert photographs.photographs(tmp_path) == first + again


def test_a_folder_of_photographs_takes_them_again_where_they_are_few(tmp_path):
    made = photographs.make_photographs(tmp_path / "made", 2)
    folder = photographs.make_folder(tmp_path / "set", made, 5, 3)
    names = np.load(folder / "formatted_train_images.npy")
    read = [(folder / "pictures" / name).read_bytes() for name in names]
    assert len(set(names)) == 5
    assert read == [made[place % 2].read_bytes() for place in range(5)]
    assert load_labels(folder / "formatted_train_labels.npy").any(axis=1).all()
    assert (load_labels(folder / "formatted_train_labels_obs.npy") == 1).sum(axis=1).max() == 1


@pytest.mark.parametrize("name", baseline.SCHEMES)
def test_the_plain_loss_is_ours(name):
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 30, generator=rng, dtype=torch.float64)
    observed = torch.randint(-1, 2, (8, 30), generator=rng).double()
    scheme = build_scheme(name, num_classes=30, delta_rel=20)
    ours = scheme(logits, observed, epoch=2, index=torch.arange(8))
    loss, large = baseline.modified_loss(logits, observed, name, rate=0.2)
    assert loss.item() == pytest.approx(ours.loss.item(), rel=1e-12)
    if name != "AN":
        assert torch.equal(large, ours.selected)
        assert large.sum() > 0


def test_the_plain_network_and_pipeline_give_our_logits(tmp_path):
    from image_files import read_image

    (path,) = photographs.make_photographs(tmp_path, 1)
    model = build_model("resnet8", 3, image_size=32).eval()
    ours = model(read_image(path, 32)[None])
    image, labels, place = baseline.Photographs([path], torch.ones(1, 3), 32, flip=False)[0]
    net = baseline.Net(model)
    torch.testing.assert_close(net(image[None]), ours, rtol=0, atol=0.02)
    assert ours.std() > 0.02
    assert all(parameter.is_contiguous() for parameter in net.parameters())
    assert (labels.tolist(), place) == ([1, 1, 1], 0)


def test_an_epoch_of_the_plain_loop_trains_and_corrects_for_good():
    torch.manual_seed(0)
    labels = torch.zeros(6, 4)
    labels[:, 0] = 1
    images = baseline.Pictures(torch.randint(256, (6, 3, 16, 16), dtype=torch.uint8), labels)
    net = baseline.Net(build_model("resnet8", 4, image_size=16))
    before = net.head.weight.clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loader = baseline.make_loader(images, 3, num_workers=0)
    cpu = torch.device("cpu")
    loss, predictions = baseline.train_one_epoch(net, optimizer, loader, "LL-Cp", 0.2, cpu)
    assert predictions.shape == (6, 4)
    assert loss > 0
    assert not torch.equal(net.head.weight, before)
    assert labels.sum() == 6 + 2 * 2, "ceil(0.2 * 9) in each of two mini-batches"


def test_pytorch_is_as_it_was_after_the_plain_loop():
    torch.set_float32_matmul_precision("high")
    try:
        with baseline.pytorch_defaults():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_the_loader_benchmark(tmp_path, capsys):
    small = ("--count", "4", "--image_size", "32", "--bsize", "2", "--num_workers", "0")
    found = published(loader.main, capsys, tmp_path, *small, "--pairs", "1", "--seconds", "0")
    assert (found["images"], found["num_workers"]) == (4, 0)
    for kind in ("uncached", "cached"):
        assert_compared(found[kind], found["baseline_images_per_s"], 1)
    assert found["device_ms_per_image"] > 0
    assert 0 <= found["mean_difference_of_255"] < 2


def test_other_pixels_than_those_of_pil_are_noticed(tmp_path, monkeypatch):
    paths = photographs.make_photographs(tmp_path, 1)
    right = loader.read_image
    monkeypatch.setattr(loader, "read_image", lambda path, size: right(path, size).flip(-1))
    assert loader.mean_difference(paths, 32) > 2


def test_the_throughput_benchmark_on_photographs(tmp_path, capsys):
    small = "--dataset photographs --count 12 --classes 4 --arch resnet8 --image_size 16 --bsize 4"
    more = "--num_workers 1 --cache disk --mod_scheme LL-Cp --pairs 1 --seconds 0"
    found = published(throughput.main, capsys, tmp_path, *f"{small} {more}".split())
    assert (found["images"], found["classes"], found["cache"]) == (10, 4, "disk")
    assert_compared(found, found["baseline_images_per_s"], 1)
    assert found["synthetic_images_per_s"] > 0
    assert found["share_of_synthetic"] > 0
    assert 0 < found["share_of_time"]["outside"] < 1


def test_the_throughput_benchmark_trains_both_on_the_same_digits(tmp_path):
    args = throughput.parse_flags(["--bsize", "16"])
    few = ("--ss_frac_train", "0.02", "--ss_frac_val", "0.02")
    with contextlib.ExitStack() as held:
        run = throughput.start(args, tmp_path, held, few)
        found = throughput.measure(run, pairs=2, seconds=0)
        assert throughput.share_of_time(run, lambda: 1)["outside"] == 1
        plain = throughput.plain_images(run)
        assert len(plain) == len(run.data.train) == 48
        assert torch.equal(plain.labels, torch.from_numpy(run.data.train.observed).float())
        pixels = run.data.train.images.rows[run.data.train.images.places].float()
        normal = (pixels - run.state.model.mean) / run.state.model.std
        torch.testing.assert_close(plain.images, normal, rtol=0, atol=1e-5)
    assert_compared(found, found["baseline_images_per_s"], 2)
    assert 0 < found["share_of_time"]["outside"] < 0.7, "nearly all is the network"
    assert found["training_gflops_per_image"] == pytest.approx(0.1648, rel=0.01)


def test_both_read_the_same_files(tmp_path):
    flags = "--dataset photographs --count 12 --classes 4 --arch resnet8 --image_size 16 --bsize 4"
    for cache in ("none", "memory"):
        args = throughput.parse_flags([*flags.split(), "--num_workers", "0", "--cache", cache])
        with contextlib.ExitStack() as held:
            run = throughput.start(args, tmp_path / cache, held)
            plain = throughput.plain_images(run)
        assert [path.name for path in plain.paths] == run.data.train.names.tolist()


def test_digits_take_no_pictures(tmp_path, capsys):
    flags = ["--dataset", "digits", "--images", str(tmp_path)]
    assert cli.run(throughput.main, flags) == 2
    assert "leave --dataset digits out" in capsys.readouterr().err
    assert cli.run(throughput.main, flags[2:]) == 2
    assert "there is no .jpg" in capsys.readouterr().err


def test_the_losses_benchmark_measures_every_scheme(tmp_path, capsys):
    small = ("--bsize", "4", "--classes", "30", "--pairs", "1")
    found = published(losses.main, capsys, tmp_path, *small)
    halves = {f"{name}, rate 0.5" for name in ("LL-R", "LL-Ct", "LL-Cp")}
    assert set(found["schemes"]) == set(losses.SCHEMES) | halves
    assert found["bce_ms"] > 0
    for row in found["schemes"].values():
        assert row["ratio"] == row["ratios"][0] > 0
        assert row["ms"] > 0


def test_the_large_losses_are_as_many_as_is_said():
    rates = {name: scheme.rate(epoch) for name, scheme, epoch in losses.schemes(4, 30)}
    assert rates["LL-R"] == rates["LL-Ct"] == pytest.approx(0.018)
    assert rates["LL-Cp"] == pytest.approx(0.002)
    assert {rate for name, rate in rates.items() if "0.5" in name} == {0.5}
    labels = losses.random_labels(100, 100, torch.device("cpu"))
    assert set(labels.unique().tolist()) == {-1, 0, 1}


def test_the_startup_benchmark_stops_at_the_first_step(tmp_path):
    startup.run(startup.commands(tmp_path)["first_step_s"])
    assert (tmp_path / "run" / "config.json").exists()
    assert not (tmp_path / "run" / "metrics.csv").exists()


def test_the_startup_benchmark_fails_where_nothing_steps(tmp_path):
    command = [*startup.commands(tmp_path)["first_step_s"], "--dry_run"]
    with pytest.raises(subprocess.CalledProcessError):
        startup.run(command)


def test_the_startup_benchmark_takes_the_differences(tmp_path, capsys, monkeypatch):
    waits = {"help_s": 0.0, "imports_s": 0.0, "first_step_s": 0.3}
    programs = {name: ["-c", f"import time; time.sleep({wait})"] for name, wait in waits.items()}
    monkeypatch.setattr(startup, "commands", lambda place: programs)
    found = published(startup.main, capsys, tmp_path, "--pairs", "1")
    difference = found["first_step_s"] - found["imports_s"]
    assert found["first_step_over_imports_s"] == pytest.approx(difference, abs=1e-3)
    assert difference > 0.1


def test_the_scale_benchmark_has_a_row_for_every_value(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scale, "run_together", lambda number, *rest: 10.0 + number)
    values = {"images": [40, 60], "classes": [5, 9], "pixels": [16], "processes": [2, 3]}
    words = [word for axis, some in values.items()
             for word in (f"--{axis}", ",".join(map(str, some)))]  # fmt: skip
    small = (*words, "--arch", "resnet8", "--pairs", "1", "--seconds", "0")
    found = published(scale.main, capsys, tmp_path, *small)
    for axis, some in values.items():
        assert [row["value"] for row in found[axis]] == some
        for row in found[axis]:
            assert_compared(row, row["baseline_images_per_s"], 1)
    assert {row["ratio"] for axis in values for row in found[axis]} != {1}, "two ways, not one"
    assert [row["ours_images_per_s"] for row in found["processes"]] == [12, 13]
    # 80 classes: two tables of floats; two of bytes and one of corrections
    assert found["images"][0]["label_bytes"] == {"baseline": 640, "ours": 240}


def test_the_threads_benchmark_has_every_kind_alone_and_beside(tmp_path, capsys, monkeypatch):
    speeds = iter(range(1, 13))
    asked = []

    def speed(settings, share, place):
        asked.append((settings, share))
        return float(next(speeds))

    monkeypatch.setattr(threads, "speed", speed)
    found = published(threads.main, capsys, tmp_path, "--pairs", "2", "--share", "0.5")
    assert asked == [(settings, 0.5) for settings in threads.KINDS.values()] * 4
    assert found["images_per_s"]["as it is"] == {"alone": 2.5, "beside_a_busy_program": 8.5}
    assert list(found["images_per_s"]) == list(threads.KINDS)


def test_a_program_keeps_a_core_busy_and_no_longer():
    before = programs_started()
    with threads.busy_core():
        assert len(programs_started()) == len(before) + 1
    assert programs_started() == before


def programs_started():
    """The programs that this process has started and that still run."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return path.read_text().split() if path.exists() else pytest.skip("needs Linux's /proc")


@pytest.mark.parametrize("benchmark", [loader, losses, scale, startup, threads, throughput])
@pytest.mark.parametrize("flag", ["--pairs=0", "--typo=1"])
def test_a_wrong_flag_costs_one_line(benchmark, flag, capsys):
    assert cli.run(benchmark.main, [flag]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert not said.out


@pytest.mark.parametrize("benchmark", [loader, losses, scale, startup, threads, throughput])
def test_every_flag_says_what_it_does(benchmark, monkeypatch):
    parsers = []
    monkeypatch.setattr(cli.Parser, "parse_args", lambda self, argv: parsers.append(self) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        benchmark.main([])
    (parser,) = parsers
    flags = [action for action in parser._actions if action.option_strings]
    assert {"--pairs", "--out"} < {flag.option_strings[0] for flag in flags}
    assert all(flag.help for flag in flags)


def test_a_result_names_the_gpu_where_there_is_one(monkeypatch, capsys):
    output.publish({}, None)
    found = json.loads(capsys.readouterr().out)
    assert "Fast GPU" not in found["machine"]
    assert found["torch"] == torch.__version__
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Fast GPU")
    output.publish({}, None)
    machine = json.loads(capsys.readouterr().out)["machine"]
    assert machine.endswith(", Fast GPU")
