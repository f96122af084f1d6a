"""The page of an audit: what it says, that it is safe, stable and readable everywhere."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from groundshift.pages import drawn
from groundshift.report import Section
from groundshift.report.tables import columns_of, reach_of
from groundshift.workflows.audit.result import Audit, Kind

NASTY = "<script>alert('x')</script> & \"#price\" $\\frac$ 価格"
LONG_NAME = "a_column_whose_name_never_ends_" * 5
NAN = float("nan")


def dots(ax):
    ax.hlines([0, 1, 2], [0.1, 0.2, 0.05], [0.4, 0.3, 0.2], color="#9aa5ad")
    ax.plot([0.25, 0.25, 0.1], [0, 1, 2], "o", color="#c4622d")
    ax.set_yticks([0, 1, 2], ["age", NASTY, "income"])
    ax.set_xlabel("distance (0 alike, 1 nothing in common)")


def many(ax):
    ax.barh(np.arange(30), np.linspace(0.1, 0.9, 30))
    ax.set_yticks(np.arange(30), [f"column {k}" for k in range(30)])


def sections():
    columns = pd.DataFrame(
        {
            "column": ["age", NASTY, LONG_NAME, *(f"feature_{k}" for k in range(40))],
            "effect": [0.31, 0.204, 0.1, *np.linspace(0.08, 0, 40)],
            "low": [0.25, 0.15, NAN, *np.zeros(40)],
            "high": [0.37, 0.26, NAN, *np.linspace(0.12, 0.03, 40)],
            "shift": [-0.52, NAN, float("inf"), *np.zeros(40)],
            "p": [1e-9, 0.0012, 0.04, *np.linspace(0.05, 1, 40)],
            "domain": ["2024-03"] * 43,
            "q": [1e-8, 0.01, 0.06, *np.linspace(0.2, 1, 40)],
            "moved": [True, True, *[False] * 41],
        }
    )
    wide = pd.DataFrame({"column": ["age", "income"], **{f"2024-{m:02}": [0.012, 0.3] for m in range(1, 13)}})
    remedies = pd.DataFrame(
        {
            "remedy": ["importance weights", "label-shift correction", "retrain on the newest domain"],
            "gain": [0.042, -0.013, NAN],
            "low": [0.011, -0.044, NAN],
            "high": [0.073, 0.018, NAN],
            "beats doing nothing": [True, False, None],
        }
    )
    return (
        Section("ingest", "What was looked at?", "12,000 rows in 12 domains, 43 columns compared, 2 left out.",
                ("1 domain has fewer than 50 rows and is left out: 2023-12 (31).", f"{NASTY} is compared as labels."),
                {"Domains": pd.DataFrame({"domain": ["2024-01", "2024-02"], "rows": [6000, 6000]}),
                 "Share of missing values by domain": wide}),
        Section("moved", "Did anything move?", "Yes: a classifier tells the domains apart with AUC 0.71.",
                (f"Most: {NASTY} (distance 0.31 in 2024-03).",), {f"Columns & {NASTY}": columns},
                {"How far each column moved, with 95 % intervals": dots, "Every column": many}),
        Section("structure", "Which structure moved?", "The mechanism of income; the rest holds.", (),
                {"Mechanisms": columns.iloc[:0]}, {"Correlations": lambda ax: ax.imshow(np.eye(4))}),
        Section("kind", "What kind of shift is it?", "Concept shift explains most of the loss."),
        Section("remedies", "What to do?", "Importance weights gain 0.042 of accuracy over doing nothing.", (),
                {"Remedies, each tried with a domain left out": remedies}, {"Gains": dots}),
        Section("power", "Could these data answer at all?", "A shift of 0.3 sd would have been seen.",
                ("What cannot be known from these data: whether labels are right.",)),
    )  # fmt: skip


@pytest.fixture(scope="session")
def moved():
    """An audit in which much was found, with names that try to break the page."""
    kinds = (
        Kind("concept", True, 0.124, 0.081, 0.168, "share of the loss that was gained", 1e-7, ("age", NASTY),
             "The same columns now mean another target."),
        Kind("label", None, NAN, NAN, NAN, "distance of the label shares", NAN, (), "No target was named."),
        Kind("mechanism", True, 0.31, 0.22, 0.4, "share of conditional variance", 0.0042,
             (LONG_NAME, *(f"feature_{k}" for k in range(9))), "How income comes about changed."),
        Kind("correlation", False, 0.04, 0.0, 0.09, "largest change", 0.41, (), "Not told from chance."),
        Kind("covariate", True, 0.204, 0.15, 0.26, "AUC beyond chance, doubled", 0.001, ("age",), "Age is higher."),
        Kind("missingness", False, 0.01, 0.0, 0.02, "difference of shares", 0.77, (), "Not told from chance."),
    )  # fmt: skip
    return Audit(
        headline=f"Concept shift and a changed mechanism. The target follows {NASTY} differently since 2024-03.",
        found=("concept", "mechanism", "covariate"),
        kinds=kinds,
        sections=sections(),
        recommended="importance weights",
        settings={"data": f"sales {NASTY}.parquet", "rows": 12000, "domains": {"2024-01": 6000, "2024-02": 6000},
                  "target": None, "alpha": 0.05, "seed": 0, "left out": ("id", NASTY), "sampled": False},
        weights=pd.Series([1.0, NAN], name="weight"),
    )  # fmt: skip


@pytest.fixture(scope="session")
def calm(moved):
    """Nothing found, nothing to do, no steps with pictures."""
    return replace(
        moved,
        headline="Nothing moved that could be told from chance.",
        found=(),
        kinds=tuple(replace(k, found=None if k.found is None else False, p=0.5) for k in moved.kinds),
        sections=tuple(replace(s, figures={}, tables={}) for s in moved.sections),
        recommended=None,
        weights=None,
    )


class Seen(HTMLParser):
    """Tags with their attributes, and the text of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


