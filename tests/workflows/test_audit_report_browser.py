"""The page of an audit in a real browser, opened from the disk, as a colleague would."""

import pytest

from tests.lab.test_site_browser import CONTRAST, browser, pytestmark  # noqa: F401  (a fixture, and who is skipped)
from tests.workflows.test_audit_report import calm, moved, rendered  # noqa: F401  (fixtures)


@pytest.fixture
def page(browser, rendered, tmp_path):  # noqa: F811
    """A page that fails the test on a console error, a dialogue or a request that leaves the disk."""
    path = tmp_path / "index.html"
    path.write_text(rendered["moved"], encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    trouble = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("dialog", lambda dialog: trouble.append(dialog.message))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else trouble.append(r.url))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert trouble == []


def test_360_pixels_need_no_sideways_scroll(page):
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("h1").bounding_box()["width"] <= 340


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_light_and_dark(page, scheme):
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate(CONTRAST) >= 4.5
    ink = page.evaluate("getComputedStyle(document.documentElement).color")
    fills = page.evaluate("[...document.querySelectorAll('figure text')].map(t => getComputedStyle(t).fill)")
    assert set(fills) <= {ink}  # a figure's words follow the page


def test_a_calm_page_has_contrast_too(page, rendered, tmp_path):  # noqa: F811
    (tmp_path / "calm.html").write_text(rendered["calm"], encoding="utf-8")
    page.goto((tmp_path / "calm.html").as_uri())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) >= 4.5


def test_print_shows_long_tables_whole_and_on_white(page):
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("table.data >> nth=0").is_visible()
    assert not page.locator("nav.toc").is_visible()
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll.long')].every(e => e.scrollHeight <= e.clientHeight + 1)"
    )
    assert page.evaluate(CONTRAST) >= 4.5


def test_the_keyboard_reaches_tables_and_steps(page):
    for link in page.locator("nav.toc a").all():
        link.click()
        assert page.locator(link.get_attribute("href")).is_visible()
    stops = page.evaluate("[...document.querySelectorAll('.scroll')].every(e => e.tabIndex === 0)")
    assert stops
