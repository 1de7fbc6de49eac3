"""The page on which suggested labels are reviewed, in a browser: decisions, and that they stay."""

import base64
import contextlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from data.labels import sparse_labels
from datasets import Split
from image_files import ImageFiles
from tests.browser import opened
from tools.decisions import read_decisions
from tools.suggest_page import page, write
from tools.suggestions import Ranked

HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    '" onmouseover="window.hacked = 1" <!-- \u202e\n\t<!-- data --> &lt; \x00 \' ' + "long" * 125
)
MAP = base64.b64encode(bytes([0, 255, 60, 0])).decode()


def content(count=6, name=lambda text: text, maps=True):
    """Suggestions of three classes in turn, two an image."""
    items = [
        {
            "image": place // 2, "label": place % 3, "score": 1 - place / count, "final": 0.5,
            "early": 0.25, "loss": [0.1, 0.5, 2.25], "selected": [1, 2], "map": MAP if maps else "",
        }
        for place in range(count)
    ]  # fmt: skip
    images = [
        {
            "name": name(f"image {place}"), "picture": ["images/00000.png", 30, 20],
            "positive": [(place + 2) % 3], "negative": [],
        }
        for place in range((count + 1) // 2)
    ]  # fmt: skip
    classes = [name(f"class {column}") for column in range(3)]
    about = {"run": name("runs/one"), "digest": "0123456789abcdef", "data": {"classes": "c"}}
    return {**about, "classes": classes, "images": images, "items": items,
            "maps": [2, 2] if maps else None}  # fmt: skip


@pytest.fixture
def show(browser, tmp_path):
    """Open a page, and see afterwards that it took its pictures alone and complained of nothing."""
    path, shown = tmp_path / "index.html", []
    picture = tmp_path / "images" / "00000.png"
    picture.parent.mkdir()
    Image.new("RGB", (30, 20), "gray").save(picture)
    with contextlib.ExitStack() as windows:

        def show(told, **options):
            path.write_text(page(told), encoding="utf-8")
            shown.append(windows.enter_context(opened(browser, path, **options)))
            return shown[-1].page

        yield show
    for window in shown:
        asked = {address for address in window.requests if not address.startswith("blob:")}
        assert asked <= {path.as_uri(), picture.as_uri()}
        assert window.complaints == []


def label(shown):
    return shown.locator("#label").inner_text()


def counted(shown):
    return shown.locator("#count").inner_text()


def rank(shown):
    return int(shown.locator("#facts dd").last.inner_text().split()[0])


def test_a_suggestion_is_shown_with_all_that_speaks_for_it(show):
    shown = show(content())
    assert shown.locator("#facts").inner_text().split("\n") == [
        "decision", "undecided", "score", "1.000", "early, final", "0.250, 0.500",
        "given labels", "class 2", "also suggested", "class 1", "undecided",
        "image", "image 0", "rank", "1 of 6",
    ]  # fmt: skip
    assert shown.locator("#curve circle").count() == 2
    assert len(shown.locator("#curve polyline").get_attribute("points").split()) == 3
    pixels = "document.getElementById('map').getContext('2d').getImageData(0, 0, 2, 2).data"
    assert shown.evaluate(f"[...{pixels}].filter((_, place) => place % 4 === 3)") == [
        0, 153, 36, 0,
    ]  # fmt: skip
    shown.keyboard.press("m")
    assert not shown.locator("#map").is_visible()
    assert shown.evaluate("document.getElementById('picture').naturalWidth") == 30


def test_without_weights_there_is_no_map_to_toggle(show):
    shown = show(content(maps=False))
    assert not shown.locator("#with-map").is_visible()
    assert not shown.locator("#map").is_visible()


def test_an_empty_map_is_explained(show):
    told = content()
    told["items"][1]["map"] = base64.b64encode(bytes(4)).decode()
    shown = show(told)
    assert not shown.locator("#no-place").is_visible()
    shown.keyboard.press("ArrowRight")
    assert shown.get_by_text("No place speaks for this class.").is_visible()
    shown.keyboard.press("m")
    assert not shown.locator("#no-place").is_visible()


def test_other_labels_of_the_image_are_told_and_gone_to(show):
    told = content(9)
    for item in told["items"][::4]:
        item["image"] = 0  # which has 1, 2, 5, 9 of the list then
    shown = show(told)
    others = shown.locator("#facts button")
    assert others.all_inner_texts() == [f"class {column}\nundecided" for column in (1, 1, 2)]
    shown.keyboard.press("a")
    assert others.first.inner_text() == "class 0\naccepted"
    for then in (5, 9, 1, 2):
        shown.keyboard.press("o")
        assert rank(shown) == then
    shown.locator("#state").select_option("accepted")
    others.last.click()
    assert (rank(shown), shown.locator("#list li").count()) == (9, 9)
    assert "shown again" in shown.locator("#said").inner_text()


def test_the_list_goes_by_image_too(show):
    told = content(6)
    for item, image in zip(told["items"], (1, 0, 2, 0, 1, 2), strict=True):
        item["image"] = image
    shown = show(told)
    shown.locator("#order").focus()
    shown.locator("#order").select_option("by image")
    order = "[...document.querySelectorAll('#list button')].map((each) => each.dataset.number)"
    assert shown.evaluate(order) == ["0", "4", "1", "3", "2", "5"]
    shown.keyboard.press("a")
    assert rank(shown) == 5


@pytest.mark.parametrize("width", [400, 1000, 1400])
def test_the_picture_comes_into_view_and_is_as_large_as_the_window_lets_it(show, width):
    shown = show(content(120), width=width, height=700)
    for act in (lambda: shown.locator("#list button").last.click(),
                lambda: shown.keyboard.press("ArrowLeft")):  # fmt: skip
        shown.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        act()
        box = shown.locator("#picture").bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 700
        assert box["width"] == pytest.approx(1.5 * box["height"], abs=2)
        assert box["width"] > min(0.85 * width, 540)
        over = shown.locator("#map").bounding_box()
        assert over == pytest.approx(box, abs=1)


def test_decisions_are_made_and_taken_back_by_keyboard(show):
    shown = show(content())
    for key, then, said in (
        ("a", 2, "1 of 6 decided: 1 accepted, 0 rejected"),
        ("r", 3, "2 of 6 decided: 1 accepted, 1 rejected"),
        ("u", 2, "1 of 6 decided: 1 accepted, 0 rejected"),
        ("ArrowLeft", 1, "1 of 6 decided: 1 accepted, 0 rejected"),
        ("R", 2, "1 of 6 decided: 0 accepted, 1 rejected"),
        ("u", 1, "1 of 6 decided: 1 accepted, 0 rejected"),
        ("u", 1, "0 of 6 decided: 0 accepted, 0 rejected"),
        ("u", 1, "0 of 6 decided: 0 accepted, 0 rejected"),
        ("ArrowRight", 2, "0 of 6 decided: 0 accepted, 0 rejected"),
    ):
        shown.keyboard.press(key)
        assert (rank(shown), counted(shown)) == (then, said), key
    shown.keyboard.press("Control+a")
    assert counted(shown).startswith("0 of 6")


def test_filters_by_class_and_by_decision(show):
    shown = show(content())
    shown.locator("#class").focus()
    shown.locator("#class").select_option("class 1")
    shown.keyboard.press("a")
    assert counted(shown).startswith("1 of 6 decided: 1 accepted")
    shown.keyboard.press("u")
    assert (label(shown), shown.locator("#list li").count()) == ("class 1", 2)
    shown.locator("#state").select_option("undecided")
    shown.locator("#accept").click()
    assert (rank(shown), shown.locator("#list li").count()) == (5, 1)
    shown.locator("#reject").click()
    assert shown.locator("#none").is_visible()
    assert not shown.locator("#one").is_visible()
    shown.locator("#undo").click()
    assert rank(shown) == 5
    shown.locator("#class").select_option("all")
    shown.locator("#state").select_option("accepted")
    assert shown.locator("#list li").all_inner_texts() == ["class 1\naccepted"]


def test_the_exported_file_is_what_apply_reads(show, tmp_path):
    shown = show(content(name=lambda text: f"{text} <é \u202e \U0001f600"))
    for key in "ara":
        shown.keyboard.press(key)
    with shown.expect_download() as download:
        shown.locator("#export").click()
    assert download.value.suggested_filename == "decisions.json"
    path = tmp_path / "decisions.json"
    download.value.save_as(path)
    found = read_decisions(path)
    end = " <é \u202e \U0001f600"
    pairs = [(0, 0), (0, 1), (1, 2)]
    pairs = [(f"image {image}{end}", f"class {column}{end}") for image, column in pairs]
    assert (found.accepted, found.rejected) == ([pairs[0], pairs[2]], [pairs[1]])
    assert str(found.run) == f"runs/one{end}"
    assert found.data == {"classes": "c"}


def test_decisions_are_copied_too(show):
    shown = show(content(), permissions=["clipboard-read", "clipboard-write"])
    shown.keyboard.press("a")
    shown.locator("#copy").click()
    shown.get_by_text("copied").wait_for()
    copied = json.loads(shown.evaluate("navigator.clipboard.readText()"))
    assert copied["accepted"] == [["image 0", "class 0"]]


def test_decisions_survive_a_reload_and_are_of_this_run_alone(show):
    shown = show(content())
    shown.keyboard.press("a")
    shown.keyboard.press("r")
    shown.reload()
    assert counted(shown) == "2 of 6 decided: 1 accepted, 1 rejected"
    shown.keyboard.press("u")
    assert counted(shown).startswith("2 of 6")
    assert shown.evaluate("Object.keys(localStorage)") == ['label decisions ["runs/one","c"]']
    shown.evaluate("localStorage.setItem(KEY, '{broken')")
    shown.reload()
    assert counted(shown).startswith("0 of 6")


def test_two_tabs_know_of_each_other_and_lose_nothing(show):
    first = show(content())
    second = first.context.new_page()
    second.goto(first.url)
    for shown, keys in ((first, "a"), (second, ">r"), (first, ">a"), (second, ">a")):
        for key in keys:
            shown.keyboard.press("ArrowRight" if key == ">" else key)
    for shown in (first, second):
        shown.get_by_text("4 of 6 decided: 3 accepted, 1 rejected").wait_for()
    third = first.context.new_page()
    third.add_init_script("addEventListener('storage', (told) => told.stopImmediatePropagation())")
    third.goto(first.url)
    first.keyboard.press("u")
    third.keyboard.press("r")
    first.reload()
    assert counted(first) == "3 of 6 decided: 1 accepted, 2 rejected"


def test_what_a_browser_cannot_keep_stays_on_the_page(show):
    shown = show(content())
    shown.keyboard.press("a")
    assert not shown.locator("#unkept").is_visible()
    shown.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('full'); }; }")
    shown.keyboard.press("r")
    shown.keyboard.press("a")
    assert counted(shown) == "3 of 6 decided: 2 accepted, 1 rejected"
    assert shown.locator("#unkept").is_visible()


