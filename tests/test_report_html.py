"""The report's page: what it shows, that names from files stay text, and what a browser does."""

import base64
import contextlib
import hashlib
import html
import io
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from tests.browser import opened
from tools.report_curves import RunCurves, chart_json, mean
from tools.report_html import AT_FIRST, Picture, Section, counts, page, runs_table
from tools.tables import Table

HOSTILE = (
    "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    '" onmouseover="window.hacked = 1" <!-- \u202e\n\t{title} \\u003c <!-- script --> &lt; \x00'
)
COMMAND = "python main.py --dataset 'a & b' --mod_scheme LL-R --seed 1"
# what is to happen later happens when the test says so
HELD = "() => void (window.later = [], window.setTimeout = (call) => later.push(call))"
NO_CLIPBOARD = "() => void (navigator.clipboard.writeText = () => Promise.reject())"
MAPS = Table(
    head=("method", "setting", "test mAP", "share", "command"),
    rows=[
        ("LL-R", "delta_rel 10", "91.1 ± 0.7", "2.5 %", COMMAND),
        ("AN", "", "not run", "", ""),
        ("LL-R", "delta_rel 2", "9.5 ± 1.0", "10 %", COMMAND.replace("seed 1", "seed 2")),
        ("EM", "delta_rel 2; lr 0.001", "100.0", "-0.5 %", ""),
        ("CSL", "delta_rel 2.25", "failed", "1,200 %", ""),
    ],
    notes=("† a note",),
    strong=frozenset({2}),
)


def picture(title="A picture"):
    kept = io.BytesIO()
    Image.new("RGB", (900, 300), "white").save(kept, "PNG")
    return Picture(title, kept.getvalue())


def run(seed, maps=(10, 20, 40), method="LL-R", status="finished", **facts):
    columns = {"val_map": maps, "selected_precision": [None, 0.5, 0.25][: len(maps)]}
    shown = {"setting": "delta_rel 2", "dataset": "digits", "command": COMMAND, "best_epoch": 3}
    return RunCurves(method=method, seed=seed, status=status, columns=columns, **{**shown, **facts})


RUNS = [
    run(1, test_map=91.25),
    run(2, (20, 40, 60)),
    run(3, (30, 30), status="failed", why="no memory", best_epoch=None),
    run(1, (50, 50, 50), method="AN"),
]
SECTIONS = [Section("Results", [MAPS], text=["Said first."]), Section("Figures", (), [picture()])]


def the_page(name=lambda text: text):
    """A page with all there is, in which `name` has had its way with every text."""

    def table(old):
        rows = [tuple(name(cell) for cell in row) for row in old.rows]
        head, notes = tuple(map(name, old.head)), tuple(map(name, old.notes))
        return Table(head, rows, notes, frozenset({name("command")}), old.strong)

    sections = [
        Section(
            name(section.title),
            [table(old) for old in section.tables],
            [picture(name(old.title)) for old in section.pictures],
            [name(text) for text in section.text],
        )
        for section in SECTIONS
    ]
    named = ("method", "setting", "dataset", "command", "labels", "why")
    runs = [old._replace(**{key: name(getattr(old, key)) for key in named}) for old in RUNS]
    return page(name("The title"), sections, runs)


