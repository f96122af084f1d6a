"""The report site as files: what it shows, what it refuses, that it is stable and safe."""

import json
import re
import shutil
import time
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

import tests.lab.dummy as dummy
from groundshift.errors import InputError
from groundshift.lab import publish, registry, report, run
from groundshift.lab.console import reason_text
from groundshift.lab.registry import USERS
from groundshift.lab.site import build
from groundshift.lab.site.drawings import figures
from groundshift.lab.study import Figure


def draw(table):
    from matplotlib.figure import Figure as Drawing

    figure = Drawing(figsize=(4, 3))
    axes = figure.subplots()
    rows = table[table["measure"] == "closeness"]
    axes.plot(rows["severity"], rows["value"], "o")
    axes.set_xlabel("severity of the <offset>")
    return figure


STUDY = replace(
    dummy.study,
    claims=(
        replace(dummy.study.claims[0], text="care is <script>alert('x')</script> closer"),
        *dummy.study.claims[1:],
    ),
    figures=(Figure("closeness", "Closeness & severity", draw, "measure == 'closeness'"),),
)


def system(slug, **changes):
    return registry.System(
        **{"slug": slug, "module": "tests.lab.dummy", "title": f"A paper called {slug}", "category": "benchmarks",
           "promise": "Tells care from carelessness", "arxiv": "0000.00000", "venue": "2025", "modality": "numbers",
           "use": f"groundshift {slug} fit x.csv", "question": f"What does {slug} see?", **changes}
    )  # fmt: skip


