"""Evidence that `kill -9` at any instant costs a run at most the epoch under way.

    python -m tests.kills --kills 60 --seed 0 [--json FILE]

Runs are killed at random moments and inside their writes, started again with --resume until they
finish, and compared with a run that nobody disturbed. After each kill, what lies in the folder must
be whole. The exit status is 1 if any run differs or breaks that promise.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import pickle
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from record import METRICS
from tests import tiny
from tests.faults import KILLED, Fault, Started, start, words_of

VARIANTS = {
    "files, adam": "--num_workers 0",
    "files, 2 workers, sgd": "--num_workers 2 --optimizer sgd --lr 0.01",
    "digits, adam": "--dataset digits --image_size 24 --ss_frac_train 0.02 --ss_frac_val 0.1 "
    "--lr 0.003",
    "features, sgd": "--use_feats --optimizer sgd --lr 0.01",
    "features, 2 workers, adam": "--use_feats --num_workers 2 --lr 0.01",
}
RANDOM = "random moment"
AT_ONCE = 2  # runs under way at the same time
_OF_RESUMING = ("resumed ", "there is nothing to resume", "failed: ")
_TIMES = ("seconds", "images_per_s")
_DAMAGE = (OSError, ValueError, EOFError, RuntimeError, SyntaxError, KeyError, pickle.PickleError)


@dataclass(frozen=True)
class Cell:
    """A scheme and the settings that it is tried with."""

    scheme: str
    variant: str

    def words(self, data: Path, save_path: Path, *actions: str) -> list[str]:
        more = VARIANTS[self.variant].split()
        more += ["--mod_scheme", self.scheme, "--delta_rel", "0" if self.scheme == "AN" else "10"]
        more += ["--val_frac", "0.4"]  # so that the best epoch is not the first
        config = tiny.settings(data, save_path, *more)
        return words_of(config, *actions)


def cells() -> list[Cell]:
    """Every scheme with two of the variants, every variant with a scheme."""
    variants = itertools.cycle(VARIANTS)
    return [Cell(scheme, next(variants)) for scheme in tiny.SCHEMES for _ in range(2)]


@dataclass(frozen=True)
class Reference:
    """A run that nobody disturbed."""

    cell: Cell
    data: Path
    folder: Path
    seconds: float  # from its start to its end
    epoch_seconds: list[float]
    events: list[tuple[str, str]]  # (file, kind), in order

    def any_write(self, rng: random.Random) -> Fault:
        """A fault in a file drawn first, so that each gets its turn, then a kind and a place."""
        file = rng.choice(sorted({file for file, _ in self.events}))
        kind = rng.choice(sorted({kind for name, kind in self.events if name == file}))
        return Fault(file, kind, rng.randrange(self.events.count((file, kind))))

    def any_moment(self, run_dir: Path, rng: random.Random) -> float:
        """Seconds after the start of a run that has finished the epochs in its folder."""
        kept = len(_rows(run_dir / "metrics.csv")) if (run_dir / "metrics.csv").exists() else 0
        return rng.uniform(0, self.seconds - sum(self.epoch_seconds[:kept]))


@dataclass
class Trial:
    """A run that was killed and resumed."""

    cell: Cell
    kills: list[str] = field(default_factory=list)  # "random moment" or the file written
    resumed: int = 0
    faults: list[str] = field(default_factory=list)  # how it differs, what was broken between


def make_reference(cell: Cell, data: Path, root: Path) -> Reference:
    """The undisturbed run of a cell."""
    begin = time.perf_counter()
    folder = root / "run"
    process = start(cell.words(data, root), root / "output", folder, record=True)
    if process.status() != 0:
        raise RuntimeError(f"{cell} does not run: {process.err}")
    rows = _rows(folder / "metrics.csv")
    seconds = [float(row["seconds"]) for row in rows]
    events = process.events
    return Reference(cell, data, folder, time.perf_counter() - begin, seconds, events)


def kill_and_resume(
    reference: Reference, root: Path, strikes: Sequence[str | Fault], rng: random.Random
) -> Trial:
    """Kill a run as `strikes` say, a fault or one of `RANDOM` and `"write"`, until it finishes."""
    trial, folder = Trial(reference.cell), root / "run"
    for number, strike in enumerate([*strikes, ""]):
        actions = ["--resume"] if number else []
        words = reference.cell.words(reference.data, root, *actions)
        fault = reference.any_write(rng) if strike == "write" else strike
        trial.resumed += bool(list(folder.glob("last*.pt")))
        process = start(
            words, root / f"output{number}", folder, fault if isinstance(fault, Fault) else None
        )
        if strike == RANDOM and process.status(reference.any_moment(folder, rng)) is None:
            process.kill()
        status = _end(process)
        if status == KILLED:
            trial.kills.append(fault.file if isinstance(fault, Fault) else RANDOM)
            trial.faults += [f"after {fault}: {broken}" for broken in broken_promises(folder)]
        else:
            break
    trial.faults += (
        differences(reference.folder, folder)
        if status == 0
        else [f"ended with status {status}: {process.err.strip()[-300:]}"]
    )
    return trial


def _end(process: Started) -> int | None:
    status = process.status()
    if status is None:
        process.kill()
    return status


def broken_promises(folder: Path) -> list[str]:
    """What is wrong with the files of a run that was killed: none may be half, no epoch lost."""
    faults, present = [], {}
    for path in sorted(folder.glob("[!.]*")):
        try:
            present[path.name] = _READERS[path.suffix](path)
        except _DAMAGE as error:
            faults.append(f"{path.name} is damaged ({error})")
    kept = [len(present[name]["rows"]) for name in present if name.startswith("last")]
    said = re.findall(r"^epoch +(\d+)/", present.get("train.log", ""), re.MULTILINE)
    promised = max(len(present.get("metrics.csv", [])), *map(int, said), 0, 0)
    if promised > max(kept, default=0):
        faults.append(f"{promised} epochs are finished, the checkpoints hold {kept}")
    expected = {"bestmodel.pt", "last.pt", "metrics.csv", "config.json", "curves.png"}
    if "summary.json" in present and expected - set(present):
        faults.append(f"finished without {expected - set(present)}")
    return faults


def differences(reference: Path, folder: Path) -> list[str]:
    """Where a finished run is not what the undisturbed one is, times left out."""
    ours, theirs = ({path.name for path in one.iterdir()} for one in (folder, reference))
    if ours != theirs:
        return [f"files: {sorted(ours ^ theirs)}"]
    found = []
    for name, read in _COMPARED.items():
        try:
            tiny.assert_same_tensors(read(folder / name), read(reference / name), name)
        except AssertionError as error:
            found.append(f"differs at {error}".splitlines()[0])
        except _DAMAGE as error:
            found.append(f"{name} is damaged ({error})")
    alien = set(_log(folder)) - set(_log(reference))
    return found + [f"train.log: {line!r}" for line in alien if not line.startswith(_OF_RESUMING)]


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv, all of them whole. Raises ValueError."""
    text = path.read_text()
    rows = list(csv.reader(text.splitlines()))
    if not text.endswith("\n") or any(len(row) != len(METRICS) for row in rows):
        raise ValueError("a row is not whole")
    return [dict(zip(METRICS, row, strict=True)) for row in rows[1:]]


