"""The program as a process: what is imported, exit statuses, signals."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from config import parse_args
from tests import tiny

ROOT = Path(__file__).parents[1]
OFFICIAL = (
    "--ss_seed 999 --ss_frac_train 1.0 --ss_frac_val 1.0 --use_feats false --val_frac 0.2 "
    "--split_seed 1200 --train_set_variant observed --val_set_variant clean --arch resnet50 "
    "--freeze_feature_extractor false --use_pretrained true --num_epochs 10 "
    "--save_path ./results --exp_name exp_default --num_workers 4 --gpu_num 0 --dataset pascal "
    "--optimizer sgd --bsize 16 --lr 1e-5 --lr_mult 10 --mod_scheme LL-Cp --delta_rel 0.5"
)


def run(*words, **options):
    """The finished process of main.py with these words."""
    command = [sys.executable, "main.py", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)


@pytest.mark.parametrize("words", [["--help"], ["--dry_run"], ["--lrr", "1"], ["--lr", "x"]])
def test_help_dry_run_and_mistakes_import_no_heavy_package(words):
    program = (
        "import sys, cli, main\n"
        "try: cli.run(main.main, sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'matplotlib', 'numpy', 'PIL'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_help_shows_every_flag_with_its_range():
    done = run("--help")
    assert done.returncode == 0
    for word in ("--mod_scheme {AN,LL-R,LL-Ct,LL-Cp}", "> 0 and < 1", "default: 1200"):
        assert word in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "flag"), [("--lrr 1", "--lr"), ("--bsize 0", "--bsize"), ("--dataset x", "--dataset")]
)
def test_a_mistake_is_one_line_and_status_2(words, flag):
    done = run(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert flag in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_official_command_line_keeps_its_meaning():
    config = parse_args(OFFICIAL.split())
    words = iter(OFFICIAL.split())
    for flag, text in zip(words, words, strict=True):
        assert str(getattr(config, flag[2:])).lower() in (text.lower(), str(_number(text)))
    assert run(*OFFICIAL.split(), "--dry_run").returncode == 0


def _number(text):
    try:
        return float(text)
    except ValueError:
        return text


def test_missing_data_is_one_line_with_the_command_that_makes_it(tmp_path):
    done = run("--dataset", "coco", "--data_root", tmp_path, "--save_path", tmp_path / "runs")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"python -m data.prepare coco --data_root {tmp_path}" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_keeps_its_epochs_and_says_how_to_go_on(tmp_path, number, status):
    """The signal reaches the loader workers too, as from a terminal or a job scheduler."""
    folder = tiny.make_folder(tmp_path)
    config = tiny.settings(folder, tmp_path, "--num_epochs", "2000", "--num_workers", "2")
    words = [w for n, v in config.settings().items() if n != "weights" for w in (f"--{n}", str(v))]
    process = subprocess.Popen(
        [sys.executable, "-u", "main.py", *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch  2/"):
            os.killpg(process.pid, number)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == status, err
    assert "--resume goes on" in out
    assert err.splitlines() == [
        "stopping at the next step; once more stops at once",
        f"stopped by {number.name}",
    ]

    finished = len((config.run_dir / "metrics.csv").read_text().splitlines()) - 1
    assert finished >= 2
    log = (config.run_dir / "train.log").read_text()
    assert f"epochs 1 to {finished} are kept: the same command with --resume goes on" in log
