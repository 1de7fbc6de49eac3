"""Several processes: one run, the same labels selected, the same weights, one that writes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cli import ToldElsewhere, UserError
from data.formatted import array_path
from data.observe import observe_labels
from files import read_json
from launch import Launch, first_alone_talks, launch
from loaders import BatchOrder, DealtOrder
from losses import SCHEMES
from processes import ALONE, Processes, peers
from record import RunRecord
from tests import tiny
from tests.tiny import assert_same_tensors, load

ROOT = Path(__file__).parents[1]
NUMBERS = (1, 2, 3)
needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
SELECTING = ("LL-R", "LL-Ct", "LL-Cp", "CSL")
PLACE = {
    "RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2",
    "TORCHELASTIC_RESTART_COUNT": "3",
}  # fmt: skip


def torchrun(number, *command, meeting=("--standalone",), **options):
    """Start so many processes of a program; what they say is one stream."""
    starter = [sys.executable, "-m", "torch.distributed.run", *meeting]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*starter, f"--nproc_per_node={number}", *map(str, command)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, **options,
    )  # fmt: skip


def ended(started):
    """What it said, after it has ended well."""
    said, _ = started.communicate(timeout=300)
    assert started.returncode == 0, said
    return said


def make_folder(root):
    """31 training images, 25 without val; a positive and a negative label of each is known."""
    folder = tiny.make_folder(root, num_train=31)
    for part in ("train", "val"):
        truth = np.load(array_path(folder, part, "labels"))
        tiny.write_labels(folder, part, "labels_obs", observe_labels(truth, 1, 1, 1200))
    return folder


@pytest.fixture(scope="module")
def witnessed(tmp_path_factory):
    """What each of 1, 2 and 3 processes saw and made, by their number: see tests.together."""
    root = tmp_path_factory.mktemp("together")
    folder, outs = make_folder(root), {number: root / str(number) for number in NUMBERS}
    for out in outs.values():
        out.mkdir()
    started = [
        torchrun(number, "-m", "tests.together", folder, out) for number, out in outs.items()
    ]
    for each in started:
        ended(each)
    return {
        number: [load(out / f"{rank}.pt") for rank in range(number)] for number, out in outs.items()
    }


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_number_of_processes_selects_and_learns_the_same(witnessed, scheme, number):
    """Batch norms in evaluation mode; the last of the mini-batches of 6 holds one image."""
    (alone,) = (found[scheme] for found in witnessed[1])
    chosen = [step["selected"] for step in alone["steps"]]
    assert [mask is not None and len(mask) for mask in chosen[:5]] == (
        [6, 6, 6, 6, 1] if scheme in SELECTING else [False] * 5
    )
    for found in (process[scheme] for process in witnessed[number]):
        for step, expected in zip(found["steps"], alone["steps"], strict=True):
            assert_same_tensors(step["selected"], expected["selected"])
            torch.testing.assert_close(step["loss"], expected["loss"], rtol=0, atol=1e-5)
        assert_same_tensors(found["labels"], alone["labels"])
        for part in ("weights", "scheme", "scores"):
            torch.testing.assert_close(found[part], alone[part], rtol=0, atol=1e-5)
        for row, expected in zip(found["rows"], alone["rows"], strict=True):
            assert [name for name in row if row[name] is None] == [
                name for name in expected if expected[name] is None
            ]
            known = {name: value for name, value in expected.items() if value is not None}
            assert {name: row[name] for name in known} == pytest.approx(known, rel=1e-4)


def test_the_comparison_has_something_to_compare(witnessed):
    """Labels are selected and corrected, and the network learns."""
    alone = witnessed[1][0]
    for scheme in SELECTING:
        assert sum(int(step["selected"].sum()) for step in alone[scheme]["steps"]) > 5
    assert alone["LL-Cp"]["labels"]["corrected"].sum() > 5
    assert alone["AN"]["rows"][-1]["train_loss"] < alone["AN"]["rows"][0]["train_loss"]
    assert alone["ROLE"]["scheme"]["estimator"].shape == (25, tiny.NUM_CLASSES)


@pytest.mark.parametrize("number", [2, 3])
def test_processes_end_with_the_same_network(witnessed, number):
    """Batch norms train on the slice of each, and keep the statistics of the first."""
    first, *others = (process["as it is"] for process in witnessed[number])
    for other in others:
        assert_same_tensors(other, first)
    alone = witnessed[1][0]["as it is"]["weights"]
    assert not torch.allclose(first["weights"]["head.weight"], alone["head.weight"], atol=1e-5)
    moved = [name for name in alone if name.endswith("running_mean")]
    assert all(first["weights"][name].any() for name in moved)


@pytest.mark.parametrize("number", [2, 3])
def test_an_image_is_evaluated_as_by_one_process_to_the_bit(witnessed, number):
    """Each once; 6 val images are fewer mini-batches than there are processes."""
    for found in witnessed[number]:
        assert_same_tensors(found["AN"]["untrained"], witnessed[1][0]["AN"]["untrained"])


def flags(folder, save_path, *more):
    config = ("--dataset", folder, "--save_path", save_path, "--data_root", save_path)
    small = ("--arch", "resnet8", "--image_size", "16", "--use_pretrained", "false", "--bsize", "5")
    rest = ("--mod_scheme", "LL-Cp", "--delta_rel", "10", "--num_workers", "0", "--lr", "1e-3")
    return ("main.py", *config, *small, *rest, "--early_stop_drop", "100", *more)


def test_one_process_writes_and_another_number_goes_on(tmp_path):
    """Two begin with the linear phase, three go on, one finds the run finished."""
    folder = make_folder(tmp_path)
    (folder / "train/03.png").write_text("no picture")
    words = flags(
        folder, tmp_path, "--exp_name", "run", "--linear_init", "2", "--audit", "labels",
        "--on_bad_image", "skip", "--cache", "disk",
    )  # fmt: skip
    said = ended(torchrun(2, *words, "--num_epochs", "2"))
    assert said.count("Test mAP : ") == said.count("cannot be read: 1") == 1
    record = RunRecord(tmp_path / "run")
    assert record.read_config()["environment"]["processes"] == 2
    said = ended(torchrun(3, *words, "--num_epochs", "4", "--resume"))
    assert said.count("resumed after epoch 2") == 1
    rows = record.read_metrics()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["selected"] > 0
    corrected = load(tmp_path / "run/last.pt")["labels"]["corrected"]
    assert corrected.sum() == sum(row["selected"] for row in rows)
    assert len(list((tmp_path / "run/labels").iterdir())) == 6
    done = subprocess.run(
        [sys.executable, *map(str, words), "--num_epochs", "4", "--resume"], cwd=ROOT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == said[said.index("Test mAP") :]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The flags of a run of two processes, and its checkpoint where nobody kills one."""
    root = tmp_path_factory.mktemp("whole")
    words = flags(make_folder(root), root, "--num_epochs", "20")
    ended(torchrun(2, *words, "--exp_name", "whole"))
    return words, load(root / "whole/last.pt")


