"""NUS-WIDE, from the arrays of SPML and from the original release."""

import json
import shutil

import numpy as np
import pytest

from cli import UserError
from data.format_nuswide import HOW, read_nuswide
from data.formatted import write_formatted
from tests.releases import NUSWIDE_CONCEPTS, make_nuswide

TRAIN_LIST, CONCEPTS = "ImageList/TrainImagelist.txt", "ConceptsList/Concepts81.txt"
LABELS = "Groundtruth/TrainTestLabels/Labels_concept_05_Train.txt"
ALL_LABELS = "Groundtruth/AllLabels/Labels_concept_05.txt"
UNNAMED = tuple(f"class {column}" for column in range(81))


@pytest.fixture
def release(tmp_path):
    return make_nuswide(tmp_path)


@pytest.fixture
def spml(tmp_path):
    return make_nuswide(tmp_path, spml=True)


def lines_of(path):
    return path.read_text().splitlines()


def change_line(path, number, text):
    """Put `text` in place of a line, counted from 1; None removes it."""
    lines = lines_of(path)
    lines[number - 1 : number] = [] if text is None else [text]
    path.write_text("".join(f"{line}\n" for line in lines))


def labels_by_image(formatted):
    return {
        image: row.tolist()
        for part in formatted.parts.values()
        for image, row in zip(part.images.tolist(), part.labels, strict=True)
    }


def assert_same(first, second):
    assert first.classes == second.classes
    for name, part in first.parts.items():
        np.testing.assert_array_equal(part.images, second.parts[name].images)
        np.testing.assert_array_equal(part.labels, second.parts[name].labels)


def refused(folder, source=""):
    with pytest.raises(UserError) as error:
        read_nuswide(folder, source)
    assert "\n" not in str(error.value)
    return str(error.value)


# the original release


def test_the_release_agrees_with_its_lines(release):
    formatted = read_nuswide(release)
    assert (formatted.classes, formatted.truth) == (NUSWIDE_CONCEPTS, "full")
    for suffix, part, count in (("Train", formatted.train, 14), ("Test", formatted.val, 9)):
        listed = lines_of(release / f"ImageList/{suffix}Imagelist.txt")
        assert all("\\" in line for line in listed)
        assert part.images.tolist() == [line.replace("\\", "/") for line in listed]
        assert all((release / "Flickr" / image).is_file() for image in part.images)
        assert (part.labels.shape, part.labels.dtype) == ((count, 81), np.int8)
        for concept, column in zip(NUSWIDE_CONCEPTS, part.labels.T, strict=True):
            path = release / f"Groundtruth/TrainTestLabels/Labels_{concept}_{suffix}.txt"
            assert [str(label) for label in column] == lines_of(path)


def test_images_without_a_label_are_kept_and_counted(release):
    formatted = read_nuswide(release)
    empty = [int((part.labels == 0).all(axis=1).sum()) for part in formatted.parts.values()]
    assert sum(empty) == 3
    assert formatted.source == (
        "NUS-WIDE release, 13 % of the images without any label "
        f"({empty[0]} of 14 train, {empty[1]} of 9 val)"
    )


@pytest.mark.parametrize("archive", ["ImageList", "Groundtruth", "ConceptsList"])
@pytest.mark.parametrize("place", ["no top folder", "two", "within NUS-WIDE"])
def test_archives_unpack_with_and_without_a_top_folder(release, archive, place):
    before = read_nuswide(release)
    contents = (release / archive).rename(release / "elsewhere")
    if place == "no top folder":
        for path in contents.iterdir():
            path.rename(release / path.name)
    else:
        top = release / (archive if place == "two" else "NUS-WIDE")
        top.mkdir()
        contents.rename(top / archive)
    assert_same(read_nuswide(release), before)


@pytest.mark.parametrize("prefix", ["Flickr\\", "C:\\ImageData\\Flickr\\", "Flickr/"])
def test_a_path_loses_the_folder_of_the_pictures(release, prefix):
    before = read_nuswide(release)
    for name in ("Train", "Test"):
        path = release / f"ImageList/{name}Imagelist.txt"
        path.write_text("".join(f"{prefix}{line}\r\n" for line in lines_of(path)))
    assert_same(read_nuswide(release), before)


def test_a_folder_whose_name_ends_in_flickr_stays(release):
    change_line(release / TRAIN_LIST, 1, "myFlickr\\a.jpg")
    assert read_nuswide(release).train.images[0] == "myFlickr/a.jpg"


