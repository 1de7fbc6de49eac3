"""CSV tables as people leave them: what can be read is read right, every other line is named."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from cli import UserError
from data.custom_images import Pictures, Unusable
from data.custom_lines import read_csv
from data.custom_listing import Classes


class Row(NamedTuple):
    """A line of a kind of mess, of the image `{n}`; what it says, or why it says nothing."""

    text: str
    labels: tuple[str, ...] = ()
    why: str = ""


GOOD = "dog"
LISTED = {
    "plain": Row("p/{n}.jpg,cat", ("cat",)),
    "spaces": Row("   p/{n}.jpg ,\u00a0 cat ; dog ", ("cat", "dog")),
    "quoted commas": Row('"p/{n}.jpg","cat,dog , owl"', ("cat", "dog", "owl")),
    "pipes": Row("p/{n}.jpg,cat|dog", ("cat", "dog")),
    "no label": Row("p/{n}.jpg,"),
    "no delimiter": Row("p/{n}.jpg"),
    "trailing delimiters": Row("p/{n}.jpg,cat,,, ,", ("cat",)),
    "backslashes": Row("p\\{n}.jpg,cat", ("cat",)),
    "dot in front": Row("./p/{n}.jpg,cat", ("cat",)),
    "dot and backslash": Row(".\\p\\{n}.jpg,cat", ("cat",)),
    "the folder's name in front": Row("pics/p/{n}.jpg,cat", ("cat",)),
    "two folders in front": Row("mine/pics/p/{n}.jpg,cat", ("cat",)),
    "no suffix": Row("p/{n},cat", ("cat",)),
    "suffix in capitals": Row("p/{n}.JPG,cat", ("cat",)),
    "double slash": Row("p//{n}.jpg,cat", ("cat",)),
    "blanks around quotes": Row('  "p/{n}.jpg" , "cat" ', ("cat",)),
    "empty labels": Row("p/{n}.jpg,;cat;;cat; dog;", ("cat", "dog")),
    "quotes in a label": Row('p/{n}.jpg,"the ""best"" cat"', ('the "best" cat',)),
    "quotes within": Row('p/{n}.jpg,5" disk', ('5" disk',)),
    "inside, absolute": Row("{folder}/p/{n}.jpg,cat", ("cat",)),
    "accents": Row("p/é{n}.jpg,chat persan", ("chat persan",)),
    "accents composed otherwise": Row("p/e\u0301{n}.jpg,cat", ("cat",)),
    "quoted semicolon": Row('p/{n}.jpg,"cat;dog"', ("cat", "dog")),
    "a number among names": Row("p/{n}.jpg,2019;cat", ("2019", "cat")),
    "missing": Row("p/no{n}.jpg,cat", why="there is no image 'p/no{n}.jpg'"),
    "in another folder": Row("{n}.jpg,cat", why="did you mean 'p/{n}.jpg'?"),
    "case of the name": Row("P/{n}.jpg,cat", why="did you mean 'p/{n}.jpg'?"),
    "too many cells": Row("p/{n}.jpg,cat,dog", why="cells: 3, where 2 belong: put labels with"),
    "dots": Row("../pics/p/{n}.jpg,cat", why="has '..' in its path"),
    "outside": Row("/etc/{n}.jpg,cat", why="is an absolute path outside"),
    "a Windows drive": Row("C:\\pics\\p\\{n}.jpg,cat", why="is an absolute path outside"),
    "a Windows share": Row("\\\\host\\pics\\p\\{n}.jpg,cat", why="is an absolute path outside"),
    "open quote": Row('"p/{n}.jpg,cat', why="a quote is not closed"),
    "open quote at the labels": Row('p/{n}.jpg,"cat', why="a quote is not closed"),
    "text after a quote": Row('"p/{n}.jpg"x,cat', why="text stands after a closing quote"),
    "two files of that stem": Row("p/twice{n},cat", why="may be 'p/twice{n}.jpg' or 'p/twice"),
    "no image": Row(",cat", why="it names no image"),
    "a folder": Row("p,cat", why="there is no image 'p'"),
    "a NUL": Row("p/{n}.jpg,c\0at", why="it holds a NUL character"),
    "control characters": Row("p/\x1b[2J{n}.jpg,cat", why=r"'p/\x1b[2J{n}.jpg'"),
}
CLASSES = ("ant", "bee")
WIDE = {
    "1 and -1": Row("p/{n}.jpg,1,-1", ("ant", "-bee")),
    "floats": Row("p/{n}.jpg,1.0,-1.0", ("ant", "-bee")),
    "comma for a point": Row('p/{n}.jpg,"1,0","-1,0"', ("ant", "-bee")),
    "words": Row("p/{n}.jpg,TRUE,Yes", ("ant", "bee")),
    "crosses": Row("p/{n}.jpg,x,X", ("ant", "bee")),
    "spaces": Row(" p/{n}.jpg , 1 , -1 ", ("ant", "-bee")),
    "empty": Row("p/{n}.jpg,,"),
    "nan": Row("p/{n}.jpg,nan,NA"),
    "question mark": Row("p/{n}.jpg,?,u"),
    "zeros": Row("p/{n}.jpg,0,0.0"),
    "quoted": Row('"p/{n}.jpg","1","-1"', ("ant", "-bee")),
    "trailing delimiters": Row("p/{n}.jpg,1,,,,", ("ant",)),
    "a number": Row("p/{n}.jpg,1,2", why="'2' for 'bee' is none of 1, -1, 0"),
    "a word": Row("p/{n}.jpg,maybe,1", why="'maybe' for 'ant' is none of 1, -1, 0"),
    "infinity": Row("p/{n}.jpg,1,inf", why="'inf' for 'bee' is none of"),
    "too many": Row("p/{n}.jpg,1,1,1", why="cells: 4, where 3 belong"),
    "too few": Row("p/{n}.jpg,1", why="cells: 2, where 3 belong"),
    "missing": Row("p/no{n}.jpg,1,1", why="there is no image"),
}


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def pictures_for(tmp_path, numbers):
    folder = tmp_path / "mine" / "pics"
    for n in numbers:
        names = [f"p/{n}.jpg", f"p/{unicodedata.normalize('NFC', f'é{n}')}.jpg"]
        touch(folder, *names, f"p/twice{n}.jpg", f"p/twice{n}.png")
    return Pictures(folder)


def read(path, pictures, text, classes=(), zero=None):
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(content)
    known = Classes(classes, "--classes") if classes else Classes()
    return read_csv(path, pictures, known, zero)


def said(listing):
    """By image: the names of its positive classes, and of its negative ones after a minus."""
    names = listing.classes.names
    return {
        image: {names[k] for k in entry.positive} | {f"-{names[k]}" for k in entry.negative}
        for image, entry in listing.entries.items()
    }


def filled(row, n, folder):
    text = row.text.replace("{n}", n).replace("{folder}", str(folder))
    accented = "accents" in row.labels or "é" in text or "\u0301" in text
    return text, f"p/é{n}.jpg" if accented else f"p/{n}.jpg", row.why.replace("{n}", n)


@pytest.mark.parametrize(("kinds", "header"), [(LISTED, "image,labels"), (WIDE, "image,ant,bee")])
def test_two_hundred_lines_by_a_users_hand(tmp_path, kinds, header):
    numbers = [f"{i:03}" for i in range(200)]
    pictures = pictures_for(tmp_path, numbers)
    lines, expected, bad = [header], {}, {}
    for i, n in enumerate(numbers):
        row = list(kinds.values())[i % len(kinds)]
        text, image, why = filled(row, n, pictures.folder)
        if i % 7 == 3:
            lines.append(("", "  ", ",,", '""')[i % 4])
        lines.append(text)
        if why:
            bad[f"line {len(lines)}"] = why
        else:
            expected[image] = set(row.labels)
    ends = ("\n", "\r\n", "\r")
    text = "".join(line + ends[i % 3 if line else 1] for i, line in enumerate(lines))
    listing = read(tmp_path / "table.csv", pictures, text)
    assert said(listing) == expected
    assert [place for place, _ in listing.rejected] == list(bad)
    for place, why in listing.rejected:
        assert bad[place] in why
    assert listing.lines == 200


@pytest.mark.parametrize("kind", LISTED)
def test_each_kind_of_line_with_a_cell_of_labels(tmp_path, kind):
    check_alone(tmp_path, LISTED[kind], "image,labels\n{}\np/good.jpg,dog\n", "dog")


@pytest.mark.parametrize("kind", WIDE)
def test_each_kind_of_line_with_a_column_a_class(tmp_path, kind):
    check_alone(tmp_path, WIDE[kind], "image,ant,bee\n{}\np/good.jpg,-1,\n", "-ant")


def check_alone(tmp_path, row, table, good):
    pictures = pictures_for(tmp_path, ["7", "good"])
    text, image, why = filled(row, "7", pictures.folder)
    listing = read(tmp_path / "table.csv", pictures, table.format(text))
    expected = {"p/good.jpg": {good}}
    assert said(listing) == (expected if why else {image: set(row.labels), **expected})
    assert [place for place, _ in listing.rejected] == (["line 2"] if why else [])
    assert all(why in found for _, found in listing.rejected)


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_delimiters_and_line_ends(tmp_path, encoding, delimiter, end):
    pictures = pictures_for(tmp_path, ["1", "2"])
    rows = [("image", "label"), ("p/é1.jpg", '"ami;chien"'), ("p/2.jpg", "été")]
    text = end.join(delimiter.join(row) for row in rows) + end
    listing = read(tmp_path / "t.csv", pictures, text.encode(encoding))
    assert said(listing) == {"p/é1.jpg": {"ami", "chien"}, "p/2.jpg": {"été"}}
    assert not listing.rejected
    assert ["cp1252" in c for c in listing.cautions] == [True] * (encoding == "cp1252")


HEADERS = {
    "unknown words": ("photograph,what\n1.jpg,cat\n2.jpg,dog", 2, "taken for the header"),
    "none": ("1.jpg,cat\n2.jpg,dog", 2, ""),
    "none, no suffix": ("1,cat\n2,dog", 2, ""),
    "none, first image missing": ("9.jpg,cat\n1.jpg,cat\n2.jpg,dog", 3, ""),
    "pandas": (",image,labels\n0,1.jpg,cat\n1,2.jpg,dog", 2, ""),
    "pandas twice": ("Unnamed: 0,image,labels\n0,1.jpg,cat\n1,2.jpg,dog", 2, ""),
    "pandas, no header": ("0,1.jpg,cat\n1,2.jpg,dog", 2, ""),
    "pandas, unknown words": (",foto,labels\n0,1.jpg,cat\n1,2.jpg,dog", 2, "its column 2"),
    "numbers for images": (",labels\n1,cat\n2,dog", 2, "its column 1"),
    "two columns named so": ("photo,id,labels\n1,1.jpg,cat\n2,2.jpg,dog", 2, "passed over"),
    "a name without images": ("file,id,labels\nx,1.jpg,cat\ny,2.jpg,dog", 2, "passed over"),
    "an image named as the words": ("foto,labels\n1.jpg,cat\n2.jpg,dog", 2, "taken for"),
    "semicolons, then commas": ("1.jpg;cat,\n2.jpg;dog", 2, ""),
    "commas, then semicolons": ("1.jpg,cat;\n2.jpg,dog", 2, ""),
    "for Excel": ("sep=;\nimage;labels\n1.jpg;cat\n2.jpg;dog", 2, ""),
    "other order, unknown words": ("labels,image,split\ncat;,1.jpg,train\ndog,2,test", 2, ""),
    "other order": ("labels,File Name\ncat,1.jpg\ndog,2.jpg", 2, ""),
    "capitals": ("IMAGE_PATH,Tags\n1.jpg,cat\n2.jpg,dog", 2, ""),
    "spare columns": ("image,w,labels\n1.jpg,640,cat\n2.jpg,480,dog", 2, "passed over"),
    "a file named as the header": ("image,labels\n1.jpg,cat\n2.jpg,dog", 2, ""),
    "quoted": ('"image","labels"\n"1.jpg","cat"\n"2.jpg","dog"', 2, ""),
    "blank lines before": ("\n\n,,\nimage,labels\n1.jpg,cat\n2.jpg,dog", 2, ""),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers(tmp_path, kind):
    text, lines, caution = HEADERS[kind]
    touch(tmp_path / "pics", "1.jpg", "2.jpg", "image.jpg", "foto.jpg")
    listing = read(tmp_path / "t.csv", Pictures(tmp_path / "pics"), text)
    assert said(listing) == {"1.jpg": {"cat"}, "2.jpg": {"dog"}}
    assert listing.lines == lines
    assert len(listing.rejected) == lines - 2
    assert [caution in c for c in listing.cautions] == ([True] if caution else [])


SAME = {
    "labels are united": ("image,label\na.jpg,cat\n./a.jpg,dog", {"cat", "dog"}, ""),
    "cells are united": ("image,cat,dog\na.jpg,1,\na,,-1", {"cat", "-dog"}, ""),
    "said again": ("image,cat,dog\na.jpg,1,-1\na.jpg,1,-1", {"cat", "-dog"}, ""),
    "contradiction": (
        "image,cat,dog\na.jpg,1,-1\na.jpg,-1,1",
        {"cat", "-dog"},
        "'a.jpg' is both positive and negative for 'cat' (first in line 2)",
    ),
    "two splits": (
        "image,label,split\na.jpg,cat,train\na.jpg,dog,test",
        {"cat"},
        "'a.jpg' is in test here and in train in line 2",
    ),
    "unknown split": (
        "image,label,split\na.jpg,cat,train\na.jpg,dog,tst",
        {"cat"},
        "'tst' is no split, did you mean test?",
    ),
    "no split": ("image,label,split\na.jpg,cat,dev\na.jpg,dog", {"cat"}, "split is empty"),
}


@pytest.mark.parametrize("kind", SAME)
def test_an_image_in_two_lines(tmp_path, kind):
    text, expected, why = SAME[kind]
    touch(tmp_path / "pics", "a.jpg")
    listing = read(tmp_path / "t.csv", Pictures(tmp_path / "pics"), text)
    assert said(listing) == {"a.jpg": expected}
    assert [place for place, _ in listing.rejected] == (["line 3"] if why else [])
    assert all(why in found for _, found in listing.rejected)


ZEROS = {  # cells of one class, --zero, what they say; None: it asks
    "with -1": ("1 0 -1", None, "+ -"),
    "with empty cells": ("1 0 ?", None, None),
    "alone": ("1 0 0", None, None),
    "booleans": ("True False False", None, None),
    "alone, negative": ("1 0 0", "negative", "+--"),
    "booleans, negative": ("True False no", "negative", "+--"),
    "alone, unobserved": ("1 0 0", "unobserved", "+  "),
    "with -1, negative": ("1 0 -1", "negative", "+--"),
    "with empty cells, negative": ("1 0 ?", "negative", "+- "),
    "no zero": ("1 1 ?", None, "++ "),
    "ones alone": ("1 1 1", None, "+++"),
}


@pytest.mark.parametrize("kind", ZEROS)
def test_what_a_zero_says_is_never_guessed(tmp_path, kind):
    cells, zero, expected = ZEROS[kind]
    touch(tmp_path / "pics", "0.jpg", "1.jpg", "2.jpg")
    pictures = Pictures(tmp_path / "pics")
    text = "image,cat\n" + "".join(f"{i}.jpg,{cell}\n" for i, cell in enumerate(cells.split()))
    if expected is None:
        with pytest.raises(UserError, match="1 and 0 and no -1: give --zero negative if"):
            read(tmp_path / "t.csv", pictures, text, zero=zero)
        return
    listing = read(tmp_path / "t.csv", pictures, text, zero=zero)
    signs = {frozenset(): " ", frozenset({"cat"}): "+", frozenset({"-cat"}): "-"}
    assert "".join(signs[frozenset(found)] for found in said(listing).values()) == expected
    assert not listing.cautions


def test_a_list_of_classes_fixes_order_and_set(tmp_path):
    touch(tmp_path / "pics", "a.jpg", "b.jpg")
    pictures = Pictures(tmp_path / "pics")
    classes = ("zebra", "cat, wild", "cat")
    table = 'image,labels\na.jpg,"cat, wild;cat"\na.jpg,"cat, wild"\nb.jpg,zebar\n'
    listing = read(tmp_path / "t.csv", pictures, table, classes)
    assert listing.classes.names == classes
    assert said(listing) == {"a.jpg": {"cat, wild", "cat"}}
    assert listing.rejected == [("line 4", "'zebar' is no class of --classes, did you mean zebra?")]
    wide = read(tmp_path / "w.csv", pictures, "image,cat,zebra\na.jpg,1,-1\n", classes)
    assert wide.classes.names == classes
    assert said(wide) == {"a.jpg": {"cat", "-zebra"}}
    assert any("without a column" in caution for caution in wide.cautions)


def test_a_column_that_is_no_listed_class_is_named_and_is_no_bad_line(tmp_path):
    touch(tmp_path / "pics", "a.jpg")
    pictures, table = Pictures(tmp_path / "pics"), "image,cat,zebar,{}zebra\na.jpg,1,1,{}-1\n"
    with pytest.raises(UserError) as caught:
        read(tmp_path / "w.csv", pictures, table.format("", ""), ("zebra", "cat"))
    message = str(caught.value)
    assert "the column 'zebar' is no class of --classes, did you mean zebra?" in message
    assert "--other_classes ignore" in message
    with pytest.raises(UserError, match=r"no class of --classes: 2 \('zebar', 'owl'\)"):
        read(tmp_path / "w.csv", pictures, table.format("owl,", "1,"), ("zebra", "cat"))


def test_other_classes_can_be_ignored(tmp_path):
    touch(tmp_path / "pics", "a.jpg", "b.jpg")
    pictures = Pictures(tmp_path / "pics")
    for table in ("image,cat,owl,bat\na.jpg,1,1,0\nb.jpg,-1,-1,1\n",
                  "image,label\na.jpg,cat;owl\nb.jpg,bat;owl\n"):  # fmt: skip
        path = tmp_path / "t.csv"
        path.write_text(table)
        known = Classes(["cat"], "--classes c.txt", ignores=True)
        listing = read_csv(path, pictures, known, None)
        wide = "bat\n" in table
        assert said(listing) == {"a.jpg": {"cat"}, "b.jpg": {"-cat"} if wide else set()}
        assert not listing.rejected
        start = "labels that are no class of --classes c.txt, ignored: 2 ('owl', 'bat'), met "
        assert known.ignored() == f"{start}{2 if wide else 3} times"
    assert not Classes(["cat"], "--classes c.txt").ignored()


def test_only_a_name_that_is_very_close_is_suggested(tmp_path):
    touch(tmp_path / "pics", "a.jpg")
    table = "image,label\na.jpg,chair\na.jpg,cars\n"
    listing = read(tmp_path / "t.csv", Pictures(tmp_path / "pics"), table, ("car",))
    assert [why for _, why in listing.rejected] == [
        "'chair' is no class of --classes", "'cars' is no class of --classes, did you mean car?",
    ]  # fmt: skip


def test_a_column_that_holds_nothing_is_passed_over_unless_it_is_listed(tmp_path):
    touch(tmp_path / "pics", "a.jpg", "b.jpg")
    pictures = Pictures(tmp_path / "pics")
    table = "image,cat,notes,owl,dog\na.jpg,1,,?,0\nb.jpg,-1,NaN,,\n"
    listing = read(tmp_path / "t.csv", pictures, table)
    assert listing.classes.names == ("cat", "dog")
    assert said(listing) == {"a.jpg": {"cat"}, "b.jpg": {"-cat"}}
    caution = "columns that hold nothing, passed over: 2 ('notes', 'owl') (--classes FILE keeps"
    assert [caution in c for c in listing.cautions] == [True]
    names = ("cat", "notes", "owl", "dog")
    listing = read(tmp_path / "t.csv", pictures, table, names)
    assert listing.classes.names == names
    assert not listing.cautions
    with pytest.raises(UserError, match="no column of a class holds anything"):
        read(tmp_path / "t.csv", pictures, "image,cat,dog\na.jpg,,\nb.jpg,?,\n")


@pytest.mark.parametrize("name", ["label", "Labels", "class", "category", "tags"])
@pytest.mark.parametrize("cells", ["0 1 2", "0 0 1 0 3 1", "1;2 0 1", "0 1 ? 7"])
def test_numbers_in_a_column_of_labels_are_no_question_of_zero(tmp_path, name, cells):
    images = [f"{i}.jpg" for i in range(6)]
    touch(tmp_path / "pics", *images)
    rows = [f"{image},{cell}\n" for image, cell in zip(images, cells.split(), strict=False)]
    strange = next(cell for cell in cells.split() if cell not in "01?")
    with pytest.raises(UserError) as caught:
        read(tmp_path / "t.csv", Pictures(tmp_path / "pics"), f"image,{name}\n{''.join(rows)}")
    rule = f"holds numbers such as {strange}: write names, or list these numbers with --classes"
    assert rule in str(caught.value)
    listing = read(
        tmp_path / "t.csv", Pictures(tmp_path / "pics"), f"image,{name}\n{''.join(rows)}",
        ("0", "1", "2", "3", "7", "?"),
    )  # fmt: skip
    assert not listing.rejected


def test_a_path_outside_gets_a_hint_where_one_picture_has_its_name(tmp_path):
    touch(tmp_path / "pics", "a/1.jpg", "a/2.jpg", "b/2.jpg")
    pictures = Pictures(tmp_path / "pics")
    for path, hint in (
        ("C:\\photos\\1.jpg", ", did you mean 'a/1.jpg'?"),
        ("/photos/1.jpg", ", did you mean 'a/1.jpg'?"),
        ("..\\1.jpg", ", did you mean 'a/1.jpg'?"),
        ("C:\\photos\\2.jpg", ""),
        ("photos\\1.jpg", ", did you mean 'a/1.jpg'?"),
    ):
        with pytest.raises(Unusable) as caught:
            pictures.find(path)
        message = str(caught.value)
        assert f"image '{path}'" in message, "the path as it was written, nothing doubled"
        assert message.partition(", did you")[2] == hint.partition(", did you")[2]


def test_a_wide_table_without_header_takes_the_list_of_classes(tmp_path):
    touch(tmp_path / "pics", "a.jpg", "b.jpg")
    listing = read(
        tmp_path / "t.csv", Pictures(tmp_path / "pics"), "a.jpg,1,-1\nb.jpg,,1\n", CLASSES
    )
    assert said(listing) == {"a.jpg": {"ant", "-bee"}, "b.jpg": {"bee"}}


def test_numbers_can_be_names_if_they_are_listed(tmp_path):
    touch(tmp_path / "pics", "a.jpg")
    listing = read(
        tmp_path / "t.csv", Pictures(tmp_path / "pics"), "image,label\na.jpg,7\n", ("3", "7")
    )
    assert said(listing) == {"a.jpg": {"7"}}


def test_the_labels_are_sorted_and_those_of_rejected_lines_are_no_classes(tmp_path):
    touch(tmp_path / "pics", "a.jpg")
    table = "image,label,split\na.jpg,owl;ape;cat,train\na.jpg,bat,test\nno.jpg,cow,train\n"
    listing = read(tmp_path / "t.csv", Pictures(tmp_path / "pics"), table)
    assert listing.classes.names == ("ape", "cat", "owl")
    assert listing.entries["a.jpg"].positive == (0, 1, 2)


def test_a_cell_of_several_lines_counts_with_its_first_one(tmp_path):
    touch(tmp_path / "pics", "a.jpg", "b.jpg", "c.jpg")
    table = 'image,label\n"a.jpg","cat;\ndog"\nb.jpg,owl,no\n"c.jpg,owl\nb.jpg,"cat"\n'
    listing = read(tmp_path / "t.csv", Pictures(tmp_path / "pics"), table)
    assert said(listing) == {"a.jpg": {"cat", "dog"}, "b.jpg": {"cat"}}
    assert listing.entries["a.jpg"].place == "lines 2-3"
    assert [place for place, _ in listing.rejected] == ["line 4", "line 5"]


def test_a_stray_quote_does_not_swallow_the_lines_up_to_the_next(tmp_path):
    touch(tmp_path / "pics", "a.jpg", "b.jpg", "c.jpg")
    table = 'image,label\n"c.jpg,owl\nb.jpg,cat\na.jpg,dog"\n'
    listing = read(tmp_path / "t.csv", Pictures(tmp_path / "pics"), table)
    assert said(listing) == {"b.jpg": {"cat"}, "a.jpg": {'dog"'}}
    assert listing.rejected == [("line 2", "a quote is not closed")]


def test_a_listed_class_may_hold_any_sign(tmp_path):
    touch(tmp_path / "pics", "a.jpg")
    table = "image,labels\na.jpg,x;y\n"
    listing = read(tmp_path / "t.csv", Pictures(tmp_path / "pics"), table, ("x", "x;y"))
    assert said(listing) == {"a.jpg": {"x;y"}}


def test_a_file_is_found_first_by_exactly_its_name(tmp_path):
    touch(tmp_path / "pics", "p/a.jpg", "p\\a.jpg", "./pics/p/a.jpg", "p/a")
    pictures = Pictures(tmp_path / "pics")
    for name in ("p\\a.jpg", "p/a.jpg", "pics/p/a.jpg", "p/a"):
        assert pictures.find(name) == name


WRONG_TABLES = {
    "empty": ("", "is empty: give a table"),
    "blank": ("\n , \n", "is empty: give a table"),
    "a workbook": (b"PK\x03\x04rest", "is a workbook or an archive, no text"),
    "no text": (b"\xff\x81\x00", "is no text: give a CSV table or a COCO .json"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is no text: give a CSV table"),
    "zeros": (b"\0" * 9, "is no text: give a CSV table"),
    "an array": (b"\x93NUMPY\x01\x00v\x00{}", "is no text: give a CSV table"),
    "another encoding": (b"image,label\na.jpg,\x81\x8d", "is no cp1252 text"),
    "header alone": ("image,labels\n", "holds no line below its header"),
    "header alone, wide": ("image,cat,dog\n\n", "holds no line below its header"),
    "one column": ("image\na.jpg", "has no column of labels"),
    "class numbers": ("image,label\na.jpg,7\n", "holds numbers such as 7"),
    "two of a name": ("image,cat,cat\na.jpg,1,1\n", "columns 2 and 3 are both named 'cat'"),
    "no name": ("image,cat,,dog\na.jpg,1,1,1\n", "column 3 has no name"),
    "header": ('"image,cat\na.jpg,1\n', "line 1, the header: a quote is not closed"),
    "no header": ("a.jpg,1,1\n", "has no header line (it begins with 'a.jpg'), and 2 columns"),
}


@pytest.mark.parametrize("kind", WRONG_TABLES)
def test_a_table_that_cannot_be_understood(tmp_path, kind):
    text, message = WRONG_TABLES[kind]
    touch(tmp_path / "pics", "a.jpg")
    with pytest.raises(UserError) as caught:
        read(tmp_path / "t.csv", Pictures(tmp_path / "pics"), text)
    assert message in str(caught.value)


def test_an_absolute_path_through_a_link_is_inside(tmp_path):
    touch(tmp_path / "pics", "a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "pics")
    pictures = Pictures(tmp_path / "link")
    assert pictures.find(str(tmp_path / "link" / "a.jpg")) == "a.jpg"
    assert pictures.find(str(tmp_path / "pics" / "a.jpg")) == "a.jpg"
    assert f"{tmp_path}/pics/../pics/b/a.jpg" not in pictures


def test_links_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path / "else", "b.jpg")
    touch(tmp_path / "pics", "a.jpg", "._a.jpg", "notes.txt")
    (tmp_path / "pics" / "far").symlink_to(tmp_path / "else")
    (tmp_path / "pics" / "again").symlink_to(tmp_path / "pics")
    (tmp_path / "pics" / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    pictures = Pictures(tmp_path / "pics")
    assert pictures.names == ["a.jpg", "far/b.jpg"]
    assert pictures.others == ["._a.jpg", "notes.txt"]
    assert "broken.jpg" not in pictures
    assert Path(pictures.folder) == tmp_path / "pics"


def test_no_text_at_all_ends_in_anything_but_a_listing_or_one_line(tmp_path):
    """Random texts of the signs that mean something; each line is usable, rejected or blank."""
    touch(tmp_path / "pics", "a.jpg", "b/a.jpg", "1.jpg")
    pictures = Pictures(tmp_path / "pics")
    words = [*',;|\t"\n\r\0-/\\', "a", "a.jpg", "b", "1", "0", "-1", "image", "labels", "sep=", "é"]
    rng = np.random.RandomState(7)
    read_well = 0
    for _ in range(2_000):
        text = "".join(rng.choice(words, rng.randint(1, 40)))
        text = rng.choice(["", "image,labels\n", "image;x;y\n"]) + text
        try:
            listing = read(tmp_path / "t.csv", pictures, str(text), zero="negative")
        except UserError:
            continue
        read_well += 1
        assert set(listing.entries) <= set(pictures.names)
        lines = [place for place, _ in listing.rejected if place.startswith("line")]
        assert len(lines) == len(set(lines)) <= listing.lines
        assert len(listing.entries) <= listing.lines - len(lines)
    assert read_well > 500