def page(audit):
    return audit.report().html()


@pytest.fixture(scope="session")
def rendered(moved, calm):
    return {"moved": page(moved), "calm": page(calm)}


@pytest.fixture(scope="session")
def seen(rendered):
    return Seen(rendered["moved"])


def test_verdict_then_advice_then_kinds_then_the_steps(moved, seen):
    order = [
        "● concept shift found",
        "Recommended: importance weights",
        "Every kind of shift",
        *(s.title for s in moved.sections),
        "schema",
    ]
    text = re.sub(r"\s+", " ", seen.text)
    places = [text.rindex(part) for part in order]  # the last one: the list of steps has them too
    assert places == sorted(places)
    for section in moved.sections:
        assert section.answer in seen.text
        assert all(note in seen.text for note in section.notes)


def test_verdicts_are_words(seen):
    text = re.sub(r"\s+", " ", seen.text)
    assert "● concept shift found" in text
    assert "? label shift: cannot tell" in text
    for word in ("● found", "○ not found", "? cannot tell"):
        assert word in text


def test_numbers_are_set_for_reading(seen):
    text = re.sub(r"\s+", " ", seen.text)
    assert "0.124 [0.081, 0.168]" in text  # of a kind
    assert "0.204 [0.15, 0.26]" in text  # of a table's value, low and high
    assert "−0.013 [−0.044, 0.018]" in text
    assert "< 0.001" in text
    assert "∞" in text
    assert "12,000" in text
    assert "nan" not in text.lower()
    assert not re.search(r"\bNone\b", text)
    assert "and 4 more" in text  # of the ten columns of a kind


def test_text_from_data_is_escaped(rendered, seen):
    assert seen.all("script") == []
    assert NASTY in seen.text
    text = rendered["moved"]
    assert "<script" not in text
    assert "#price" in text[text.index("<svg") :]  # and a drawing's text is not taken for a reference


