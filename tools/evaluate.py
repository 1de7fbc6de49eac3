"""Evaluate the best model of a run again: `python -m tools.evaluate RUN_DIR --split test`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cli
import words
from cli import printable
from files import check_writable
from tools import loading
from tools.subject import Subject, subject_of

if TYPE_CHECKING:
    from tools.measured import Measured

FIGURES = ("png", "pdf")


def _parser() -> cli.Parser:
    parser = cli.Parser(prog="python -m tools.evaluate", description=main.__doc__)
    parser.add_argument("--split", type=cli.choice("test", "val", "train"), default="test",
                        metavar="{test,val,train}", help="(%(default)s)")  # fmt: skip
    parser.add_argument("--dataset", type=words.dataset, metavar="FOLDER",
                        help="another set of these classes (its val part is test)")  # fmt: skip
    parser.add_argument("--per_class", action="store_true", help="print the AP of each class too")
    parser.add_argument("--full", action="store_true", help="print precision, recall and F1 too")
    parser.add_argument("--threshold", type=cli.number(float, 0, 1), default=0.5, metavar="T",
                        help="predict classes with scores of at least T (%(default)s)")  # fmt: skip
    parser.add_argument("--top_k", type=cli.number(int, 1), default=3, metavar="K",
                        help="of an image for the top-k numbers (%(default)s)")  # fmt: skip
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row a class")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything")
    parser.add_argument("--figure", type=_figure, metavar="FILE",
                        help="draw the AP of the classes; .png or .pdf")  # fmt: skip
    loading.add_arguments(parser)
    return parser


def _figure(text: str) -> Path:
    path = Path(words.path(text))
    if path.suffix[1:] not in FIGURES:
        raise argparse.ArgumentTypeError(f"{text!r} must end in .png or .pdf")
    return path


def main(argv: Sequence[str]) -> None:
    """Print the mAP of a run's best epoch on its test, val or train images.

    By the true labels, as far as they are known; where none are, what is not annotated counts as
    negative. With --full also precision, recall and F1, as means over classes (CP, CR, CF1) and of
    all labels together (OP, OR, OF1), at a fixed threshold and at a threshold a class that has the
    highest F1 on val, never on test.
    """
    args = _parser().parse_args(argv)
    for target in filter(None, (args.csv, args.json, args.figure)):
        check_writable(target)
    from oddities import odd_classes

    subject = subject_of(args, wants_val=bool(args.full or args.csv or args.json))
    found = _measure(args, subject)
    _write(args, subject, found)
    if args.per_class and args.full:
        from tools.measured import text_of_classes

        print(text_of_classes(found), end="")
    elif args.per_class:
        width = max(len(printable(name)) for name in found.classes)
        for name, value in zip(found.classes, found.ap, strict=True):
            print(f"{printable(name):<{width}} {value:7.3f}")
    if args.full:
        from tools.measured import text_of_rules

        print(text_of_rules(found), end="")
    for name, value in found.groups.items():
        print(f"{printable(name)} mAP : {value:.3f}")
    for line in odd_classes(args.split, subject.split, found.classes):
        print(printable(f"warning: {line}"), file=sys.stderr)
    print(f"{args.split.capitalize()} mAP : {found.mean:.3f} on {len(subject.split):,} images")


def _measure(args: argparse.Namespace, subject: Subject) -> Measured:
    """What there is to measure, on the split; the thresholds are chosen on val."""
    from tools.measured import measure, rules_of
    from tools.metrics import best_thresholds, probabilities

    logits, from_val = subject.logits(subject.split), None
    if subject.val:
        same = subject.val is subject.split
        of_val = logits if same else subject.logits(subject.val)
        from_val = best_thresholds(probabilities(of_val), subject.val_labels, args.threshold)
    rules = {}
    if args.full or args.csv or args.json:
        top_k = min(args.top_k, len(subject.classes))
        rules = rules_of(args.threshold, top_k, from_val)
    return measure(logits, subject.split.best_known, subject.classes, subject.groups, rules)


def _write(args: argparse.Namespace, subject: Subject, found: Measured) -> None:
    """Write the files that are asked for."""
    from files import write_atomically
    from tools.measured import csv_of, json_of

    if args.csv:
        table = csv_of(found).encode()
        write_atomically(args.csv, lambda file: file.write(table))
    if args.json:
        top_k = min(args.top_k, len(subject.classes))
        facts = subject.facts() | {"threshold": args.threshold, "top_k": top_k}
        text = json_of(found, facts).encode()
        write_atomically(args.json, lambda file: file.write(text))
    if args.figure:
        from tools.figure_ap import draw_ap

        draw_ap(found, f"{subject.title}, {args.split} images", args.figure)


if __name__ == "__main__":
    sys.exit(cli.run(main))
