"""A user's own pictures and labels to the formatted layout: a CSV table, COCO's json, or folders.

On the command line: `python -m data.prepare custom --images DIR --labels FILE.csv --out DIR`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import cli
from cli import UserError, printable
from data import custom_checks, custom_report
from data.custom_flags import is_json, parse_flags
from data.custom_folders import read_coco, read_folders
from data.custom_images import Pictures
from data.custom_lines import read_csv
from data.custom_listing import Classes, Listing
from data.custom_names import nearly_the_same, typos
from data.custom_parts import Images, draw_splits, filled, given_splits, make_formatted
from data.custom_text import read_lines, read_text
from data.formatted import Formatted, write_formatted
from data.labels import Labels
from data.observe import draw_parts, record_of
from files import write_atomically

REJECTED = "rejected_lines.txt"
_PRINTED = 200  # rejected lines at most


def main(argv: Sequence[str]) -> None:
    """Turn your own pictures and labels into the layout that training reads."""
    args = parse_flags(argv, main.__doc__)
    listings = _read(args)
    _warn_of_names(listings, named_apart=args.classes is not None)
    rejected = _report_rejected(listings, args)
    root, images = _named_from_root(listings)
    splits = _split(images, args)
    given, classes = _are_given(splits), listings[0].classes.names
    by_column = [listing.by_column for listing in listings]
    fills = filled(args.truth, args.left_out, by_column[0], by_column[-1])
    there = {split: fills[split] for split, found in splits.items() if found}
    source = _source(args, listings, there, given)
    formatted = make_formatted(splits, classes, args.truth, fills, source)
    observed = _observed(formatted, args)
    custom_checks.check_test(formatted, listings[-1], args.left_out)
    custom_checks.check_cut(formatted, observed, given)
    for caution in custom_checks.cautions(formatted, listings[0], args.left_out, given):
        _warn(caution)
    if not args.dry_run:
        _write(args, formatted, observed, root, rejected)
    total = sum(map(len, splits.values()))
    lines = [f"{args.out}: {len(classes):,} classes, {total:,} images"]
    lines += custom_report.split_lines(splits, len(classes), fills, args.draw, observed)
    lines += custom_report.odd_lines(splits, classes, listings)
    variant = custom_checks.val_variant(formatted)
    dry = ["dry run: nothing is written"]
    for line in (*lines, *(dry if args.dry_run else custom_report.commands(args.out, variant))):
        print(printable(line))


def _read(args: argparse.Namespace) -> list[Listing]:
    """What is listed to train on and, where they are given apart, to test on."""
    ignores = args.other_classes == "ignore"
    classes, pictures = _classes(args.classes, ignores), Pictures(args.images)
    listings = [_read_one(args, pictures, args.labels, classes)]
    if args.test_labels or args.test_images:
        others = Pictures(args.test_images) if args.test_images else pictures
        origin = classes.origin or f"{args.labels or args.images} (--classes FILE names more)"
        fixed = Classes(listings[0].classes.names, origin, ignores)
        listings.append(_read_one(args, others, args.test_labels, fixed))
    if args.zero and not any(listing.by_column for listing in listings):
        raise UserError(
            f"--zero is for tables with a column for each class, which {args.labels} is not: drop "
            "it"
        )
    return listings


def _read_one(
    args: argparse.Namespace, pictures: Pictures, labels: Path | None, classes: Classes
) -> Listing:
    if labels is None:
        return read_folders(pictures, classes)
    if is_json(labels):
        return read_coco(labels, pictures, classes, args.keep_unlabelled)
    zero = "negative" if args.truth == "full" else args.zero
    return read_csv(labels, pictures, classes, zero)


def _classes(path: Path | None, ignores: bool) -> Classes:
    """The names in a file, one a line, which are then the only ones; without it an open list."""
    if path is None:
        return Classes()
    text, cautions = read_text(path, "class names, one a line")
    for caution in cautions:
        _warn(caution)
    names = [line.strip() for line in read_lines(text) if line.strip()]
    again = [name for name, times in Counter(names).items() if times > 1]
    if again or not names:
        fault = f"names {again[0]!r} twice" if again else "names no class"
        raise UserError(f"--classes {path} {fault}: write each name once, one a line")
    return Classes(names, f"--classes {path}", ignores)


def _warn(caution: str) -> None:
    print(f"warning: {printable(caution)}", file=sys.stderr)


def _warn_of_names(listings: Sequence[Listing], named_apart: bool) -> None:
    """Print what may not be as the user thinks; `named_apart`: the classes are listed by hand."""
    for caution in nearly_the_same(listings[0].classes.names):
        _warn(caution)
    for caution in typos(custom_report.occurrences(listings)) if not named_apart else ():
        _warn(caution)
    for listing in listings:
        for caution in listing.cautions:
            _warn(caution)


def _report_rejected(listings: Sequence[Listing], args: argparse.Namespace) -> list[str]:
    """What cannot be used, a line each, as it is printed.

    Raises UserError where there is something, unless the user said to go on without.
    """
    files = [f"{args.labels or args.images}, ", f"{args.test_labels or args.test_images}, "]
    prefixes = files if len(listings) > 1 else [""]
    rejected = [
        printable(f"{prefix}{place}: {why}")
        for prefix, listing in zip(prefixes, listings, strict=True)
        for place, why in listing.rejected
    ]
    for line in rejected[:_PRINTED]:
        print(line, file=sys.stderr)
    if len(rejected) > _PRINTED:
        hint = f"with --skip_bad_lines all of them are in {REJECTED}"
        print(f"and {len(rejected) - _PRINTED:,} more ({hint})", file=sys.stderr)
    _check_lost(listings, args)
    if rejected and not args.skip_bad_lines:
        total = sum(listing.lines for listing in listings)
        outside = any(listing.classes.outside for listing in listings)
        ignore = "; --other_classes ignore passes over labels that are not listed"
        raise UserError(
            f"{len(rejected):,} of {total:,} {listings[0].unit} cannot be read: mend them, or give "
            f"--skip_bad_lines{ignore if outside else ''}"
        )
    return rejected


def _check_lost(listings: Sequence[Listing], args: argparse.Namespace) -> None:
    """Raise UserError where not a single image that a file names is there."""
    flags = ("--images", "--test_images" if args.test_images else "--images")
    files = (args.labels, args.test_labels)
    for listing, flag, labels in zip(listings, flags, files, strict=False):
        if listing.lost and not listing.mentioned:
            raise UserError(
                f"{labels}: none of the {listing.lost:,} images is below "
                f"{listing.pictures.folder}: is {flag} right?"
            )


def _named_from_root(listings: Sequence[Listing]) -> tuple[Path, list[Images]]:
    """The folder of all pictures, and the images of each listing, named by their paths from there.

    Raises UserError for images that are in both.
    """
    folders = [listing.pictures.folder for listing in listings]
    try:
        root = Path(os.path.commonpath(folders))
    except ValueError:  # two drives of Windows
        raise UserError("--images and --test_images must lie on one drive: move one") from None
    images = []
    for folder, listing in zip(folders, listings, strict=True):
        below = PurePosixPath(folder.relative_to(root).as_posix())
        images.append({str(below / name): entry for name, entry in listing.entries.items()})
    shared = images[0].keys() & images[-1].keys() if len(images) > 1 else set()
    if shared:
        raise UserError(
            f"{len(shared):,} images are both to train and to test on, {min(shared)!r} for one: "
            "take each out of one"
        )
    return root, images


def _split(images: Sequence[Images], args: argparse.Namespace) -> dict[str, Images]:
    """The images by split, given or drawn. Raises UserError where the flags do not fit them."""
    test = images[1] if len(images) > 1 else None
    splits = given_splits(images[0], test)
    if not splits:
        return draw_splits(images[0], test, args.test_frac, args.val_frac, args.seed)
    if args.drawn_by_flag:
        raise UserError(f"--{args.drawn_by_flag} draws a split, the labels give them: drop it")
    return splits


def _are_given(splits: Mapping[str, Images]) -> bool:
    """Whether the labels themselves say which image is in which split."""
    return any(entry.split for entry in splits["train"].values())


def _source(
    args: argparse.Namespace, listings: Sequence[Listing], fills: Mapping[str, bool], given: bool
) -> str:
    """What the set was made from, and all that was assumed, in a line."""
    tests = args.test_labels or args.test_images
    fracs = ("val_frac",) if tests else ("test_frac", "val_frac")
    drawn = ", ".join(f"{name} {getattr(args, name):g}" for name in fracs)
    meanings = {
        "partial": "the labels given are known",
        "full": "all labels are known",
        "none": "no label is known for certain",
    }
    facts = [
        f"{args.labels or args.images}{f', to test on {tests}' if tests else ''}",
        "splits given" if given else f"splits drawn with {drawn}, seed {args.seed}",
        f"truth {args.truth}: {meanings[args.truth]}",
    ]
    if args.truth == "partial":
        words = [f"{'negative' if fill else 'unobserved'} in {s}" for s, fill in fills.items()]
        facts.append(f"left_out {', '.join(words)}")
    for listing, name in zip(listings, ("", " of the test labels"), strict=False):
        facts += [f"a 0{name} is {listing.zero}"] if listing.zero else []
    if any(listing.classes.ignored() for listing in listings):
        facts.append("other classes ignored")
    if args.keep_unlabelled:
        facts.append("images without annotation kept")
    skipped = sum(len(listing.rejected) for listing in listings)
    return "; ".join([*facts, f"{listings[0].unit} skipped: {skipped:,}"])


def _observed(formatted: Formatted, args: argparse.Namespace) -> dict[str, Labels]:
    """The labels that training may see, by part, where these are not simply all that is known."""
    labels = {name: part.labels for name, part in formatted.parts.items()}
    if formatted.truth == "none":
        return labels
    return draw_parts(labels, formatted.truth, args.draw) if args.draw else {}


def _write(
    args: argparse.Namespace,
    formatted: Formatted,
    observed: Mapping[str, Labels],
    root: Path,
    rejected: Sequence[str],
) -> None:
    """Write the data set, and the lines left out."""
    out = args.out.resolve()
    images = os.path.relpath(root, out) if root.is_relative_to(out) else str(root)
    record = record_of(args.draw, observed) if args.draw else ""
    try:
        write_formatted(out, formatted, images, observed, record)
        if rejected:
            text = "".join(f"{line}\n" for line in rejected)
            write_atomically(out / REJECTED, lambda file: file.write(text.encode()))
        else:
            (out / REJECTED).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {error.filename or out}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(cli.run(main))
