"""What every result promises: words, plain values, a plot, a page, and files that replace nothing."""

import json
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from groundshift.errors import InputError
from groundshift.result import Result
from tests.contracts.examples import ESTIMATORS, RESULTS, computed

every = pytest.mark.parametrize("name", sorted({*ESTIMATORS, *RESULTS}))


@every
def test_is_told_in_words(name):
    result = computed(name)
    assert len(repr(result)) < 300
    assert "object at 0x" not in repr(result)
    assert str(result).startswith(result.report().headline)
    assert result.report().headline.strip()


@every
def test_its_values_are_strict_json(name):
    content = computed(name).to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content


@every
def test_is_drawn_on_new_axes_or_those_given(name):
    result, figure = computed(name), Figure()
    ax = figure.subplots()
    assert result.plot(ax) is ax
    assert result.plot().figure is not figure
    assert result.plot().has_data() or result.plot().get_images()


class _Page(HTMLParser):
    """Collects ids and whatever a page would fetch or run."""

    def __init__(self):
        super().__init__()
        self.ids, self.outside = [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "id" in given:
            self.ids.append(given["id"])
        if tag in ("script", "iframe", "object", "embed") or any(name.startswith("on") for name in given):
            self.outside.append(tag)
        if tag == "img" and not given["src"].startswith("data:"):
            self.outside.append(given["src"])


@every
def test_its_page_is_self_contained(name):
    html = computed(name).report().html()
    page = _Page()
    page.feed(html)
    assert not page.outside
    assert len(page.ids) == len(set(page.ids))
    assert html == computed(name).report().html()
    assert "<iframe" in computed(name)._repr_html_()


@every
@pytest.mark.parametrize("out", ["folder", "page.html", "values.json"])
def test_is_saved_once_and_replaces_nothing(name, out, tmp_path):
    result = computed(name)
    written = result.save(tmp_path / out)
    assert written.is_file()
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match="kept"):
        result.save(tmp_path / out)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    if out == "values.json":
        assert json.loads(written.read_text()) == result.to_dict()


@every
def test_a_place_that_cannot_be_written_is_refused(name, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError):
        computed(name).save(tmp_path / "file" / "below")


@every
def test_rows_come_as_a_table_or_not_at_all(name, tmp_path):
    result = computed(name)
    if type(result).to_frame is Result.to_frame:
        with pytest.raises(InputError, match="to_dict"):
            result.to_frame()
        return
    assert len(result.to_frame().columns)
    assert result.save(tmp_path / "rows.csv").is_file()