def test_another_list_of_the_run_shows_and_exports_the_same_decisions(show, tmp_path):
    shown = show(content())
    for key in "ara":
        shown.keyboard.press(key)
    longer = content(10)
    longer["items"] = [*longer["items"][9:], *longer["items"][:9]]  # other ranks
    narrower = content()
    narrower["items"] = [item for item in narrower["items"] if item["label"] == 0]
    path = tmp_path / "decisions.json"
    for told, said, exports in (
        (longer, "3 of 10 decided: 2 accepted, 1 rejected", "exported 3 decisions as decisions"),
        (narrower, "1 of 2 decided: 1 accepted, 0 rejected; 2 more are not on this list",
         "exported 3 decisions as decisions.json, 2 of them not on this list"),
    ):  # fmt: skip
        (tmp_path / "index.html").write_text(page(told), encoding="utf-8")
        shown.reload()
        assert counted(shown) == said
        with shown.expect_download() as download:
            shown.locator("#export").click()
        download.value.save_as(path)
        assert exports in shown.locator("#said").inner_text()
        found = read_decisions(path)
        assert found.accepted == [("image 0", "class 0"), ("image 1", "class 2")]
        assert found.rejected == [("image 0", "class 1")]


def importing(shown, path, text, said):
    """Import a file of this text, and wait until that is said."""
    path.write_text(text)
    shown.locator("#import").set_input_files(path)
    shown.get_by_role("status").get_by_text(said).wait_for()


