"""Which of some runs are still to be trained: `python -m tools.todo RESULTS --dataset D < FLAGS`.

The flags of a run stand on a line of standard input; the lines of those that are not finished are
printed. All of them are added to the file runs.txt of the results, by which tools.report knows of
runs that never began. Needs no torch, so that a script that was stopped goes on at once.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import cli
import words
from cli import UserError
from config import Config, read_config, resolve
from files import is_there, write_atomically
from folder import SUMMARY
from record import RunRecord
from settings import FLAGS
from tools.unfinished import PLAN, read_plan


def is_finished(config: Config) -> bool:
    """Whether the run with these settings is finished; one of other settings there is not it."""
    folder = config.run_dir
    if not is_there(folder / SUMMARY):
        return False
    try:
        saved, summary = read_config(folder / "config.json"), RunRecord(folder).read_summary()
    except UserError:  # main.py will say so
        return False
    names = (name for name, flag in FLAGS.items() if flag.metadata["names_run"])
    same = all(getattr(saved, name) == getattr(config, name) for name in names)
    return same and summary is not None and summary["num_epochs"] == config.num_epochs


def check_data(config: Config) -> None:
    """Raise UserError where the folder of the data set is missing, or holds no formatted set."""
    if config.dataset != "digits":
        from data.formatted import PARTS, array_path, check_there, dataset_folder

        folder = dataset_folder(config.dataset, config.data_root)
        for part in PARTS:
            check_there(array_path(folder, part, "images"))


def add_to_plan(folder: Path, commands: Iterable[str]) -> None:
    """Add runs to the list of those that are to be had in this folder."""
    path = folder / PLAN
    known = read_plan(path) if is_there(path) else []
    lines = sorted({*known, *commands})
    if lines != known:
        text = os.fsencode("".join(f"{line}\n" for line in lines))
        write_atomically(path, lambda file: file.write(text))


def main(argv: Sequence[str]) -> None:
    """Print those of the runs on standard input that are not finished, a line of flags each.

    It fails where the data of one of them is missing.
    """
    parser = cli.Parser(prog="python -m tools.todo", description=main.__doc__)
    parser.add_argument("results", type=Path, help="folder of the runs")
    parser.add_argument("--dataset", required=True, type=words.dataset, metavar="NAME|FOLDER",
                        help="as main.py takes it")  # fmt: skip
    parser.add_argument("--besides", metavar="FOLDER",
                        help="pass over runs that are finished in this folder")  # fmt: skip
    args = parser.parse_args(argv)
    planned = []
    for line in filter(None, map(str.strip, sys.stdin)):
        command = f"--dataset {shlex.quote(args.dataset)} {line}"
        try:
            config, _ = resolve([*shlex.split(command), "--save_path", str(args.results)])
        except ValueError:  # main.py will say what is wrong; shlex raises it too
            print(line)
            continue
        if args.besides and is_finished(dataclasses.replace(config, save_path=args.besides)):
            continue
        planned.append(command)
        if not is_finished(config):
            check_data(config)
            print(shlex.join(shlex.split(line)))  # a shell evaluates it
    add_to_plan(args.results, planned)


if __name__ == "__main__":
    sys.exit(cli.run(main))