@needs_proc
def test_a_killed_process_costs_the_open_epoch_alone(whole, tmp_path):
    """torchrun starts all anew: they go on from the checkpoint, to the very same weights."""
    words, expected = whole
    struck = torchrun(
        2, "--max-restarts=1", *words, "--exp_name", "struck", "--save_path", tmp_path
    )
    wait_for_epochs(struck, tmp_path / "struck", 2)
    ranks = {rank_of(int(child)): int(child) for child in children_of(struck)}
    os.kill(ranks[0], signal.SIGKILL)
    said = ended(struck)
    assert said.count("resumed after epoch") == 1
    assert "Traceback" not in said, said
    assert_same_tensors(load(tmp_path / "struck/last.pt"), expected)


@needs_proc
@pytest.mark.parametrize(("backend", "killed"), [("static", 0), ("c10d", 1)])
def test_two_machines_go_on_after_one_has_lost_its_process(whole, tmp_path, backend, killed):
    """Both are this one; each has a torchrun of its own, which starts its process anew."""
    words, expected = whole
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = "{}:{}".format(*free.getsockname())
    there = (f"--rdzv-backend={backend}", f"--rdzv-endpoint={endpoint}", "--rdzv-id=two")
    machines = [
        torchrun(
            1, *words, "--exp_name", "struck", "--save_path", tmp_path,
            meeting=("--nnodes=2", f"--node-rank={rank}", "--max-restarts=1", *there),
        )
        for rank in range(2)
    ]  # fmt: skip
    wait_for_epochs(machines[0], tmp_path / "struck", 2)
    (child,) = children_of(machines[killed])
    os.kill(int(child), signal.SIGKILL)
    said = "".join(map(ended, machines))
    assert said.count("resumed after epoch") == 1
    assert "Traceback" not in said, said
    assert_same_tensors(load(tmp_path / "struck/last.pt"), expected)


