"""Train a large-loss method on partly labelled images: `python main.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import cli
import config as settings
import stopping
from launch import first_alone_talks


def main(argv: Sequence[str]) -> None:
    """Train and test the run that the command line describes, or only print its settings."""
    with first_alone_talks(), cli.same_for_all():
        config = settings.parse_args(argv)
        if config.dry_run:
            print(settings.describe(config))
            return
        with stopping.at_next_step():  # a library that is interrupted while it starts may crash
            from train import run_train  # imports torch: --help and a wrong flag do not wait for it
        run_train(config)


if __name__ == "__main__":
    sys.exit(cli.run(main))
