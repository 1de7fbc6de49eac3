"""The page on which suggested labels are reviewed, in a browser: decisions, and that they stay."""

import base64
import contextlib
import json

import pytest
from PIL import Image

from tests.browser import opened
from tools.decisions import read_decisions
from tools.suggest_page import page

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
        "given labels", "class 2", "image", "image 0", "rank", "1 of 6",
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
    shown.locator("#class").select_option("class 1")
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


def test_decisions_survive_a_reload_and_are_of_these_suggestions_alone(show):
    shown = show(content())
    shown.keyboard.press("a")
    shown.keyboard.press("r")
    shown.reload()
    assert counted(shown) == "2 of 6 decided: 1 accepted, 1 rejected"
    shown.keyboard.press("u")
    assert counted(shown).startswith("2 of 6")
    shown.evaluate("localStorage.setItem(KEY, '{broken')")
    shown.reload()
    assert counted(shown).startswith("0 of 6")
    shown.keyboard.press("a")
    shown.evaluate("localStorage.setItem(`${KEY}0`, localStorage.getItem(KEY))")
    assert shown.evaluate("Object.keys(localStorage).sort()") == [
        "suggestions runs/one 0123456789abcdef", "suggestions runs/one 0123456789abcdef0",
    ]  # fmt: skip


def test_an_exported_file_is_imported_and_another_is_not(show, tmp_path):
    shown = show(content())
    decided = {"format": "label decisions 1", "digest": "0123456789abcdef",
               "accepted": [["image 2", "class 1"], ["no image", "class 0"]],
               "rejected": [["image 0", "class 0"]]}  # fmt: skip
    path = tmp_path / "d.json"
    for changes, said, count in (
        ({"digest": "0"}, "not imported: it is of other suggestions", "0 of 6"),
        ({}, "imported 3 decisions", "2 of 6 decided: 1 accepted, 1 rejected"),
        ({"accepted": 3}, "not imported: ", "2 of 6"),
    ):
        path.write_text(json.dumps({**decided, **changes}))
        shown.locator("#import").set_input_files(path)
        shown.get_by_role("status").get_by_text(said).wait_for()
        assert counted(shown).startswith(count)


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