NOT_A_PATH = ["", "/etc/a.jpg", "..\\a.jpg", "a\\..\\..\\b.jpg", "C:\\a.jpg", "a\\\\b.jpg", "a\\"]


@pytest.mark.parametrize("line", NOT_A_PATH)
def test_a_line_that_leads_elsewhere_is_refused(release, line):
    change_line(release / TRAIN_LIST, 4, line)
    said = refused(release)
    assert f"TrainImagelist.txt, line 4: {line!r} must be the path of a picture" in said


def test_an_image_listed_twice_is_refused(release):
    first = lines_of(release / TRAIN_LIST)[0]
    change_line(release / TRAIN_LIST, 7, first.replace("\\", "/"))
    assert "TrainImagelist.txt, line 7: the image " in refused(release)


def test_an_image_in_both_parts_is_refused(release):
    image = lines_of(release / TRAIN_LIST)[0]
    change_line(release / "ImageList/TestImagelist.txt", 2, image)
    said = refused(release)
    assert "TestImagelist.txt holds " + image.replace("\\", "/") + ", which is in train" in said


def test_lists_and_labels_of_different_length_are_refused(release):
    change_line(release / TRAIN_LIST, 14, None)
    assert "Labels_concept_00_Train.txt has 14 lines, TrainImagelist.txt 13" in refused(release)


@pytest.mark.parametrize(("line", "text", "found"), [(14, None, 13), (1, "0\n1", 15)])
def test_a_label_file_of_another_length_is_refused(release, line, text, found):
    change_line(release / LABELS, line, text)
    assert f"concept_05_Train.txt has {found} lines, TrainImagelist.txt 14" in refused(release)


@pytest.mark.parametrize("word", ["-1130179", "2", "", "0 1", "01", "yes", "1.0"])
def test_a_line_that_is_no_label_is_named(release, word):
    change_line(release / LABELS, 3, word)
    (release / ALL_LABELS).unlink()
    said = refused(release)
    assert f"Labels_concept_05_Train.txt, line 3: {word!r} must be 0 or 1" in said
    assert "Groundtruth/AllLabels/Labels_concept_05.txt" in said


def test_a_line_that_is_no_label_is_taken_from_all_labels(release):
    before = read_nuswide(release)
    change_line(release / LABELS, 3, "-1130179")
    change_line(release / LABELS, 12, "?")
    mended = read_nuswide(release)
    assert_same(mended, before)
    note = "; Labels_concept_05_Train.txt, line 3, 12, taken from AllLabels"
    assert mended.source == before.source + note


def test_all_labels_that_contradict_another_line_are_not_believed(release):
    change_line(release / LABELS, 3, "-1130179")
    old = lines_of(release / LABELS)[4]
    change_line(release / LABELS, 5, "0" if old == "1" else "1")
    assert "Labels_concept_05_Train.txt, line 3: '-1130179' must be" in refused(release)


def test_all_labels_do_not_stand_in_for_a_whole_file(release):
    (release / LABELS).write_text("x\n" * 14)
    assert "Labels_concept_05_Train.txt, line 1: 'x' must be 0 or 1" in refused(release)


def test_all_labels_without_the_image_are_not_believed(release):
    change_line(release / LABELS, 3, "-1130179")
    image = lines_of(release / TRAIN_LIST)[2]
    row = lines_of(release / "ImageList/Imagelist.txt").index(image)
    change_line(release / "ImageList/Imagelist.txt", row + 1, "another\\0001_1.jpg")
    assert "Labels_concept_05_Train.txt, line 3: '-1130179' must be" in refused(release)


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "concept_00"])
def test_a_line_that_names_no_concept_is_refused(release, name):
    change_line(release / CONCEPTS, 9, name)
    assert f"Concepts81.txt, line 9: {name!r} must be the name" in refused(release)


def test_a_concept_too_few_is_refused(release):
    change_line(release / CONCEPTS, 81, None)
    assert "Concepts81.txt must list 81 concepts, it has 80 lines" in refused(release)


@pytest.mark.parametrize("name", [TRAIN_LIST, CONCEPTS, LABELS])
def test_a_missing_file_of_the_release_is_named(release, name):
    (release / name).unlink()
    with pytest.raises(FileNotFoundError) as error:
        read_nuswide(release, "release")
    assert error.value.filename == str(release / name)


@pytest.mark.parametrize("name", [TRAIN_LIST, CONCEPTS, LABELS])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x81", b"\n\n"])
def test_an_unreadable_file_of_the_release_is_named(release, name, content):
    (release / name).write_bytes(content)
    assert str(release / name) in refused(release)