def test_an_exported_file_is_imported_and_taken_back_as_one(show, tmp_path):
    shown = show(content())
    shown.keyboard.press("a")
    shown.keyboard.press("r")
    decided = {"format": "label decisions 1", "run": "runs/one", "data": {"classes": "c"},
               "accepted": [["image 2", "class 1"], ["no image", "class 0"]],
               "rejected": [["image 0", "class 0"]]}  # fmt: skip
    said = "imported 3 decisions: 2 on this list, 1 not on it and kept all the same"
    importing(shown, tmp_path / "d.json", json.dumps(decided), said)
    after = "3 of 6 decided: 1 accepted, 2 rejected; 1 more are not on this list"
    assert counted(shown) == after
    shown.keyboard.press("u")
    assert counted(shown) == "2 of 6 decided: 1 accepted, 1 rejected"
    shown.keyboard.press("u")
    shown.keyboard.press("u")
    assert counted(shown).startswith("0 of 6")


def test_a_file_that_is_not_of_this_run_is_not_imported(show, tmp_path):
    shown = show(content())
    shown.keyboard.press("a")
    decided = {"format": "label decisions 1", "run": "runs/one", "data": {"classes": "c"},
               "accepted": [["image 2", "class 1"]], "rejected": []}  # fmt: skip
    odd, twice = "it is not what this page exports", "it decides on a label more than once"
    for changes, said in (
        ({"run": "runs/<b>two"}, "it is of another run, runs/<b>two"),
        ({"data": {"classes": "d"}}, "it is of other training data"),
        ({"data": None}, "it is of other training data"),
        ({"rejected": decided["accepted"]}, twice),
        ({"accepted": 2 * decided["accepted"]}, twice),
        ({"accepted": 3}, odd),
        ({"rejected": [["image 2", 1]]}, odd),
        ({"format": "label decisions 2"}, odd),
    ):
        text = json.dumps({**decided, **changes})
        importing(shown, tmp_path / "d.json", text, f"not imported: {said}")
    for text in ("null", "{", "[]", ""):
        importing(shown, tmp_path / "d.json", text, f"not imported: {odd}")
    assert counted(shown) == "1 of 6 decided: 1 accepted, 0 rejected"