def wait_for_epochs(started, run_dir, count):
    """Until the run has so many; it must not end before."""
    rows, deadline = run_dir / "metrics.csv", time.monotonic() + 120
    while not (rows.exists() and rows.read_text().count("\n") > count):
        assert started.poll() is None, started.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


@needs_proc
def test_a_single_process_is_started_anew_too_and_overwrites_only_once(whole, tmp_path):
    """What it began itself it goes on with; the run that lay there before is gone."""
    words = (*whole[0], "--exp_name", "struck", "--save_path", tmp_path)
    command = [sys.executable, *map(str, words), "--num_epochs", "1"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    started = torchrun(1, "--max-restarts=1", *words, "--overwrite")
    wait_for_epochs(started, tmp_path / "struck", 3)
    os.kill(int(children_of(started)[0]), signal.SIGKILL)
    assert ended(started).count("resumed after epoch") == 1
    assert len(RunRecord(tmp_path / "struck").read_metrics()) == 20


def test_a_run_that_lay_there_before_is_not_gone_on_with(whole):
    """A restart is no --resume: the second attempt is refused as the first was."""
    started = torchrun(1, "--max-restarts=1", *whole[0], "--exp_name", "whole", "--lr", "1e-3")
    said, _ = started.communicate(timeout=100)
    assert started.returncode == 1
    assert said.count("error: ") == said.count("holds a run already: add --resume") == 2


def test_what_one_process_alone_meets_is_told_by_it(tmp_path):
    """A picture that cannot be read, in the slice of the second one."""
    folder = make_folder(tmp_path)
    (folder / "train/03.png").write_text("no picture")
    started = torchrun(2, *flags(folder, tmp_path, "--exp_name", "run", "--num_epochs", "3"))
    said, _ = started.communicate(timeout=100)
    assert started.returncode == 1
    assert said.count("error: ") == said.count("03.png is no image of a known format") == 1
    assert "no epoch is finished yet" in said
    assert "failed: " in (tmp_path / "run/train.log").read_text().splitlines()[-1]


@needs_proc
def test_a_stop_signal_stops_all(whole, tmp_path):
    words = (*whole[0], "--exp_name", "stopped", "--save_path", tmp_path)
    started = torchrun(2, *words)
    wait_for_epochs(started, tmp_path / "stopped", 1)
    started.send_signal(signal.SIGTERM)
    said, _ = started.communicate(timeout=100)
    assert said.count("stopped by SIGTERM, epochs 1 to") == 1
    assert "Traceback" not in said.split("torch/distributed")[0]


def children_of(started):
    """The processes that torchrun has started."""
    return Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()


def rank_of(process):
    """The place that torchrun gave a process."""
    words = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    return next((int(word[5:]) for word in words if word.startswith(b"RANK=")), None)


def test_a_mistake_is_told_once(tmp_path):
    """By the first, where all make it: before they have met, and after."""
    for words, told in (
        (("--dataset", "nowhere"), "error: --dataset: 'nowhere' is neither"),
        (("--optimizer", "sgd", "--lr", "1e6", "--save_path", tmp_path), "error: epoch 1"),
    ):
        started = torchrun(2, "main.py", "--mod_scheme", "AN", *words)
        said, _ = started.communicate(timeout=100)
        assert started.returncode == 1, "torchrun's own"
        assert said.count("error: ") == said.count(told) == 1


def test_a_process_that_torchrun_did_not_start_is_alone(monkeypatch):
    for name in PLACE:
        monkeypatch.delenv(name, raising=False)
    assert launch() == Launch() == Launch(0, 1, 0, 1, 0, by_torchrun=False)
    for name, value in PLACE.items():
        monkeypatch.setenv(name, value)
    assert launch() == Launch(2, 4, 0, 2, 3, by_torchrun=True)
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT")
    assert launch() == Launch(), "a cluster may set the others for its own purposes"


def test_the_first_alone_talks(monkeypatch, capsys):
    with first_alone_talks():
        print("one")
    for name, value in PLACE.items():
        monkeypatch.setenv(name, value)
    with first_alone_talks():
        print("two")
        print("two", file=sys.stderr)
    assert capsys.readouterr() == ("one\n", "")


@pytest.mark.parametrize(("count", "lengths"), [(7, [3, 2, 2]), (6, [2, 2, 2]), (2, [1, 1, 0])])
def test_shares_are_contiguous_and_even(count, lengths):
    rows = torch.arange(count)
    own = [Processes(rank=rank, size=3).own(rows).tolist() for rank in range(3)]
    assert Processes(size=3).lengths(count) == lengths
    counted = [row for part, length in zip(own, lengths, strict=True) for row in part[:length]]
    assert counted == rows.tolist()
    assert own[-1] == [0] or lengths[-1], "where there is none for it, the first stands in"


def test_processes_go_through_the_mini_batches_of_one():
    """A slice of each to train, whole ones to evaluate."""
    whole = [batch.tolist() for batch in BatchOrder(23, 5, seed=3).whole()]
    parts = [list(BatchOrder(23, 5, seed=3, processes=Processes(rank, 2))) for rank in range(2)]
    assert [first + second for first, second in zip(*parts, strict=True)] == whole
    orders = [DealtOrder(23, 5, Processes(rank, 3)) for rank in range(3)]
    assert [batch for order in orders for batch in order] == [*DealtOrder(23, 5)]
    assert [len(order) for order in orders] == [2, 2, 1]
    assert orders[0].lengths == [10, 10, 3]


def test_the_end_of_another_process_is_told_elsewhere_but_not_alone(monkeypatch):
    gone = RuntimeError("gloo: Connection closed by peer [127.0.0.1]:5")
    with pytest.raises(RuntimeError, match="gloo"), peers():
        raise gone
    for name, value in PLACE.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ToldElsewhere, match="another process of this run has ended"), peers():
        raise gone
    with pytest.raises(RuntimeError, match="NCCL"), peers():
        raise RuntimeError("NCCL error: duplicate GPU detected")