def _without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _TIMES}


def _settings(path: Path) -> dict[str, Any]:
    config = json.loads(path.read_text())
    data = config.pop("environment")["data"]
    return {**config, "save_path": "", "data_root": "", "data": data}


def _picture(path: Path) -> bytes:
    with Image.open(path) as image:
        image.load()
    return path.read_bytes()


def _log(folder: Path) -> Iterator[str]:
    """The lines of train.log without folder and times."""
    for line in (folder / "train.log").read_text().splitlines(keepends=True):
        yield re.sub(r"\d+\.\d s$", "", line.replace(str(folder), ""))


_READERS: dict[str, Callable[[Path], Any]] = {
    ".pt": tiny.load,
    ".csv": _rows,
    ".json": lambda path: json.loads(path.read_text()),
    ".log": Path.read_text,  # its last line may be half: the next one takes that away
    ".png": _picture,
}
_COMPARED: dict[str, Callable[[Path], Any]] = {
    "last.pt": tiny.load,
    "last.previous.pt": tiny.load,
    "bestmodel.pt": tiny.load,
    "metrics.csv": lambda path: [_without_times(row) for row in _rows(path)],
    "summary.json": lambda path: _without_times(json.loads(path.read_text())),
    "config.json": _settings,
    "curves.png": _picture,
}