class Tags(HTMLParser):
    """The tags of a page with the names of their attributes, in their order."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag):
        self.found.append(tag)

    def handle_comment(self, data):
        self.found.append(data)


# ---- without a browser ----


def test_names_from_files_add_no_tag_and_no_attribute():
    """Nor do they take any away: two pages of such names are the same but for their text."""
    hostile = the_page(lambda text: f"{text}{HOSTILE}" if text else "")
    harmless = the_page(lambda text: f"{text}{'x' * len(HOSTILE)}" if text else "")
    tags = Tags(hostile).found
    assert tags == Tags(harmless).found
    assert tags.count("script") == 2
    assert ("img", "width", "height", "alt", "src") in tags
    assert not re.search("[\u202e\x00]", hostile)


def test_curves_hold_no_sign_of_a_tag_and_are_read_back():
    text = chart_json([run(1, method=HOSTILE)])
    assert "<" not in text
    assert json.loads(text)["groups"][0]["method"].startswith("</script><script>")


def test_the_policy_lets_the_pages_own_script_run_and_nothing_else():
    text = the_page()
    policy = html.unescape(re.search('Content-Security-Policy" content="(.*?)"', text)[1])
    for tag in ("script", "style"):
        body = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy


def test_the_same_content_gives_the_same_page():
    assert the_page() == the_page()


def test_a_command_can_be_copied_as_it_was():
    assert html.unescape(re.search("<code>(.*?)</code>", the_page())[1]) == COMMAND


def test_the_method_of_a_chosen_row_stands_out():
    table = Table(("data set", "method"), [("coco", "AN")], strong=frozenset({0}))
    assert "<td>coco</td><td><b>AN</b></td>" in page("", [Section("", [table])], [])


def test_numbers_stand_to_the_right_and_long_texts_have_lines():
    rows = [("1.5 ± 0.1", "1, 2", "x" * 99), ("not run", "3", "")]
    text = page("", [Section("", [Table(("map", "seeds", "why"), rows)])], [])
    assert '<td class="number">1.5 ± 0.1</td><td>1, 2</td><td class="long">xxx' in text


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ([], "0 finished runs"),
        (["finished"], "1 finished run"),
        (
            ["finished", "failed", "running", "failed", "finished"],
            "2 finished runs, 3 without a result: 2 failed, 1 running",
        ),
    ],
)
def test_counts(statuses, said):
    assert counts([run(seed, status=status) for seed, status in enumerate(statuses)]) == said


def test_table_of_runs():
    table = runs_table([*RUNS, run(4, (), status="missing", best_epoch=None)])
    assert table.head == (
        "method", "setting", "data set", "seed", "status", "epochs", "best epoch",
        "val mAP", "test mAP", "command",
    )  # fmt: skip
    first, third, last = (table.rows[place][3:-1] for place in (0, 2, 4))
    assert first == ("1", "finished", "3", "3", "40.0", "91.2")
    assert third == ("3", "failed: no memory", "2", "", "", "")
    assert last == ("4", "missing", "", "", "", "")


def test_a_group_of_runs_has_the_mean_of_its_finished_ones():
    chart = json.loads(chart_json(RUNS))
    group, other = chart["groups"]
    assert [column["name"] for column in chart["columns"]] == ["val_map", "selected_precision"]
    assert [line["name"] for line in group["lines"]] == [
        "mean of seeds 1, 2", "seed 1", "seed 2", "seed 3, failed",
    ]  # fmt: skip
    assert group["lines"][0]["values"]["val_map"] == [15, 30, 50]
    assert group["lines"][0]["values"]["selected_precision"] == [None, 50, 25]
    assert (other["hasMean"], len(other["lines"])) == (False, 1)
    assert group["color"] != other["color"]


def test_of_many_methods_those_with_something_beside_are_hidden_at_first():
    names = ["AN", "linear AN", "LinearInit + IU", *(f"X{number}" for number in range(10))]
    assert json.loads(chart_json([run(1, method=name) for name in names]))["hidden"] == [
        "linear AN"
    ]
    few = chart_json([run(1, method=name) for name in names[:12]])
    assert json.loads(few)["hidden"] == []


def test_the_modes_of_csl_have_dashes_of_their_own():
    modes = ("CSL selective", "CSL ignore", "CSL negative", "LL-Cp", "BoostLU + LL-Cp")
    groups = json.loads(chart_json([run(1, method=name) for name in modes]))["groups"]
    assert len({group["color"] for group in groups}) == 1
    assert len({group["dash"] for group in groups}) == len(modes)


def test_means_end_with_the_shortest_line_and_know_nothing_of_the_unknown():
    assert mean([[1, None, 3, 4], [2, 2, 5]]) == [1.5, None, 4]
    assert mean([]) == []


@pytest.mark.parametrize("unknown", [None, float("nan"), float("inf")])
def test_unknown_values_are_null(unknown):
    chart = json.loads(chart_json([run(1, (unknown, 2, 3))]))
    assert chart["groups"][0]["lines"][0]["values"]["val_map"] == [None, 2, 3]


def test_a_page_without_runs_has_no_curves():
    text = page("Nothing", [], [])
    assert "0 finished runs" in text
    assert 'id="chart"' not in text


# ---- in a browser ----


@pytest.fixture
def show(browser, tmp_path):
    """Open a page, and see afterwards that it asked for nothing and complained of nothing."""
    path, shown = tmp_path / "page.html", []
    with contextlib.ExitStack() as windows:

        def show(text, **options):
            path.write_text(text, encoding="utf-8")
            shown.append(windows.enter_context(opened(browser, path, **options)))
            return shown[-1].page

        yield show
    for window in shown:
        assert window.requests == [path.as_uri()]
        assert window.complaints == []


def column(page, place):
    return page.locator(f"#part-1 tr:not([hidden]) td:nth-child({place})").all_inner_texts()


@pytest.mark.parametrize(
    ("place", "upwards", "downwards"),
    [
        (1, [1, 4, 3, 0, 2], [0, 2, 3, 4, 1]),
        (2, [2, 3, 4, 0, 1], [0, 4, 3, 2, 1]),
        (3, [2, 0, 3, 4, 1], [3, 0, 2, 4, 1]),
        (4, [3, 0, 2, 4, 1], [4, 2, 0, 3, 1]),
        (5, [0, 2, 1, 3, 4], [2, 0, 1, 3, 4]),
    ],
)
def test_tables_sort(show, place, upwards, downwards):
    """By number where there is one; what is missing is last either way, as is a word of numbers."""
    shown = show(the_page())
    head = shown.locator(f"#part-1 th:nth-child({place})")
    written = [row[1] for row in MAPS.rows]
    for order, rows in (("ascending", upwards), ("descending", downwards), (None, range(5))):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        assert column(shown, 2) == [written[row] for row in rows]
    strong = shown.locator("#part-1 tr.strong td:nth-child(2)").all_inner_texts()
    assert strong == ["delta_rel 2"]
    assert shown.locator("#part-1 td b").all_inner_texts() == ["LL-R"]


def test_tables_sort_by_keyboard_one_column_at_a_time(show):
    shown = show(the_page())
    heads = shown.locator("#part-1 th")
    heads.nth(0).locator("button").focus()
    shown.keyboard.press("Enter")
    assert column(shown, 1) == ["AN", "CSL", "EM", "LL-R", "LL-R"]
    shown.keyboard.press("Tab")
    shown.keyboard.press("Space")
    assert column(shown, 2)[0] == "delta_rel 2"
    sorts = [head.get_attribute("aria-sort") for head in heads.all()]
    assert sorts == [None, "ascending", None, None, None]


def test_a_long_table_shows_a_part_until_it_is_asked_for_all(show):
    rows = [(str(number),) for number in range(5000)]
    shown = show(page("", [Section("Long", [Table(("number",), rows)])], []))
    assert len(column(shown, 1)) == AT_FIRST
    for _ in range(2):
        shown.locator("#part-1 th button").click()
    assert column(shown, 1) == [str(number) for number in range(4999, 4999 - AT_FIRST, -1)]
    shown.get_by_role("button", name="Show all").click()
    assert len(column(shown, 1)) == 5000
    assert shown.get_by_text("rows are shown").count() == 0


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_commands_are_copied(show, has_clipboard):
    """The old way too, where the browser gives pages from a disk no clipboard."""
    shown = show(the_page(), permissions=["clipboard-read", "clipboard-write"])
    shown.evaluate(HELD)
    if not has_clipboard:
        shown.evaluate(NO_CLIPBOARD)
    button = shown.locator("#part-1 .copy").nth(1)
    button.click()
    shown.get_by_role("button", name="Copied").wait_for()
    assert shown.evaluate("navigator.clipboard.readText()") == COMMAND.replace("seed 1", "seed 2")
    assert COMMAND.replace("seed 1", "seed 2") in shown.locator("#said").inner_text()
    shown.evaluate("() => later.forEach((call) => call())")
    assert button.inner_text() == "Copy"


def test_a_command_that_cannot_be_copied_is_selected(show):
    shown = show(the_page())
    shown.evaluate(HELD)
    shown.evaluate(NO_CLIPBOARD)
    shown.evaluate("() => void (document.execCommand = () => false)")
    shown.locator("#part-1 .copy").first.click()
    shown.get_by_role("button", name="Selected").wait_for()
    assert shown.evaluate("getSelection().toString()") == COMMAND


def lines(page):
    return page.locator("#chart-lines path").count()


def test_the_mean_of_the_chosen_setting_is_shown_at_first(show):
    """Other settings and single runs where they are asked for; where there is no mean, all runs."""
    other = [run(seed, (5, 5), setting="delta_rel 9", is_chosen=False) for seed in (1, 2)]
    unfinished = [run(1, method="EM", status="stopped")]
    shown = show(page("", [], [*RUNS, *other, *unfinished]))
    assert lines(shown) == 3
    for box, count in (("every setting", 4), ("single runs", 9), ("every setting", 6)):
        shown.get_by_label(box).click()
        assert lines(shown) == count


def test_what_is_hidden_at_first_comes_by_its_button(show):
    names = ["AN", "linear AN", *(f"X{number}" for number in range(12))]
    shown = show(page("", [], [run(1, method=name) for name in names]))
    linear = shown.get_by_role("button", name="linear AN")
    assert (lines(shown), linear.get_attribute("aria-pressed")) == (13, "false")
    linear.click()
    assert lines(shown) == 14


def test_there_are_boxes_for_what_there_is_alone(show):
    shown = show(page("", [], RUNS[3:]))
    assert lines(shown) == 1
    assert not shown.get_by_label("every setting").is_visible()
    assert not shown.get_by_label("single runs").is_visible()


def test_a_page_that_has_no_room_yet_is_drawn_once_it_has(browser, tmp_path):
    """In a hidden frame, and in a window that is narrower than its margins."""
    inner, outer = tmp_path / "page.html", tmp_path / "outer.html"
    inner.write_text(the_page(), encoding="utf-8")
    outer.write_text('<iframe src="page.html" width="900" style="display: none"></iframe>')
    with opened(browser, outer) as around, opened(browser, inner, width=80) as narrow:
        hidden = around.page.frames[1]
        hidden.wait_for_load_state()
        for frame in (hidden, narrow.page):
            assert lines(frame) == 0
        around.page.eval_on_selector("iframe", "frame => frame.style.display = 'block'")
        narrow.page.set_viewport_size({"width": 900, "height": 600})
        for frame in (hidden, narrow.page):
            frame.locator("#chart-lines path").nth(1).wait_for(state="attached")
    assert around.complaints == narrow.complaints == []


def test_methods_are_hidden_and_shown(show):
    shown = show(the_page())
    shown.get_by_label("single runs").check()
    assert lines(shown) == 5
    an = shown.get_by_role("button", name="AN", exact=True)
    an.click()
    assert (lines(shown), an.get_attribute("aria-pressed")) == (4, "false")
    shown.get_by_role("button", name="none", exact=True).click()
    assert (lines(shown), shown.locator("#chart-axes text").count() > 3) == (0, True)
    an.focus()
    shown.keyboard.press("Enter")
    assert lines(shown) == 1
    shown.get_by_role("button", name="all", exact=True).click()
    assert lines(shown) == 5


def test_the_axes_tell_of_the_column_that_is_shown(show):
    shown = show(the_page())
    axes = shown.locator("#chart-axes text")
    assert axes.all_text_contents() == [
        *(str(value) for value in range(10, 60, 10)), "1", "2", "3", "epoch", "validation mAP (%)",
    ]  # fmt: skip
    shown.get_by_label("Shown").select_option("selected_precision")
    assert axes.all_text_contents()[-1] == "selected labels that are truly positive (%)"
    path = shown.locator("#chart-lines path").first.get_attribute("d")
    assert path.count("M") == 1
    assert path.count("L") == 1  # the first epoch has no value


def test_data_sets_are_drawn_one_at_a_time(show):
    shown = show(page("", [], [*RUNS, run(1, method="ROLE", dataset="pascal")]))
    assert lines(shown) == 2
    shown.get_by_label("Data set").select_option("pascal")
    assert (lines(shown), shown.locator(".legend [aria-pressed]").count()) == (1, 1)


def test_values_are_read_by_pointer_and_by_keyboard(show):
    shown = show(the_page())
    shown.get_by_label("single runs").check()
    tip = shown.locator("#chart-tip")
    assert not tip.is_visible()
    place = shown.evaluate("chart.points.find((point) => point.value === 15)")
    shown.locator("#chart-plot").hover(position={"x": place["x"] + 5, "y": place["y"] - 5})
    assert tip.inner_text() == "LL-R, delta_rel 2, mean of seeds 1, 2\nepoch 1: 15 %"
    shown.locator("#chart-plot").focus()
    for key, said in (
        ("ArrowRight", "mean of seeds 1, 2\nepoch 2: 30 %"),
        ("ArrowUp", "seed 2\nepoch 2: 40 %"),
        ("ArrowRight", "seed 2\nepoch 3: 60 %"),
        ("ArrowRight", "seed 2\nepoch 3: 60 %"),
        ("ArrowDown", "mean of seeds 1, 2\nepoch 3: 50 %"),
    ):
        shown.keyboard.press(key)
        assert tip.inner_text().endswith(said)
    shown.keyboard.press("Escape")
    assert not tip.is_visible()


def test_pictures_are_enlarged(show):
    shown = show(the_page(), width=400)
    small = shown.locator("figure img").bounding_box()["width"]
    shown.locator(".enlarge").click()
    large = shown.locator("dialog img")
    assert (small < 400, large.bounding_box()["width"]) == (True, 900)
    assert large.get_attribute("alt") == "A picture"
    shown.keyboard.press("Escape")
    assert not large.is_visible()
    shown.locator(".enlarge").click()
    shown.get_by_role("button", name="Close").click()
    assert not large.is_visible()


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", [str, lambda text: f"{text}{HOSTILE}{'long' * 99}"])
def test_nothing_is_wider_than_the_page(show, width, name):
    shown = show(the_page(name), width=width)
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    box = shown.locator("#part-1 .scroll")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth") or width == 1400


def test_names_from_files_do_nothing(show):
    shown = show(the_page(lambda text: text and f"{text}{HOSTILE}"))
    for button in shown.locator("th button, .legend button").all():
        button.click()
    shown.locator("#chart-plot").hover()
    assert shown.evaluate("window.hacked") is None
    assert shown.title().startswith("The title</script><script>window.hacked = 1</script><img")


def test_the_policy_stops_what_escaping_would_have_missed(browser, tmp_path):
    """And what the tests look for is seen: the console tells of it."""
    path = tmp_path / "page.html"
    bad = '<img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>'
    bad += '<img src="http://127.0.0.1:9/"><link rel="stylesheet" href="http://127.0.0.1:9/a.css">'
    path.write_text(the_page().replace("<main>", f"<main>{bad}"), encoding="utf-8")
    with opened(browser, path) as shown:
        assert shown.page.evaluate("window.hacked") is None
        assert lines(shown.page) == 2
    assert len(shown.complaints) >= 4
    assert all("Content Security Policy" in said for said in shown.complaints)


def test_without_scripts_all_is_there_but_the_curves(show):
    rows = [(str(number), COMMAND) for number in range(AT_FIRST + 1)]
    sections = [Section("Results", [Table(("number", "command"), rows)])]
    shown = show(page("", sections, RUNS), java_script_enabled=False)
    last = shown.get_by_role("cell", name=str(AT_FIRST), exact=True)
    assert last.is_visible()
    assert shown.locator("noscript").last.is_visible()
    for name in (".copy", ".more", "#chart"):
        assert not shown.locator(name).first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_lines_stand_out_from_the_page(show, scheme):
    """Black lines too, which a dark page would swallow."""
    shown = show(page("", [], [run(1, method="ROLE")]), color_scheme=scheme)
    color = "getComputedStyle(document.querySelector('{}')).{}"
    line, paper = (
        shown.evaluate(color.format(*what))
        for what in (("#chart-lines path", "stroke"), ("body", "backgroundColor"))
    )
    brightness = [sum(map(int, re.findall(r"\d+", found)[:3])) / 3 for found in (line, paper)]
    assert abs(brightness[0] - brightness[1]) > 180
