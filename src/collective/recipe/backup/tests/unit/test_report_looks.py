"""The report as people see it: in a real browser, on a desk and on a phone, by day and night."""

from __future__ import annotations

import pytest

from collective.recipe.backup.report.page import page
from collective.recipe.backup.tests import reports
from collective.recipe.backup.tests.browser import browsing

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.needs("chromedriver")]

PAGES = {
    "eventful": [reports.eventful],
    "young": [reports.young],
    "a single restore point": [reports.single],
    "a thousand restore points": [reports.thousand],
    "failing": [reports.failing],
    "empty": [reports.empty],
    "hostile": [reports.hostile],
    "two places": [reports.young, reports.beside],
}

OVERFLOWING = """
const wide = document.documentElement.clientWidth;
return [...document.querySelectorAll('body *')].filter(each => {
    const box = each.getBoundingClientRect();
    return box.width > 0 && (box.right > wide + 1 || box.left < -1);
}).map(each => each.outerHTML.slice(0, 200));
"""

UNDER_EACH_OTHER = """
const found = [];
document.querySelectorAll('.dates').forEach(dates => {
    const boxes = [...dates.children].map(each => [each.getBoundingClientRect(), each.innerText]);
    boxes.sort((one, two) => one[0].left - two[0].left);
    boxes.slice(1).forEach(([box, name], number) => {
        if (box.left < boxes[number][0].right) found.push([boxes[number][1], name]);
    });
});
return found;
"""

CONTRASTS = """
const rgb = text => text.match(/[0-9.]+/g).map(Number);
const light = color => {
    const [r, g, b] = color.slice(0, 3).map(value => {
        value /= 255;
        return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = element => {
    for (; element; element = element.parentElement) {
        const color = rgb(getComputedStyle(element).backgroundColor);
        if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
};
document.querySelectorAll('details').forEach(each => { each.open = true; });
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest('svg')) continue;
    const [one, two] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    found.push([contrast, walker.currentNode.data.trim().slice(0, 60)]);
}
return found;
"""


WIDE_BARS = """
const bars = [...document.querySelectorAll('.column, rect.failed')];
return bars.map(each => each.getBoundingClientRect().width).filter(wide => wide > 90);
"""

REPEATED_DATES = """
return [...document.querySelectorAll('.dates')].map(dates => {
    const names = [...dates.children].map(each => each.textContent);
    return names.filter((name, number) => names.indexOf(name) < number);
}).flat();
"""

UNUSED_KEYS = """
return [...document.querySelectorAll('.card')].map(card => {
    const keys = [...card.querySelectorAll('.key')].map(key => key.classList[1]);
    return keys.filter(key => key !== 'range' && !card.querySelector('svg .' + key));
}).flat();
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(params=PAGES)
def path(request, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page(*(facts() for facts in PAGES[request.param])), encoding="utf-8")
    return path


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 360])
def test_the_report_can_be_read_everywhere(browser, path, width, dark):
    browser.show(path, width=width, dark=dark)
    assert browser.run("return innerWidth") == width
    shade = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, shade[4:-1].split(","))) < 300) is dark
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth") is True
    assert browser.run(OVERFLOWING) == []
    assert browser.run(UNDER_EACH_OTHER) == []
    assert browser.run(WIDE_BARS) == []
    assert browser.run(REPEATED_DATES) == []
    assert browser.run(UNUSED_KEYS) == []
    contrasts = browser.run(CONTRASTS)
    assert [(ratio, text) for ratio, text in contrasts if ratio < 4.5] == []
    assert len(contrasts) > 5
    # unfolded as well
    assert browser.run(OVERFLOWING) == []
    assert browser.log() == []


def test_letters_are_not_too_small_on_a_phone(browser, path):
    browser.show(path, width=390, dark=False)
    sizes = browser.run(
        "return [...document.querySelectorAll('main *:not(svg *)')]"
        ".map(each => parseFloat(getComputedStyle(each).fontSize))"
    )
    assert min(sizes) >= 12


def test_a_phone_scrolls_over_no_more_than_ten_screens(browser, path):
    browser.show(path, width=360, dark=False, height=740)
    assert browser.run("return document.documentElement.scrollHeight") < 10 * 740


def test_the_page_needs_no_network_and_no_script(browser, path):
    browser.show(path, width=1280, dark=False)
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    assert browser.run("return document.querySelectorAll('script, iframe, object').length") == 0


def test_what_wants_to_be_markup_is_text(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page(reports.hostile()), encoding="utf-8")
    browser.show(path, width=1280, dark=False)
    title = browser.run("return document.title")
    hostile = "\"'></script><script>alert(1)</script>&\\u202e\\x1b[31m\\udcff {{7*7}}]]>"
    assert title == " ".join(f"{hostile} of /{hostile} on {hostile}".split("\n"))
    assert browser.run("return document.body.innerText").count("<script>alert(1)") > 10