def test_nothing_is_fetched_and_nothing_runs(rendered, seen):
    for tag, attrs in seen.tags:
        assert not any(name.startswith("on") for name in attrs), tag
        for name in ("src", "href", "xlink:href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), (tag, attrs)
    assert not re.search(r"@import|url\((?!#)", rendered["moved"])
    policy = next(a["content"] for a in seen.all("meta") if "http-equiv" in a)
    assert "default-src 'none'" in policy


def test_ids_are_unique_and_references_lead_somewhere(seen):
    ids = [attrs["id"] for _, attrs in seen.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in seen.tags:
        for name in ("href", "xlink:href", "aria-labelledby"):
            if name in attrs and not attrs[name].startswith("data:"):
                assert attrs[name].removeprefix("#") in ids


def test_tables_and_figures_can_be_read_out(moved, seen):
    assert all(attrs.get("scope") in ("col", "row") for attrs in seen.all("th"))
    assert all("aria-labelledby" in attrs for attrs in seen.all("table"))
    drawings = [attrs for attrs in seen.all("svg") if attrs.get("role") == "img"]
    captions = [caption for section in moved.sections for caption in section.figures]
    assert [attrs["aria-label"] for attrs in drawings] == [
        "Size of each kind of shift, with 95 % intervals",
        *captions,
    ]
    assert len(seen.all("figcaption")) == 1 + len(captions)
    assert all(attrs.get("aria-hidden") for attrs in seen.all("svg") if attrs.get("role") != "img")
    scrolling = [attrs for attrs in seen.all("div") if "scroll" in attrs.get("class", "")]
    assert all(attrs["tabindex"] == "0" and attrs["role"] == "region" for attrs in scrolling)


def test_equal_audits_give_equal_bytes(moved, rendered):
    assert rendered["moved"] == page(replace(moved, sections=sections()))


def test_a_calm_audit_says_so(rendered):
    seen = Seen(rendered["calm"])
    assert "no shift found" in seen.text
    assert "No remedy is recommended" in seen.text
    assert "weights.csv" not in seen.text
    assert len(seen.all("figure")) == 1  # what was looked for, and how small it was


@pytest.mark.parametrize(
    ("values", "reach"),
    [([], (0, 1)), ([NAN, float("inf")], (0, 1)), ([0, 0], (0, 0.5)), ([0.05, 0.31], (0, 0.35)),
     ([-0.044, 0.073], (-0.05, 0.1)), ([0.48, 0.66], (0.45, 0.7)), ([-3.0, -1.0], (-3, 0)), ([0.0, 1.0], (0, 1)),
     ([1e-13], (0, 1e-13)), ([9 + 1e-15, 9.0, 9 + 4e-15], (0, 9)),
     ([1e6 + 1, 1e6 + 2], (1e6 + 1, 1e6 + 2))],
)  # fmt: skip
def test_intervals_are_drawn_between_round_numbers(values, reach):
    assert reach_of(values) == pytest.approx(reach, rel=1e-9, abs=0)


def test_a_table_may_hold_anything():
    frame = pd.DataFrame(
        {
            "size": pd.array([1, None], dtype="Int64"),
            "low": pd.array([0, None], dtype="Int64"),
            "high": pd.array([2, None], dtype="Int64"),
            "when": pd.to_datetime(["2024-01-01", None]),
            "empty": ["", ""],
        }
    )
    columns = columns_of(frame)
    assert [column.head for column in columns] == ["size [low, high]", "", "when"]
    assert [*columns[0].cells, *columns[2].cells] == ["1 [0, 2]", "–", "2024-01-01 00:00:00", "–"]


def test_only_rows_with_labels_are_spread():
    def height(draw):
        return re.search(r'height="([\d.]+)pt"', drawn(draw, "x", ""))[1]

    def scale(ax):
        ax.set_yticks([0, 1])

    def nothing(ax):
        ax.set_yticks([])

    assert height(scale) == height(nothing) == height(lambda ax: None) != height(dots)
    assert float(height(many)) > float(height(scale))


def test_saved_beside_its_json(calm, moved, rendered, tmp_path):
    written = replace(calm, weights=moved.weights).save(tmp_path / "audit")
    assert rendered["calm"].splitlines()[:12] == written.read_text(encoding="utf-8").splitlines()[:12]
    assert sorted(p.name for p in written.parent.iterdir()) == ["audit.json", "index.html", "weights.csv"]


@pytest.mark.parametrize("ends", [(3.6, 3.9), (0.01, 1000.0)])
def test_logarithmic_axes_have_plain_numbers(ends):
    def power(ax):
        ax.plot([0, 1], ends)
        ax.set_yscale("log")

    labels = re.findall(r"<text[^>]*>([^<]*)</text>", drawn(power, "x", ""))
    assert labels
    assert all(re.fullmatch(r"[\d.]+", label) for label in labels)
