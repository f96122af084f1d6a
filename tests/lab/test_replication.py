"""A verdict counts once, then again at a fresh root seed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import tests.lab.dummy as dummy
from groundshift.errors import InputError
from groundshift.lab import open_run, publish, published, report, summarise
from groundshift.lab.checking import verify
from groundshift.lab.cli import app
from groundshift.lab.driver import run
from groundshift.lab.runs import fresh_root
from tests.lab.test_site import system

REF = "tests.lab.dummy:study"
ROOT = 77


def go(store, **options):
    return run(REF, store=store, engine="local:2", progress="none", **options)


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The dummy's run, and the same at another root seed."""
    folder = tmp_path_factory.mktemp("runs")
    go(folder)
    assert call("replicate", REF, "--root", ROOT, "--store", folder, "--engine", "local:2").exit_code == 0
    return folder


def outputs(this):
    return {cell.key: this.store.record(cell.key)["digest"] for cell in this.cells}


def test_a_replication_has_the_same_cells_other_draws_and_a_folder_beside_the_run(store):
    base, again = open_run(REF, store=store), open_run(REF, store=store, root=ROOT)
    assert again.store.folder == base.store.folder / "replications" / "77"
    assert [cell.key for cell in again.cells] == [cell.key for cell in base.cells]
    assert not set(outputs(again).values()) & set(outputs(base).values())
    assert again.store.definition()["root"] == ROOT
    assert "root" not in base.store.definition()


def test_methods_of_one_seed_still_see_the_same_data(store):
    again = open_run(REF, store=store, root=ROOT)
    by_method = {
        cell.method: again.store.arrays(cell.key)["estimate"]
        for cell in again.cells
        if cell.seed == 3 and cell.severity == 1.0
    }
    np.testing.assert_array_equal(by_method["careless"], by_method["careful"] + 1.0)


def test_its_cells_can_be_computed_again_bit_by_bit(store):
    assert {check.level for check in verify(open_run(REF, store=store, root=ROOT), cells=6)} == {"bit-exact"}
    out = call("verify", REF, "--root", ROOT, "--store", store).stdout
    assert "bit-exact" in out
    assert "different" not in out


def test_it_is_resumed_not_repeated(store, tmp_path):
    go(tmp_path, scale="quick", root=5)
    this = open_run(REF, scale="quick", store=tmp_path, root=5)
    before, lost = outputs(this), this.cells[3].key
    this.store.set_aside(lost)
    go(tmp_path, scale="quick", root=5)
    assert outputs(this) == before
    ran = [event["key"] for event in this.store.events() if event["event"] == "done"]
    assert (len(ran), ran.count(lost)) == (25, 2)


def test_the_run_is_left_as_it_was(store, tmp_path):
    alone = go(tmp_path)
    assert outputs(open_run(REF, store=store)) == outputs(alone)
    assert len(alone.table()) == len(open_run(REF, store=store).table())


def test_the_root_seed_of_a_study_is_always_the_same_fresh_one(store, tmp_path):
    root = fresh_root(dummy.study)
    assert root == fresh_root(dummy.study) != dummy.study.root_seed
    assert root != fresh_root(replace(dummy.study, slug="other"))
    assert call("replicate", REF, "--scale", "quick", "--store", tmp_path, "--quiet").exit_code == 0
    assert open_run(REF, scale="quick", store=tmp_path, root=root).store.done()


@pytest.mark.parametrize(("root", "message"), [(dummy.study.root_seed, "own root seed"), (-1, "at least 0")])
def test_a_root_that_is_not_fresh_is_refused(tmp_path, root, message):
    with pytest.raises(InputError, match=message):
        go(tmp_path, root=root)


def test_more_seeds_of_the_run_are_seeds_of_its_replication(tmp_path):
    go(tmp_path)
    go(tmp_path, more_seeds=6)
    again = open_run(REF, store=tmp_path, root=ROOT)
    assert (len(again.cells), again.alpha) == (72, 0.05)


def held(summary):
    return {
        claim["id"]: [(r["root"], r["verdict"]) for r in claim["replications"]] for claim in summary["claims"]
    }


def test_a_summary_has_what_came_of_each_claim_at_the_other_root(store):
    summary = summarise(open_run(REF, store=store)).data
    words = [claim["verdict"] for claim in summary["claims"]]
    assert held(summary) == {id: [(ROOT, word)] for id, word in zip("123", words, strict=True)}
    assert [row["root"] for row in summary["replications"]] == [ROOT]
    assert summary["replications"][0]["command"] == f"groundshift replicate {REF} --root 77 --scale cpu"