def test_five_thousand_suggestions_are_a_small_document(show):
    few, many = show(content(60)), show(content(5000))
    sizes = [of.evaluate("document.querySelectorAll('*').length") for of in (few, many)]
    assert sizes[1] <= sizes[0] < 400
    many.locator("#after").click()
    assert rank(many) == 49
    assert many.locator("#page").inner_text() == "49 to 96 of 5000"
    many.keyboard.press("ArrowLeft")
    assert (rank(many), many.locator("#list li").count()) == (48, 48)
    assert many.evaluate("document.querySelectorAll('*').length") == sizes[1]
    assert many.locator("#list img").first.get_attribute("loading") == "lazy"
    times = many.evaluate(
        "[() => drawList(), () => decide('accepted')].map((act) => {"
        "  const start = performance.now(); act(); return performance.now() - start; })"
    )
    assert times[1] < 40 * max(times[0], 1), "a decision draws a page, not all there is"


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_names_are_text_and_nothing_is_wider_than_the_page(show, width, scheme):
    shown = show(content(name=lambda text: f"{text}{HOSTILE}"), width=width, color_scheme=scheme)
    shown.keyboard.press("a")
    shown.locator("#class").select_option("1")
    assert shown.evaluate("window.hacked") is None
    assert shown.locator("script").count() == 2
    assert "<script>window.hacked = 1</script><img src=x onerror=" in label(shown)
    assert "\\u{202e}\\u{a}\\u{9}" in label(shown)
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    assert shown.evaluate("[...document.images].every((image) => image.src.endsWith('.png'))")


