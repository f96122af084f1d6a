"""The report site in a real browser, opened from the disk."""

import shutil

import pytest

from tests.lab.test_site import library, runs, site  # noqa: F401  (fixtures)

sync_api = pytest.importorskip("playwright.sync_api", reason="the extra `site` is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (Debian package chromium)"
)

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
STUDY = ".card >> text=dummy >> nth=0"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, site):  # noqa: F811
    """A page that fails the test on a console error or a request that leaves the disk."""
    context = browser.new_context()
    page = context.new_page()
    trouble = []
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else trouble.append(r.url))
    page.goto((site / "index.html").as_uri())
    yield page
    context.close()
    assert trouble == []


def cards(page):
    return page.locator(".card:visible h4").all_inner_texts()


def test_search_finds_by_word_and_says_how_many(page):
    assert cards(page) == ["idle", "dummy"]
    page.fill("#search", "IDLE text")
    assert cards(page) == ["idle"]
    assert page.inner_text("#count") == "1 of 2 systems"
    page.fill("#search", "no such thing")
    assert cards(page) == []


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [("verdict", "not shown", ["dummy"]), ("verdict", "not run", ["idle"]), ("category", "probes", ["idle"]),
     ("modality", "numbers", ["dummy"]), ("gpu", "yes", ["idle"])],
)  # fmt: skip
def test_filters(page, name, value, left):
    page.select_option(f"select[data-filter={name}]", value)
    assert cards(page) == left


@pytest.mark.parametrize(
    ("name", "value", "left"), [("verdict", "not shown", 1), ("system", "dummy", 3), ("held", "held", 0)]
)
def test_the_page_of_all_claims_filters(page, name, value, left):
    page.click("nav.site >> text=All claims")
    page.select_option(f"select[data-filter={name}]", value)
    assert page.locator("tbody tr:visible").count() == left
    assert page.inner_text("#count") == f"{left} of 3 claims"


def test_a_category_without_a_match_is_hidden(page):
    page.fill("#search", "idle")
    assert page.locator("section.category:visible h3").all_inner_texts() == [
        "probes what changed inside a model"
    ]


def test_the_keyboard_reaches_everything(page):
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("dum/")  # a slash inside the field is a slash
    assert page.input_value("#search") == "dum/"
    order = []
    for _ in range(5):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.dataset.filter || document.activeElement.tagName"))
    assert order[:4] == ["category", "verdict", "modality", "gpu"]


def test_every_page_can_be_followed(page):
    page.click(STUDY)
    assert page.inner_text("h1") == "dummy"
    for href in page.eval_on_selector_all(
        "nav.toc a[href^='#']", "links => links.map(a => a.getAttribute('href'))"
    ):
        page.click(f"nav.toc a[href='{href}']")
        assert page.locator(href).is_visible()
    page.click("text=groundshift >> nth=0")
    assert page.url.endswith("/index.html")


def test_the_claims_table_sorts(page):
    page.click(STUDY)
    ids = lambda: page.locator(".claims tbody .id").all_inner_texts()  # noqa: E731
    assert ids() == ["1", "2", "3"]
    page.click("th button:has-text('Measured')")
    assert ids() == ["3", "2", "1"]
    page.keyboard.press("Enter")  # the button keeps the focus
    assert ids() == ["1", "2", "3"]
    assert page.get_attribute("th:has(button:has-text('Measured'))", "aria-sort") == "descending"


@pytest.mark.parametrize("where", ["index", "study", "claims"])
def test_360_pixels_need_no_sideways_scroll(page, where):
    page.set_viewport_size({"width": 360, "height": 740})
    if where == "study":
        page.click(STUDY)
    if where == "claims":
        page.click("nav.site >> text=All claims")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


CONTRAST = """() => {
  const rgb = colour => colour.match(/[\\d.]+/g).map(Number);
  const channel = v => v / 255 <= .03928 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const luminance = colour => {
    const [r, g, b] = rgb(colour).map(channel);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if (rgb(colour).length === 3 || rgb(colour)[3] > 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = [...document.querySelectorAll("h1,h2,p,td,th,dt,dd,a,span,code,figcaption,summary")];
  return Math.min(...texts.filter(e => e.innerText && e.offsetParent).map(e => {
    const a = luminance(getComputedStyle(e).color), b = luminance(ground(e));
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  }));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_light_and_dark(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.click(STUDY)
    worst = page.evaluate(CONTRAST)
    assert worst >= 4.5


def test_print_keeps_the_tables(page):
    page.click(STUDY)
    page.emulate_media(media="print")
    assert page.locator("table.claims").is_visible()
    assert not page.locator("nav.toc").is_visible()


def test_it_reads_without_javascript(browser, site):  # noqa: F811
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert page.locator(".card").count() == 2
    assert page.locator(".user a:visible").count() == 3
    assert not page.locator(".filters").is_visible()
    page.click(STUDY)
    assert page.locator("table.claims tbody tr").count() == 3
    page.click("nav.site >> text=All claims")
    assert page.locator("table.claims tbody tr:visible").count() == 3
    assert not page.locator(".filters").is_visible()
    context.close()