def test_only_finished_replications_of_these_very_claims_are_counted(tmp_path, monkeypatch):
    base = go(tmp_path)
    go(tmp_path, root=1)
    go(tmp_path, root=2)
    unfinished = open_run(REF, store=tmp_path, root=2)
    unfinished.store.set_aside(unfinished.cells[0].key)
    assert held(summarise(base).data) == {"1": [(1, "shown")], "2": [(1, "shown")], "3": [(1, "not shown")]}
    newer = replace(dummy.study.claims[0], version=2, margin=0.6)
    changed = replace(dummy.study, claims=(newer, *dummy.study.claims[1:]))
    publish(base, tmp_path / "results")
    monkeypatch.setattr(dummy, "study", changed)
    publish(open_run(REF, store=tmp_path), tmp_path / "newer")
    old = tmp_path / "results" / "dummy" / "replications"
    (tmp_path / "newer" / "dummy" / "replications" / "1" / "summary.json").write_bytes(
        (old / "1" / "summary.json").read_bytes()
    )
    assert held(published(tmp_path / "newer")["dummy"].data) == {
        "1": [], "2": [(1, "shown")], "3": [(1, "not shown")]
    }  # fmt: skip


def test_a_root_seed_that_changes_nothing_is_no_replication(tmp_path):
    base = go(tmp_path)
    copy = base.store.folder / "replications" / "9"
    go(tmp_path, root=9)
    for path in copy.glob("cells/??/*.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({**record, "digest": base.store.record(record["key"])["digest"]}))
    assert held(summarise(base).data) == {"1": [], "2": [], "3": []}
    out = call("replicate", REF, "--root", 9, "--store", tmp_path)
    assert "changes nothing" in out.stdout + out.stderr


def test_published_it_is_small_and_the_published_run_stays_as_it_is(store, tmp_path):
    publish(open_run(REF, store=store), tmp_path)
    folder = tmp_path / "dummy"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    replication = folder / "replications" / "77"
    assert [path.name for path in replication.iterdir()] == ["summary.json"]
    summary = json.loads((replication / "summary.json").read_text())
    assert (summary["root"], summary["environments"][0]["python"] != "") == (77, True)
    assert len(summary["claims"]) == 3
    assert "replications" not in json.loads(before["summary.json"])
    assert held(published(tmp_path)["dummy"].data)["1"] == [(77, "shown")]


def test_a_replication_is_published_beside_results_whose_run_is_elsewhere(store, tmp_path):
    publish(open_run(REF, store=store), tmp_path / "results")
    base = tmp_path / "results" / "dummy" / "summary.json"
    before = base.read_bytes()
    assert call("replicate", REF, "--root", 3, "--store", tmp_path / "runs", "--quiet").exit_code == 0
    done = call("publish", REF, "--store", tmp_path / "runs", "--out", tmp_path / "results")
    assert done.exit_code == 0
    assert "replications/3" in done.stdout
    assert base.read_bytes() == before
    assert held(published(tmp_path / "results")["dummy"].data)["3"] == [(3, "not shown"), (77, "not shown")]
    with pytest.raises(InputError, match="no published run"):
        publish(open_run(REF, store=tmp_path / "runs"), tmp_path / "empty")


def test_replicate_prints_both_verdicts_and_how_many_held(store, tmp_path):
    out = call("replicate", REF, "--root", ROOT, "--store", store).stdout
    assert "3 of 3 verdicts held" in out
    publish(open_run(REF, store=store), tmp_path / "results")
    words = ["replicate", REF, "--root", 4, "--store", tmp_path / "runs", "--results", tmp_path / "results"]
    assert "3 of 3 verdicts held" in call(*words).stdout
    rows = json.loads(call(*words, "--json").stdout.partition("\n")[2])
    assert (rows["root"], rows["held"], rows["compared"]) == (4, 3, 3)
    lonely = call(
        "replicate", REF, "--root", 4, "--store", tmp_path / "runs", "--results", tmp_path / "none"
    ).stdout
    assert "no verdict to compare with" in lonely


def test_status_has_a_row_for_it(store):
    rows = json.loads(call("status", "--store", store, "--json").stdout)
    assert [(row["scale"], row["done"]) for row in rows] == [("cpu", 60), ("cpu, root 77", 60)]


def test_show_says_whether_each_verdict_held(store, tmp_path):
    out = " ".join(call("show", REF, "--store", store).stdout.split())
    assert out.count("held in 1 of 1 fresh root") == 3
    assert "not shown: the interval" in out
    publish(open_run(REF, store=store), tmp_path / "results")
    words = ["show", REF, "--store", tmp_path / "none", "--results", tmp_path / "results"]
    assert " ".join(call(*words).stdout.split()).count("held in 1 of 1 fresh root") == 3
    data = json.loads(call(*words, "--json").stdout)
    assert [claim["verdict"] for claim in data["measured"]] == ["shown", "shown", "not shown"]
    assert "held in" not in call("show", REF, "--store", tmp_path, "--results", tmp_path).stdout


def test_the_site_says_so_beside_each_claim(store, tmp_path, monkeypatch):
    from groundshift.lab import registry
    from groundshift.lab.site import build

    for module in (registry, build):
        monkeypatch.setattr(module, "systems", lambda: {"dummy": system("dummy")})
    publish(open_run(REF, store=store), tmp_path / "results")
    path = tmp_path / "results" / "dummy" / "replications" / "77" / "summary.json"
    summary = json.loads(path.read_text())
    summary["claims"][0]["verdict"] = "inconclusive"
    path.write_text(json.dumps(summary))
    for source, counts in ((store, ["1 of 1"] * 3), (tmp_path / "results", ["0 of 1", "1 of 1", "1 of 1"])):
        site = report(source, tmp_path / f"site{len(set(counts))}")
        page = (site.parent / "studies" / "dummy" / "index.html").read_text()
        for count in set(counts):
            assert page.count(f"verdict held in {count} fresh root") == counts.count(count)
        assert "groundshift replicate dummy --root 77 --scale cpu" in page
    assert "root 77: ? inconclusive" in page


def test_failed_cells_of_a_replication_are_told_with_the_command_that_shows_them(tmp_path):
    this = go(tmp_path, scale="quick", root=5)
    key = this.cells[0].key
    this.store.set_aside(key)
    this.store.fail(key, "error", "ValueError: mischief", cell="the first")
    words = (REF, "--root", 5, "--scale", "quick", "--store", tmp_path)
    done = call("replicate", *words)
    assert done.exit_code == 1
    assert f"groundshift failures {REF} --root 5" in done.output
    assert "mischief" in call("failures", *words).stdout
    assert call("replicate", *words, "--retry", "failed", "--quiet").exit_code == 0


def test_at_quick_scale_nothing_can_hold(tmp_path):
    base = go(tmp_path, scale="quick")
    out = call("replicate", REF, "--scale", "quick", "--store", tmp_path).stdout
    assert "no verdicts" in out
    assert held(summarise(base).data) == {"1": [], "2": [], "3": []}


def test_published_numbers_are_judged_again_without_a_run(store, tmp_path):
    """Where the rules of judging have changed, so that both verdicts of a claim follow the same ones."""
    folder = publish(open_run(REF, store=store), tmp_path / "results")
    before = json.loads((folder / "summary.json").read_text())
    old = [{**claim, "verdict": "inconclusive", "p": 0.5, "low": 0.0} for claim in before["claims"]]
    (folder / "summary.json").write_text(json.dumps({**before, "claims": old}))
    words = ["publish", REF, "--judge-again", "--store", tmp_path / "none", "--out", tmp_path / "results"]
    assert call(*words).exit_code == 0
    assert json.loads((folder / "summary.json").read_text()) == before
    assert held(published(tmp_path / "results")["dummy"].data)["1"] == [(77, "shown")]


@pytest.mark.parametrize("change", ["margin", "seeds", "nothing published"])
def test_other_claims_or_cells_are_not_judged_again(store, tmp_path, monkeypatch, change):
    out = tmp_path / "results"
    publish(open_run(REF, store=store), out if change != "nothing published" else tmp_path / "other")
    if change == "margin":
        moved = replace(dummy.study.claims[0], margin=0.1, version=2)
        monkeypatch.setattr(dummy, "study", replace(dummy.study, claims=(moved, *dummy.study.claims[1:])))
    if change == "seeds":
        monkeypatch.setattr(
            dummy,
            "study",
            replace(dummy.study, scales={**dummy.study.scales, "cpu": dummy.Settings(seeds=9)}),
        )
    result = call("publish", REF, "--judge-again", "--store", tmp_path / "none", "--out", out)
    assert isinstance(result.exception, InputError)
    assert ("nothing to judge" if "nothing" in change else "run it again") in str(result.exception)