# the arrays of SPML


def arrays_of(folder):
    paths = sorted(folder.glob("formatted_*.npy"))
    assert len(paths) == 4
    return {path.stem.removeprefix("formatted_"): np.load(path) for path in paths}


def put(folder, name, array):
    np.save(folder / f"formatted_{name}.npy", array)


def test_the_arrays_of_spml_are_read_as_they_are(spml):
    arrays = arrays_of(spml)
    formatted = read_nuswide(spml)
    for name, part in formatted.parts.items():
        assert part.images.tolist() == arrays[f"{name}_images"].tolist()
        assert all((spml / "Flickr" / image).is_file() for image in part.images)
        assert part.labels.dtype == np.int8
        np.testing.assert_array_equal(part.labels, arrays[f"{name}_labels"])
    assert (formatted.classes, formatted.truth) == (UNNAMED, "full")
    empty = [int((part.labels == 0).all(axis=1).sum()) for part in formatted.parts.values()]
    assert sum(empty) == 3
    assert formatted.source == (
        "SPML arrays, 13 % of the images without any label "
        f"({empty[0]} of 14 train, {empty[1]} of 9 val); "
        "columns without names: no whole release to compare them with"
    )


def test_backslashes_of_spml_become_slashes(spml):
    before = read_nuswide(spml)
    names = arrays_of(spml)["train_images"]
    put(spml, "train_images", np.char.replace(names, "/", "\\").astype(bytes))
    assert_same(read_nuswide(spml), before)


def test_columns_are_named_by_the_labels_of_the_release(spml, tmp_path):
    """In any order: it is the positives that tell, not the place."""
    release = make_nuswide(tmp_path)
    order = np.random.RandomState(5).permutation(81)
    for name in ("train_labels", "val_labels"):
        put(spml, name, arrays_of(spml)[name][:, order])
    formatted = read_nuswide(spml)
    assert formatted.source.startswith("SPML arrays, ")
    assert formatted.source.endswith("; columns named by the release")
    assert formatted.classes == tuple(NUSWIDE_CONCEPTS[column] for column in order)
    expected = labels_by_image(read_nuswide(release, "release"))
    assert labels_by_image(formatted) == {
        image: [row[column] for column in order] for image, row in expected.items()
    }


def test_the_list_of_concepts_alone_names_no_column(spml, tmp_path):
    shutil.copytree(make_nuswide(tmp_path / "other") / "ConceptsList", spml / "ConceptsList")
    formatted = read_nuswide(spml)
    assert formatted.classes == UNNAMED
    assert formatted.source.endswith("no whole release to compare them with")


