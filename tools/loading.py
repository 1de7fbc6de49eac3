"""A run taken up by a tool: its best model, its data, and the flags that say where and how."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import cli
import stopping
import words
from cli import UserError

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from datasets import Data, Split
    from hardware import Hardware
    from models import ImageClassifier
    from settings import Config

_FROM_RUN = ("data_root", "bsize", "num_workers", "amp")  # the run's, where they are not given


class Loaded(NamedTuple):
    """A run's best model, its settings as the tool's flags change them, and where to compute."""

    model: ImageClassifier  # in evaluation mode, on the CPU
    config: Config
    data: Data
    hardware: Hardware

    def loader(self, split: Split) -> DataLoader:
        """A loader of the images of a split in their order, un-augmented."""
        from evaluation import evaluation_loader

        config = self.config
        return evaluation_loader(split.images, config.bsize, config.num_workers, self.hardware)


def add_dataset(parser: cli.Parser) -> None:
    """Add the flag that says where the run's data lies now; `data_root` says where all sets do."""
    parser.add_argument("--dataset", type=words.dataset, metavar="FOLDER",
                        help="folder of the run's data set, if it has moved")  # fmt: skip


def add_arguments(parser: cli.Parser) -> None:
    """Add the run's folder, and the flags that say where its data lies and how to compute."""
    parser.add_argument("run_dir", help="the run's folder")
    parser.add_argument("--data_root", help="folder of the data sets, if it is no longer the run's")
    add_computing(parser)


def add_computing(parser: cli.Parser) -> None:
    """Add the flags that say how to compute, of which most are the run's where they are absent."""
    parser.add_argument("--bsize", type=cli.number(int, 1, 2**20), help="(that of the run)")
    parser.add_argument("--num_workers", type=cli.number(int, 0, 256), help="(that of the run)")
    parser.add_argument("--device", type=cli.choice("auto", "cpu", "cuda"), default="auto",
                        metavar="{auto,cpu,cuda}", help="(%(default)s)")  # fmt: skip
    parser.add_argument("--gpu_num", type=cli.number(int, 0), default=0, help="(%(default)s)")
    parser.add_argument("--amp", type=cli.choice("auto", "off", "bf16", "fp16"),
                        metavar="{auto,off,bf16,fp16}", help="(that of the run)")  # fmt: skip


def load(args: argparse.Namespace) -> Loaded:
    """The run that these arguments name.

    Raises UserError where there is none, and where its data is gone or has other classes now.
    """
    model, config, classes, hardware = load_model(args)
    return Loaded(model, config, data_of(args.run_dir, config, classes), hardware)


def load_model(
    args: argparse.Namespace,
) -> tuple[ImageClassifier, Config, tuple[str, ...], Hardware]:
    """The same without data: the model, its settings, its classes, and where to compute.

    Raises UserError where there is no such run.
    """
    with stopping.at_next_step():  # a library that is interrupted while it starts may crash
        from hardware import find_hardware
        from train import load_run
    model, config, classes = load_run(args.run_dir)
    asked = {name: getattr(args, name, None) for name in _FROM_RUN}
    given = {name: value for name, value in asked.items() if value is not None}
    config = dataclasses.replace(config, **given)
    return model, config, classes, find_hardware(args.device, args.gpu_num, config.amp)


def data_of(run_dir: str, config: Config, classes: tuple[str, ...]) -> Data:
    """The data of a run of these classes. Raises UserError where it is gone or has others now."""
    from datasets import load_data

    data = load_data(config)
    if data.classes != classes:
        raise UserError(f"{run_dir} was trained on other classes than {config.dataset} has now")
    return data