def gather(
    chosen: Sequence[Cell],
    kills: int,
    seed: int,
    root: Path,
    say: Callable[[str], object] = lambda line: None,
) -> list[Trial]:
    """Trials of these cells, `kills` kills or more shared out evenly, half of them in writes."""
    data = tiny.make_folder(root)
    trials: list[Trial] = []
    start(["--dry_run"], root / "warm", root).status()  # else the first reference would take longer
    with ThreadPoolExecutor(AT_ONCE) as pool:
        places = [root / f"reference{number}" for number in range(len(chosen))]
        made = pool.map(make_reference, chosen, itertools.repeat(data), places)
        references = list(made)

        def attempt(reference: Reference, number: int) -> Trial:
            rng = random.Random(f"{seed}/{number}")
            strikes = rng.choices(
                [RANDOM, "write"], [2, 1], k=rng.randint(1, 3)
            )  # many moments miss
            return kill_and_resume(reference, root / f"trial{number}", strikes, rng)

        def is_behind(reference: Reference) -> bool:
            mine = [len(trial.kills) for trial in trials if trial.cell == reference.cell]
            return sum(mine) * len(references) < kills

        while behind := list(filter(is_behind, references)):
            for trial in pool.map(attempt, behind, itertools.count(len(trials))):
                trials.append(trial)
                say(_line(trial))
    return trials


def _line(trial: Trial) -> str:
    killed = ", ".join(trial.kills) or "nothing"
    outcome = "; ".join(trial.faults) or "the same"
    return f"{trial.cell.scheme}, {trial.cell.variant}: killed in {killed}: {outcome}"


def table(trials: Sequence[Trial]) -> str:
    """A Markdown table, a row a cell, and the sums."""
    lines = [
        "| scheme | variant | kills at random moments | kills inside writes | resumed | runs "
        "| that differ |",
        "|---|---|---|---|---|---|---|",
    ]
    by_cell = {trial.cell: [t for t in trials if t.cell == trial.cell] for trial in trials}
    rows = [([cell.scheme, cell.variant], of_cell) for cell, of_cell in by_cell.items()]
    for name, group in [*rows, (["all", ""], list(trials))]:
        kills = Counter(kill for trial in group for kill in trial.kills)
        moments = kills.pop(RANDOM, 0)
        inside = ", ".join(f"{file} {count}" for file, count in sorted(kills.items()))
        counts = (sum(trial.resumed for trial in group), len(group), _differing(group))
        cells_ = [*name, moments, f"{sum(kills.values())} ({inside})", *counts]
        lines.append(f"| {' | '.join(map(str, cells_))} |")
    return "\n".join(lines)


def _differing(trials: Sequence[Trial]) -> int:
    return sum(bool(trial.faults) for trial in trials)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="how many at least (60)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and places (0)")
    parser.add_argument("--json", type=Path, help="write every trial to this file")
    flags = parser.parse_args(argv)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as root:
        trials = gather(cells(), flags.kills, flags.seed, Path(root), print)
    print(f"\n{table(trials)}")
    if flags.json:
        flags.json.write_text(json.dumps([asdict(trial) for trial in trials], indent=2) + "\n")
    return min(1, _differing(trials))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