def test_a_page_has_no_sign_of_a_tag_in_its_data():
    text = page(content(name=lambda text: f"{text}{HOSTILE}"))
    data = text.split('id="data">')[1].split("</script>")[0]
    assert "<" not in data
    assert json.loads(data)["classes"][0] == f"class 0{HOSTILE}"
    assert text.count("<script") == 2


@pytest.fixture
def written(tmp_path):
    """A function that writes the page of the first suggestions, one an image: what it shows."""
    names = ["wide.jpg", "tall.png", "small.png"]
    halves = np.zeros((300, 1000, 3), np.uint8)
    halves[:, 500:] = 200
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by 90 degrees
    Image.fromarray(halves).save(tmp_path / names[0], exif=turned)
    Image.new("L", (100, 200)).save(tmp_path / names[1])
    Image.new("RGB", (28, 20)).save(tmp_path / names[2])
    observed = sparse_labels(np.zeros(1, int), np.ones(1, int), np.ones(1), (3, 2))
    images = ImageFiles(tmp_path, np.array(names), 16)
    data = SimpleNamespace(train=Split(images, images.names, None, observed), classes=["a", "b"])
    history = SimpleNamespace(loss=np.ones((2, 3, 2)), selected=None)
    config = SimpleNamespace(train_set_variant="observed")
    evidence = SimpleNamespace(config=config, data=data, history=history)
    row = {"score": "0.5", "final_score": "0.5", "early_score": "0.5"}

    def written(*rows):
        chosen = Ranked(np.array(rows), np.zeros(len(rows), int), np.ones(len(rows)))
        about = {"run": "r", "data": {}}
        write(tmp_path / "out", about, evidence, chosen, [row] * len(rows), None)
        text = (tmp_path / "out" / "index.html").read_text()
        data = text.split('id="data">')[1].split("</script>")[0]
        return [image["picture"] for image in json.loads(data)["images"]]

    return written


def test_pictures_are_made_of_the_files_as_the_network_reads_them(written, tmp_path):
    assert written(0, 1, 2) == [
        ["images/00000.jpg", 640, 192], ["images/00001.jpg", 100, 200],
        ["images/00002.png", 28, 20],
    ]  # fmt: skip
    with Image.open(tmp_path / "out" / "images" / "00000.jpg") as picture:
        assert (picture.size, dict(picture.getexif())) == ((640, 192), {})
        assert picture.getpixel((100, 96))[0] < 10
        assert picture.getpixel((540, 96))[0] > 190


def test_pictures_that_a_new_page_does_not_show_are_removed(written, tmp_path):
    written(0, 1, 2)
    images = tmp_path / "out" / "images"
    for name in ("mine.jpg", "12.jpg", "00001.jpg.txt"):
        (images / name).touch()
    assert written(1) == [["images/00001.jpg", 100, 200]]
    assert sorted(path.name for path in images.iterdir()) == [
        "00001.jpg", "00001.jpg.txt", "12.jpg", "mine.jpg",
    ]  # fmt: skip
