"""The program as a process: what is imported, exit statuses, signals."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from config import parse_args
from naming import written
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
    schemes = "{AN,IU,WAN,LSAN,EPR,ROLE,EM,EM+APL,ASL,CSL,LL-R,LL-Ct,LL-Cp}"
    for word in (f"--mod_scheme {schemes}", "> 0 and < 1", "default: 1200"):
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


def test_a_signal_to_all_while_the_images_are_checked_is_no_fault(tmp_path):
    """A job scheduler ends the loader workers too; nothing has begun yet."""
    folder = tiny.make_folder(tmp_path, num_train=4000)
    config = tiny.settings(folder, tmp_path, "--num_workers", "2")
    process = start(config, "--check_images")
    deadline = time.monotonic() + 60
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while len(children.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)  # PyTorch complains of a loader that is ended while it is being made
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert err.splitlines()[-1] == "stopped by SIGTERM"
    assert "Traceback" not in err


def test_ctrl_c_that_ends_the_reader_of_a_pipe_too_is_still_130(tmp_path):
    """As of `python main.py ... | tee log` in a terminal."""
    config = tiny.settings(tiny.make_folder(tmp_path), tmp_path, "--num_epochs", "2000")
    with start(config) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("epoch  1/"):
            pass
        process.stdout.close()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert (config.run_dir / "train.log").read_text().endswith("--resume goes on\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_closed_streams_are_no_fault(tmp_path, closed):
    folder = tiny.make_folder(tmp_path)
    words = shlex.join(words_of(tiny.settings(folder, tmp_path, "--num_epochs", "1")))
    done = subprocess.run(f"{shlex.quote(sys.executable)} main.py {words} {closed}", cwd=ROOT,
                          shell=True, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "summary.json").exists()


def words_of(config):
    settings = config.settings().items()
    return [w for n, v in settings if n != "weights" for w in (f"--{n}", written(v))]


def start(config, *more):
    """The process of a run, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-u", "main.py", *words_of(config), *more],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_keeps_its_epochs_and_says_how_to_go_on(tmp_path, number, status):
    """The signal reaches the loader workers too, as from a terminal or a job scheduler."""
    folder = tiny.make_folder(tmp_path)
    config = tiny.settings(folder, tmp_path, "--num_epochs", "2000", "--num_workers", "2")
    process = start(config)
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