@pytest.fixture(scope="module")
def library():
    """The dummy study as the only system of the library that has run, beside one that has not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dummy, "study", STUDY)
        known = {
            "dummy": system("dummy"),
            "idle": system("idle", category="probes", modality="text", gpu=True),
        }
        for module in (registry, build):
            patch.setattr(module, "systems", lambda: known)
        yield patch


@pytest.fixture(scope="module")
def runs(library, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    run("tests.lab.dummy:study", store=folder, engine="local:2", progress="none")
    return folder


@pytest.fixture(scope="module")
def site(runs, tmp_path_factory):
    return report(runs, tmp_path_factory.mktemp("site")).parent


def read(site, page="studies/dummy/index.html"):
    return (site / page).read_text(encoding="utf-8")


def test_the_catalogue_has_every_system_and_the_counts_of_its_verdicts(site):
    page = read(site, "index.html")
    assert "✓ 2 shown" in page
    assert "✗ 1 not shown" in page
    assert "groundshift run idle" in page
    assert re.findall(r'data-verdict="([^"]*)"', page) == ["not run", "shown|not shown"]


def test_the_first_page_asks_by_user_and_leads_to_the_study(site):
    page = read(site, "index.html")
    assert '<a href="studies/dummy/index.html">What does dummy see?</a>' in page
    assert '<a href="#idle">What does idle see?</a>' in page  # it has not run
    assert page.index(USERS["researcher"]) < page.index("What does dummy see?")
    assert "You read the papers" in page
    assert page.index("<h3>probes") < page.index("<h3>benchmarks")  # by use, not by slug


def test_every_claim_stands_on_the_page_of_all_claims_with_its_reason(site):
    page = read(site, "claims.html")
    rows = re.findall(r"<tr data-text.*?</tr>", page, re.S)
    assert [re.search(r'data-verdict="([^"]*)"', row)[1] for row in rows] == ["shown", "shown", "not shown"]
    assert all(f'href="studies/dummy/index.html#claim-{i}"' in row for i, row in enumerate(rows, 1))
    assert "lies on the other side of the margin" in rows[2]
    assert all("not run again" in row for row in rows)
    assert "care is &lt;script&gt;" in page


def claim(name, verdict="shown", **changes):
    return {
        "id": name,
        "text": f"It does {name} (share)",
        "verdict": verdict,
        "reason": "the interval clears the margin",
        "kind": "effect",
        "margin": 0.5,
        "low": 0.4,
        "high": 0.6,
        "p_adjusted": 0.2,
        **changes,
    }


STRADDLES = "the interval straddles the margin, or does not survive Holm's adjustment"


@pytest.mark.parametrize(
    ("claims", "held", "rest"),
    [
        ([claim("a"), claim("b")], "All of the 2 claims are shown: “It does a” (a); “It does b” (b).",
         "No claim is refuted or left open."),
        ([claim("a", "inconclusive", reason="the control did not do what it must")], "None of the 1 claim is shown.",
         "Not established: “It does a” (a) is inconclusive, because the negative control failed."),
        ([claim("a", replications=[{"verdict": "shown"}]), claim("b", "inconclusive", reason=STRADDLES),
          claim("c", "not shown", reason="the interval lies on the other side of the margin")],
         "1 of the 3 claims is shown, 1 of 1 also with fresh random draws: “It does a” (a).",
         "Not established: “It does c” (c) is not shown, because the interval 0.4 to 0.6 lies on the other side of the "
         "margin; “It does b” (b) is inconclusive, because the interval 0.4 to 0.6 includes the margin."),
        ([claim(name) for name in "abcd"],
         "All of the 4 claims are shown: “It does a” (a); “It does b” (b); and 2 more.",
         "No claim is refuted or left open."),
    ],
)  # fmt: skip
def test_two_sentences_say_what_held_and_what_did_not_and_why(claims, held, rest):
    assert build.sentences(claims) == (held, rest)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"low": 0.55}, "the p value, adjusted over the study's claims, is 0.2"),
        ({"kind": "equivalence", "low": -0.7, "high": 0.1}, "the interval -0.7 to 0.1 includes the margin"),
        (
            {"kind": "rate", "slack": 0.1, "low": 0.52, "high": 0.7},
            "the interval 0.52 to 0.7 includes the margin",
        ),
    ],
)
def test_an_open_claim_names_the_figure_that_left_it_open(changes, why):
    assert reason_text(claim("a", "inconclusive", reason=STRADDLES, **changes)) == why


@pytest.mark.parametrize(
    ("page", "given", "link"),
    [
        ("docs-site/systems/dummy/index.html", None, "../../../docs-site/systems/dummy/index.html"),
        ("docs/systems/dummy.md", None, "../../../docs/systems/dummy.md"),
        ("guide/systems/dummy/index.html", "guide", "../../../guide/systems/dummy/index.html"),
        ("nothing.md", "https://example.org/guide/", "https://example.org/guide/systems/dummy/"),
        ("nothing.md", None, None),
    ],
)
def test_a_study_page_links_to_its_documentation_where_there_is_some(runs, tmp_path, page, given, link):
    shutil.copytree(runs, tmp_path / "runs")
    (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / page).write_text("The guide")
    docs = str(tmp_path / given) if given == "guide" else given
    study = read(report(tmp_path / "runs", tmp_path / "site", docs=docs).parent)
    assert re.findall(r'class="guide" href="([^"]*)"', study) == ([link] if link else [])


def test_a_study_page_shows_paper_and_measurement_side_by_side(site):
    page = read(site)
    texts = [
        "0.9, table 1",
        "analogue",
        "&gt; 0.5",
        "passed",
        "groundshift run dummy --scale cpu",
        "sign-flip p",
    ]
    for text in [*texts, "Provenance", "Closeness &amp; severity", "0000.00000"]:
        assert text in page, text
    assert page.count('class="strip"') == 3
    assert "severity of the" in page  # the plot's text is text


def test_a_figure_is_drawn_from_the_rows_that_it_names_and_no_others():
    seen = []

    def recorded(table):
        seen.append(table)
        return draw(table)

    chosen = "measure == 'closeness' and severity > 0"
    table = pd.DataFrame(
        {
            "measure": ["closeness", "closeness", "other"],
            "severity": [0.0, 1.0, 1.0],
            "value": [5.0, 6.0, 7.0],
        }
    )
    (pictures,) = figures(replace(STUDY, figures=(Figure("one", "One", recorded, chosen),)), table)
    assert seen[0]["value"].tolist() == [6.0]
    assert [row[-3] for row in pictures["table"]["rows"]] == [6.0]


@pytest.mark.parametrize("name", ["count", "mean", "std", "n", "level_0"])
def test_a_factor_may_be_called_as_a_column_of_the_figures_table(name):
    table = pd.DataFrame(
        {"measure": "closeness", name: [1, 1, 2], "seed": [0, 1, 0], "value": [5.0, 6.0, 7.0]}
    )
    (figure,) = figures(
        replace(
            STUDY, figures=(Figure("one", "One", lambda rows: draw(rows.assign(severity=0)), "value > 0"),)
        ),
        table,
    )
    assert figure["table"]["columns"] == [name, "mean", "sd", "n"]
    assert [row[0] for row in figure["table"]["rows"]] == [1, 2]
    assert [row[-1] for row in figure["table"]["rows"]] == [2, 1]


def test_a_system_of_our_own_has_no_paper_to_link(library, runs, tmp_path):
    own = {"dummy": system("dummy", title="Ours", arxiv="", venue="")}
    with pytest.MonkeyPatch.context() as patch:
        for module in (registry, build):
            patch.setattr(module, "systems", lambda: own)
        site = report(runs, tmp_path / "site").parent
    for name in ("index.html", "studies/dummy/index.html"):
        page = read(site, name)
        assert '<p class="paper">Ours</p>' in page
        assert "arxiv.org" not in page


def test_text_from_data_is_escaped(site):
    page = read(site)
    assert "<script>alert" not in page
    assert "care is &lt;script&gt;" in page


def test_failures_are_shown_and_escaped(library, tmp_path):
    this = run("tests.lab.dummy:study", store=tmp_path / "runs", engine="local:2", progress="none")
    key = this.cells[0].key
    this.store.set_aside(key)
    this.store.fail(key, "error", "ValueError: <b>bad</b>", cell="cell <1>")
    page = read(report(tmp_path / "runs", tmp_path / "site").parent)
    assert "ValueError: &lt;b&gt;bad&lt;/b&gt;" in page
    assert "? inconclusive" in page


def test_the_site_is_byte_stable_and_pages_that_did_not_change_are_left_alone(runs, site, tmp_path):
    again = report(runs, tmp_path / "again").parent
    files = {p.relative_to(site): p.read_bytes() for p in site.rglob("*") if p.is_file()}
    assert {p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()} == files
    stamp = (again / "studies/dummy/index.html").stat().st_mtime_ns
    report(runs, again)
    assert (again / "studies/dummy/index.html").stat().st_mtime_ns == stamp


def test_published_results_give_the_same_claims(runs, site, tmp_path):
    from groundshift.lab import open_run

    publish(open_run("tests.lab.dummy:study", store=runs), tmp_path / "results")
    page = read(report(tmp_path / "results", tmp_path / "site").parent)
    claims = re.compile(r"<tbody>.*?</tbody>", re.S)
    assert claims.search(page)[0] == claims.search(read(site))[0]


def test_every_link_leads_to_a_file(site):
    class Links(HTMLParser):
        def __init__(self):
            super().__init__()
            self.targets, self.ids = [], set()

        def handle_starttag(self, tag, attrs):
            attrs = dict(attrs)
            self.ids.add(attrs.get("id"))
            self.targets += [attrs[name] for name in ("href", "src") if name in attrs and tag != "use"]

    for page in site.rglob("*.html"):
        links = Links()
        links.feed(page.read_text(encoding="utf-8"))
        for link in links.targets:
            if link.startswith(("https://arxiv.org/", "data:")):
                continue
            target, _, fragment = link.partition("#")
            assert not target or (page.parent / target).resolve().is_file(), link
            assert target or not fragment or fragment in links.ids, link


def test_forty_studies_stay_within_their_budgets(library, runs, tmp_path):
    many = {f"system{i:02}": system(f"system{i:02}") for i in range(40)}
    for module in (registry, build):
        library.setattr(module, "systems", lambda: many)
    for slug in many:
        (tmp_path / "runs" / slug).parent.mkdir(exist_ok=True)
        publish_as(runs, tmp_path / "runs" / slug)
    began = time.perf_counter()
    page = report(tmp_path / "runs", tmp_path / "site")
    seconds = time.perf_counter() - began
    library.setattr(registry, "systems", lambda: {"dummy": system("dummy")})
    library.setattr(build, "systems", lambda: {"dummy": system("dummy"), "idle": system("idle")})
    assert page.stat().st_size < 300_000
    assert max(p.stat().st_size for p in (tmp_path / "site" / "studies").rglob("index.html")) < 1_000_000
    assert seconds < 20


def publish_as(runs, folder):
    from groundshift.lab import open_run

    page = publish(open_run("tests.lab.dummy:study", store=runs), folder.with_suffix(".tmp"))
    page.rename(folder)
    folder.with_suffix(".tmp").rmdir()


def test_a_folder_that_is_not_a_site_is_refused(runs, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="not a groundshift site"):
        report(runs, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_no_results_are_said_plainly(library, tmp_path):
    with pytest.raises(InputError, match="holds no results"):
        report(tmp_path, tmp_path / "site")


def test_a_rate_is_shown_with_its_level_and_slack_and_without_a_dot_for_every_trial(library, runs, tmp_path):
    from groundshift.lab import open_run

    folder = publish(open_run("tests.lab.dummy:study", store=runs), tmp_path / "results")
    summary = json.loads((folder / "summary.json").read_text())
    summary["claims"][0] |= {"kind": "rate", "direction": "<", "margin": 0.05, "slack": 0.03, "trials": 1}
    summary["claims"][0] |= {
        "valid": 200,
        "planned": 200,
        "values": [0.0] * 191 + [1.0] * 9,
        "mean": 0.045,
        "low": 0.0237,
        "high": 0.0772,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    library.setattr(registry, "systems", lambda: {"dummy": system("dummy")})
    library.setattr(build, "systems", lambda: {"dummy": system("dummy"), "idle": system("idle")})
    page = read(report(tmp_path / "results", tmp_path / "site").parent)
    assert "&lt; 0.05 + 0.03" in page
    (drawn,) = re.findall(r'<svg class="strip"[^>]*200 values.*?</svg>', page)
    assert drawn.count('class="margin"') == 2
    assert 'class="value"' not in drawn
    assert "9 of 200 trials" in page