@pytest.mark.parametrize("change", ["two alike", "fewer labels", "other labels", "other images"])
def test_columns_that_the_release_does_not_tell_apart_have_no_names(spml, tmp_path, change):
    make_nuswide(tmp_path)
    arrays = arrays_of(spml)
    commonest = (arrays["train_labels"].sum(axis=0) + arrays["val_labels"].sum(axis=0)).argmax()
    for part in ("train", "val"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        if change == "two alike":
            labels[:, 3] = labels[:, 8]
        elif change == "fewer labels":  # of the commonest concept
            labels[np.char.startswith(images, "zoo/"), commonest] = 0
        elif change == "other labels":
            labels[:, 3] = 1 - labels[:, 3]
        else:
            images = np.char.add("x", images)
        put(spml, f"{part}_images", images)
        put(spml, f"{part}_labels", labels)
    formatted = read_nuswide(spml)
    assert formatted.classes == UNNAMED
    assert formatted.source.endswith("columns without names: they differ from the release")


def test_a_bad_release_beside_them_does_not_stop_spml(spml, tmp_path):
    release = make_nuswide(tmp_path)
    change_line(release / LABELS, 14, None)
    formatted = read_nuswide(spml)
    assert formatted.source.startswith("SPML arrays, ")
    assert formatted.classes == UNNAMED


BAD_ARRAYS = {
    "rows": ("train_labels", np.zeros((13, 81)), "holds float64 of shape (13, 81), where the"),
    "columns": ("val_labels", np.zeros((9, 80)), "of shape (9, 80), where the labels of 9 images"),
    "flat": ("train_labels", np.zeros(14), "holds float64 of shape (14,), where the labels"),
    "text": ("train_labels", np.full((14, 81), "0"), "holds <U1 of shape (14, 81), where"),
    "value": ("val_labels", np.full((9, 81), -1), "holds -1 (row 0, column 0), not 0 or 1"),
    "nan": ("val_labels", np.full((9, 81), np.nan), "holds nan (row 0, column 0), not 0 or 1"),
    "numbers": ("train_images", np.arange(14), "holds int64 of shape (14,), not names [N]"),
    "table": ("train_images", np.full((14, 1), "a.jpg"), "of shape (14, 1), not names [N]"),
    "bytes": ("val_images", np.array([b"\xff"] * 9), "holds names that are no text or ASCII"),
    "twice": ("val_images", np.array(["a.jpg"] * 9), "row 1: the image a.jpg is listed twice"),
    "empty": ("val_images", np.array(["a.jpg", ""]), "row 1: '' must be the path of a picture"),
    "out": ("val_images", np.array(["../a.jpg"]), "row 0: '../a.jpg' must be the path"),
}


@pytest.mark.parametrize(("name", "array", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_arrays_of_spml_are_named(spml, name, array, message):
    put(spml, name, array)
    said = refused(spml)
    assert f"formatted_{name}.npy" in said
    assert message in said


def test_spml_with_no_image_is_refused(spml):
    put(spml, "val_images", np.array([], dtype="U1"))
    put(spml, "val_labels", np.zeros((0, 81)))
    assert "formatted_val_images.npy leaves no labelled image" in refused(spml)


def test_an_image_in_both_parts_of_spml_is_refused(spml):
    arrays = arrays_of(spml)
    put(spml, "val_images", np.append(arrays["val_images"][1:], arrays["train_images"][0]))
    assert "formatted_val_images.npy holds " in refused(spml)


@pytest.mark.parametrize("name", ["train_images", "train_labels", "val_images", "val_labels"])
def test_a_missing_array_is_named(spml, name):
    (spml / f"formatted_{name}.npy").unlink()
    with pytest.raises(FileNotFoundError) as error:
        read_nuswide(spml)
    assert error.value.filename == str(spml / f"formatted_{name}.npy")


# which of the two


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("", f"formatted_train_images.npy of SPML, or else {{}}/{TRAIN_LIST}"),
        ("release", TRAIN_LIST),
        ("spml", "formatted_train_images.npy"),
    ],
)
def test_where_nothing_is_there_the_first_file_is_named(tmp_path, source, name):
    with pytest.raises(FileNotFoundError) as error:
        read_nuswide(tmp_path, source)
    assert error.value.filename == f"{tmp_path}/{name.format(tmp_path)}"


def test_spml_comes_first_and_either_can_be_asked_for(spml, tmp_path):
    make_nuswide(tmp_path)
    first, second = read_nuswide(spml, "spml"), read_nuswide(spml, "release")
    assert_same(read_nuswide(spml), first)
    assert second.source.startswith("NUS-WIDE release, ")
    assert set(first.train.images) != set(second.train.images)


def test_what_was_made_from_spml_reads_as_itself(spml):
    first = read_nuswide(spml)
    write_formatted(spml, first, "Flickr", {})
    again = read_nuswide(spml)
    assert_same(again, first)
    assert again.source == first.source


@pytest.mark.parametrize("about", ["kept", "lost"])
def test_what_was_made_from_the_release_is_not_taken_for_spml(release, about):
    """Nor where the preparation was killed before it wrote dataset.json."""
    first = read_nuswide(release)
    write_formatted(release, first, "Flickr", {})
    if about == "lost":
        (release / "dataset.json").unlink()
        (release / "formatted_val_images.npy").unlink()
    again = read_nuswide(release)
    assert_same(again, first)
    assert again.source == first.source
    assert "were made from the NUS-WIDE release" in refused(release, "spml")


def test_without_the_release_dataset_json_tells_what_was_made_from_it(release):
    write_formatted(release, read_nuswide(release), "Flickr", {})
    shutil.rmtree(release / "ImageList")
    with pytest.raises(FileNotFoundError, match="TrainImagelist"):
        read_nuswide(release)
    assert "were made from the NUS-WIDE release" in refused(release, "spml")


def test_spml_put_over_what_was_made_from_the_release_is_spml(release, tmp_path):
    write_formatted(release, read_nuswide(release), "Flickr", {})
    make_nuswide(tmp_path, spml=True)
    assert json.loads((release / "dataset.json").read_text())["source"].startswith("NUS-WIDE")
    assert read_nuswide(release).source.startswith("SPML arrays, ")


def test_how_names_what_is_read(release, spml):
    for name in ("Flickr.zip", "formatted_{train,val}_{images,labels}.npy", "ConceptsList.zip"):
        assert name in HOW
    assert max(map(len, HOW.splitlines())) <= 100