def test_alone_nothing_is_sent():
    rows = torch.ones(3, requires_grad=True)
    assert ALONE.gather(rows, [3]) is rows
    assert ALONE.once(lambda: 5) == ALONE.in_turn(lambda: 5) == 5
    net = torch.nn.Linear(2, 2)
    assert ALONE.parallel(net) is net


def test_a_mistake_of_the_first_is_one_of_all(monkeypatch):
    def fail():
        raise UserError("no disk")

    said = []
    monkeypatch.setattr(Processes, "_hear", staticmethod(lambda words: said.append(words) or words))
    with pytest.raises(UserError, match="no disk"):
        Processes(0, 2).once(fail)
    assert said == [(None, "no disk")]
    monkeypatch.setattr(Processes, "_hear", staticmethod(lambda words: (None, "no disk")))
    with pytest.raises(ToldElsewhere, match="no disk"):
        Processes(1, 2).in_turn(fail)


def test_every_result_of_the_first_is_one_of_all(monkeypatch):
    monkeypatch.setattr(Processes, "_hear", staticmethod(lambda words: ({"map": 5}, None)))
    assert Processes(1, 2).once(lambda: json.loads("")) == {"map": 5}, "it does not run here"


def test_processes_that_differ_are_told(monkeypatch):
    found = []

    def gather(digests, digest, group):
        found.append(digest)
        digests[:] = [found[0], digest]

    monkeypatch.setattr("processes.dist.all_gather_object", gather)
    both, labels = Processes(0, 2), [torch.arange(4), torch.ones(2, requires_grad=True)]
    both.check_same(labels, "labels")
    both.check_same([tensor.clone() for tensor in labels], "labels")
    with pytest.raises(UserError, match="labels are not the same in all processes"):
        both.check_same([labels[0], labels[1] * (1 + 1e-7)], "labels")
    Processes().check_same([], "labels")


def test_the_record_of_a_run_alone_says_nothing_of_processes(tmp_path):
    tiny.train(tiny.make_folder(tmp_path), tmp_path, "--num_epochs", "1")
    assert "processes" not in read_json(tmp_path / "run/config.json")["environment"]
