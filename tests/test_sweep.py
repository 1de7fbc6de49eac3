"""A real sweep by its script: killed in the middle and started again, its table is the same."""

import contextlib
import functools
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from config import parse_args
from files import is_locked
from folder import LOCK
from tests import faults, tiny
from tools.finished import find_runs
from tools.report_tables import results
from tools.unfinished import MISSING, STOPPED
from train import run_train

ROOT = Path(__file__).parents[1]
TINY = (
    "--arch resnet8 --use_pretrained false --image_size 16 --bsize 4 --num_workers 0 --lr 1e-3 "
    "--early_stop_drop 100 --num_epochs 6 --device cpu"
)
# first in PATH: the script's runs become small ones, whose processes `served` starts
PYTHON = f"""#!/usr/bin/env bash
python={shlex.quote(sys.executable)}
if [[ $1 == main.py ]]; then
    mkfifo "$ASKED/$$.status"
    printf '%s\\n' "${{@:2}}" >"$ASKED/$$" && mv "$ASKED/$$" "$ASKED/$$.words"
    read -r status <"$ASKED/$$.status"
    exit "$status"
else
    exec "$python" "$@"
fi
"""


@pytest.fixture
def place(tmp_path):
    """A folder with a data set, and with the stand-in for Python."""
    tiny.make_folder(tmp_path)
    for name in ("bin", "tmp", "asked"):
        (tmp_path / name).mkdir()
    for name, text in (("python", PYTHON), ("nvidia-smi", "#!/bin/sh\nexit 9\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    with served(tmp_path / "asked", tmp_path / "log"):
        yield tmp_path


@contextlib.contextmanager
def served(asked, log):
    """Who asks for main.py gets a process that costs no import, in the process group of his own."""
    is_over = threading.Event()

    def serve():
        while not is_over.wait(0.02):
            for path in asked.glob("*.words"):
                words = path.read_text().splitlines()
                path.unlink()
                answer(path.with_suffix(".status"), words)

    def answer(path, words):
        with contextlib.suppress(OSError):  # who asked was killed
            join = functools.partial(os.setpgid, 0, os.getpgid(int(path.stem)))
            status = faults.start(words, log, log, before=join).status()
            with open(os.open(path, os.O_WRONLY | os.O_NONBLOCK), "w") as file:
                file.write(f"{status if status >= 0 else 128 - status}\n")

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield
    finally:
        is_over.set()
        server.join()


def configs(place, root):
    """The settings of the runs, in the order of the script."""
    flags = f"--dataset {place / 'tiny'} --mod_scheme LL-R --save_path {root} {TINY}".split()
    return [
        parse_args([*flags, "--seed", seed, "--delta_rel", delta])
        for seed in "01"
        for delta in ("5", "10")
    ]


def start(place):
    """The sweep, in a process group of its own."""
    environment = {
        **os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(place / "tmp"),
        "DATASET": str(place / "tiny"), "SCHEMES": "LL-R", "DELTAS": "5 10", "SEEDS": "0 1",
        "ROOT": str(place), "RESULTS": str(place / "runs"), "JOBS": "1", "QUICK": "",
        "ASKED": str(place / "asked"), "FLAGS": TINY,
    }  # fmt: skip
    with (place / "out").open("w") as out:
        return subprocess.Popen(
            ["bash", ROOT / "scripts" / "sweep_delta_rel.sh"],
            env=environment, preexec_fn=os.setpgrp, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip


def wait_until(holds):
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end, "still waiting"
        time.sleep(0.01)


def kill_in_the_middle(place, run_dir, signum):
    """Start the sweep, and stop all of it once this run has an epoch."""
    metrics = run_dir / "metrics.csv"
    sweep = start(place)
    wait_until(lambda: sweep.poll() is not None or metrics.exists())
    os.killpg(sweep.pid, signum)
    assert sweep.wait() != 0, (place / "out").read_text()
    wait_until(lambda: not is_locked(run_dir / LOCK))
    assert not (run_dir / "summary.json").exists(), "it was too late"


def states(folder):
    """How many runs are finished, or what else became of them."""
    found = find_runs(folder)
    return {"finished": len(found.runs), **Counter(other.status for other in found.others)}


def cells(folder):
    table = results(find_runs(folder))
    return [dict(zip(table.head, row, strict=True)) for row in table.rows], table.strong


def metrics_of(config):
    """The rows of metrics.csv, times left out."""
    lines = (config.run_dir / "metrics.csv").read_text().splitlines()
    return [line.split(",")[:-2] for line in lines]


def test_a_sweep_that_is_killed_twice_ends_with_the_table_of_one_that_is_not(place):
    """In its second run as by a job scheduler, in its third as by a power loss."""
    runs, calm = configs(place, place / "runs"), configs(place, place / "calm")
    kill_in_the_middle(place, runs[1].run_dir, signal.SIGTERM)
    assert states(place / "runs") == {"finished": 1, STOPPED: 1, MISSING: 2}
    kill_in_the_middle(place, runs[2].run_dir, signal.SIGKILL)
    assert states(place / "runs") == {"finished": 2, STOPPED: 1, MISSING: 1}
    assert start(place).wait() == 0, (place / "out").read_text()
    assert states(place / "runs") == {"finished": 4}
    for config in runs[1:3]:
        assert "resumed after epoch" in (config.run_dir / "train.log").read_text()

    for config in calm:
        run_train(config)
    assert cells(place / "runs") == cells(place / "calm")
    rows, strong = cells(place / "calm")
    assert [row["seeds"] for row in rows] == ["0, 1"] * 2
    assert len(strong) == 1
    assert "| **LL-R** |" in (place / "out").read_text()
    assert [*map(metrics_of, runs)] == [*map(metrics_of, calm)]
