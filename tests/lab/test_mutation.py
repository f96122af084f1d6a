"""Broken versions of a method: which claims catch them, and what is said of claims that catch none."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import tests.lab.dummy as dummy
from groundshift.errors import InputError
from groundshift.lab import Claim, Control, Measure, Method, open_run, publish, published, run, summarise
from groundshift.lab.execute import execute
from groundshift.lab.mutation import EMPTY
from groundshift.lab.runs import freeze
from groundshift.lab.summary import judge_again
from tests.lab.test_replication import REF, call, go


def here(store, **options):
    """The run in this process, where workers would not see what a test has changed."""
    this = freeze(open_run(REF, store=store, **options), None)
    for cell in this.cells:
        execute(REF, str(this.store.folder), str(this.store.folder), cell.key)
    return this


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The dummy's run, and its mutants."""
    folder = tmp_path_factory.mktemp("runs")
    go(folder)
    assert call("mutate", REF, "--store", folder, "--engine", "local:2", "--quiet").exit_code == 0
    return folder


def caught(claims):
    return {c["id"]: {t["mutant"]: t["by"] for t in c["mutants"]} for c in claims if "mutants" in c}


def test_a_mutant_answers_on_the_methods_data_in_a_folder_inside_the_run(store):
    base, answers = open_run(REF, store=store), open_run(REF, store=store, mutants=True)
    assert answers.store.folder == base.store.folder / "mutants"
    assert {cell.method for cell in answers.cells} == {"silent as careful", "faithful as careful"}
    theirs = {
        (c.seed, c.severity): answers.store.arrays(c.key) for c in answers.cells if "faithful" in c.method
    }
    for cell in base.cells:
        if cell.method == "careful":
            mine = base.store.arrays(cell.key)["estimate"]
            np.testing.assert_array_equal(theirs[cell.seed, cell.severity]["estimate"], mine)


def test_claims_catch_what_is_broken_and_nothing_else(store):
    claims = summarise(open_run(REF, store=store)).data["claims"]
    assert caught(claims) == {
        "1": {"silent": "claim", "faithful": ""},
        "2": {"silent": "claim", "faithful": ""},
    }  # the third is not held by the method itself
    assert [claim.get("empty") for claim in claims] == [False, False, None]
    assert [claim["verdict"] for claim in claims] == ["shown", "shown", "not shown"]


def changed(monkeypatch, *claims, methods=()):
    study = replace(dummy.study, claims=claims, methods=(*dummy.study.methods, *methods))
    monkeypatch.setattr(dummy, "study", study)


def test_a_claim_that_every_broken_method_passes_is_empty_and_never_shown(tmp_path, monkeypatch):
    changed(monkeypatch, Claim("1", "it answers", "mean(closeness|careful)", -5.0, None))
    base = go(tmp_path)
    assert summarise(base).data["claims"][0]["verdict"] == "shown"  # until its mutants have run
    go(tmp_path, mutants=True)
    (claim,) = summarise(base).data["claims"]
    assert (claim["empty"], claim["verdict"], claim["reason"]) == (True, "inconclusive", EMPTY)
    folder = publish(base, tmp_path / "results")
    assert published(tmp_path / "results")["dummy"].data["claims"][0]["empty"] is True
    before = (folder / "summary.json").read_bytes()
    judge_again(base, tmp_path / "results")
    assert json.loads((folder / "summary.json").read_text())["claims"] == json.loads(before)["claims"]


def test_a_claim_that_only_its_control_saves_is_not_empty(tmp_path, monkeypatch):
    @dummy.careful.tampered()
    def far_away(data, rng):
        """The answer's data moved by five."""
        return data + 5.0

    monkeypatch.setattr(dummy, "grids_before", dummy.grids, raising=False)

    def grids(s):
        for grid in dummy.grids_before(s):
            params = {name: {"seconds": 0.0} for name in (*grid.methods, "far_away")}
            yield replace(grid, methods=(*grid.methods, "far_away"), method_params=params)

    control = Control("moved by five it is far", "mean(closeness|far_away)", high=-3.0)
    changed(monkeypatch, Claim("1", "t", "mean(closeness|careful)", -5.0, control), methods=(far_away,))
    monkeypatch.setattr(dummy, "study", replace(dummy.study, grids=grids))
    base = here(tmp_path)
    answers = here(tmp_path, mutants=True)
    assert {c.method for c in answers.cells if "silent" in c.method} == {
        "silent as careful",
        "silent as far_away",
    }
    (claim,) = summarise(base).data["claims"]
    assert caught([claim]) == {"1": {"silent": "control", "faithful": ""}}
    assert (claim["empty"], claim["verdict"]) == (False, "shown")


def test_a_mutant_that_gives_no_answer_is_not_caught(tmp_path, monkeypatch):
    @Method.define(role="mutant", of=dummy.careful)
    def broken(data, rng, *, seconds):
        """Ends in an error."""
        raise ValueError("mischief")

    changed(monkeypatch, dummy.study.claims[0], methods=(broken,))
    here(tmp_path)
    here(tmp_path, mutants=True)
    done = call("mutate", REF, "--store", tmp_path, "--engine", "local:2")
    assert done.exit_code == 1
    assert "mischief" in done.output
    assert "20 cells of mutants failed" in done.output


def test_at_quick_scale_means_are_compared_where_the_method_itself_holds(tmp_path):
    out = call("mutate", REF, "--store", tmp_path, "--engine", "local:2", "--scale", "quick", "--json").stdout
    claims = json.loads(out[out.index('{\n "mutants"') :])["claims"]
    assert caught(claims)["1"] == {"silent": "claim", "faithful": ""}
    assert "3" not in caught(claims)


def test_published_the_answers_of_mutants_lie_beside_the_run_and_are_told(store, tmp_path):
    folder = publish(open_run(REF, store=store), tmp_path / "results")
    assert {path.name for path in folder.iterdir()} == {"summary.json", "cells.parquet", "mutants.parquet"}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["mutants"]["silent"] == "Answers zero whatever it is handed"
    words = ["show", REF, "--store", tmp_path / "none", "--results", tmp_path / "results"]
    assert " ".join(call(*words).stdout.split()).count("caught 1 of 2 mutants") == 2
    out = call("mutate", REF, "--store", store).stdout
    assert out.count("1 of 2") == 2
    assert "faithful: Is not broken at all, so that no claim can catch it." in out


def test_a_study_without_mutants_and_a_mutant_of_nothing_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(dummy, "study", replace(dummy.study, methods=dummy.study.methods[:3]))
    done = call("mutate", REF, "--store", tmp_path)
    assert isinstance(done.exception, InputError)
    assert "declares no mutant" in str(done.exception)
    with pytest.raises(InputError, match="stands in for no method"):
        Method.define(role="mutant")(lambda data, rng: {})


# Factors and artefacts -----------------------------------------------------------------------------------


def test_factors_of_a_measure_are_columns_of_the_results(tmp_path, monkeypatch):
    @Measure.define(gives=("place", "spread_of"), by={"half": ("first", "second"), "scaled": (True, False)})
    def halves(output, sample):
        parts = {"first": output["estimate"][:4], "second": output["estimate"][4:]}
        return [
            {
                "half": half,
                "scaled": scaled,
                "place": part.mean() / (2 if scaled else 1),
                "spread_of": part.std(),
            }
            for half, part in parts.items()
            for scaled in (True, False)
        ]

    grids = lambda s: [replace(grid, measures=("closeness", "halves")) for grid in dummy.grids(s)]  # noqa: E731
    claim = Claim(
        "1", "t",
        "mean(place|careful, half='first', scaled=False) - 2 * mean(place|careful, half='first', scaled=True)",
        0.0, None, kind="identity", tolerance=1e-12,
    )  # fmt: skip
    study = replace(dummy.study, measures=(dummy.closeness, halves), grids=grids, claims=(claim,))
    monkeypatch.setattr(dummy, "study", study)
    this = here(tmp_path, scale="quick")
    assert this.failures() == {}
    table = this.table()
    assert len(table[table["measure"] == "place"]) == 4 * len(this.cells)
    assert set(table["half"].dropna()) == {"first", "second"}
    (verdict,) = this.verdicts()
    assert verdict.evidence.valid == 2
    assert verdict.evidence.low == pytest.approx(0, abs=1e-12)
    folder = publish(this, tmp_path / "results")
    again = this.planned_table(published(tmp_path / "results")["dummy"].table)
    assert not again["value"].isna().any()
    assert folder.name == "dummy"


def test_a_factor_called_like_a_parameter_is_refused(tmp_path, monkeypatch):
    far = replace(dummy.closeness, name="far", gives=("far",), by={"sd": (1, 2)})
    grids = lambda s: [replace(grid, measures=("far",)) for grid in dummy.grids(s)]  # noqa: E731
    monkeypatch.setattr(dummy, "study", replace(dummy.study, measures=(far,), grids=grids, claims=()))
    with pytest.raises(InputError, match=r"\['sd'\] for a factor of measure 'far'"):
        _ = open_run(REF, store=tmp_path).cells


@pytest.mark.parametrize(
    ("rows", "message"),
    [([{"half": 1, "far": 0.0}], "gave 1 rows"), ([{"half": 1, "near": 0.0}], r"gave \['near'\]")],
)
def test_a_measure_whose_rows_are_not_those_declared_fails_its_cell(tmp_path, monkeypatch, rows, message):
    far = replace(dummy.closeness, name="far", gives=("far",), by={"half": (1, 2)}, score=lambda o, s: rows)
    grids = lambda s: [replace(grid, measures=("far",)) for grid in dummy.grids(s)]  # noqa: E731
    monkeypatch.setattr(dummy, "study", replace(dummy.study, measures=(far,), grids=grids, claims=()))
    this = here(tmp_path, scale="quick")
    failure = next(iter(this.failures().values()))
    assert len(this.failures()) == len(this.cells)

    assert re.search(message, failure["message"])


def test_factors_of_a_measure_that_no_cell_is_scored_by_are_not_asked_for(tmp_path, monkeypatch):
    """A study whose rivals alone have factors: the run of its mutants has no such rows."""
    far = replace(dummy.closeness, name="far", gives=("far",), by={"half": (1, 2)})
    monkeypatch.setattr(dummy, "study", replace(dummy.study, measures=(*dummy.study.measures, far)))
    this = here(tmp_path, scale="quick")
    assert not this.planned_table()["value"].isna().any()


def test_cells_that_share_an_artefact_wait_until_one_has_made_it(tmp_path, monkeypatch):
    grids = lambda s: [replace(grid, shares=("seed",)) for grid in dummy.grids(s)]  # noqa: E731
    monkeypatch.setattr(dummy, "study", replace(dummy.study, grids=grids))
    this = run(
        REF, scale="quick", store=tmp_path, engine="local:4", progress="none", overrides={"seconds": 0.2}
    )
    assert this.failures() == {}
    seeds = {cell.key: cell.seed for cell in this.cells}
    begun: dict[int, list[str]] = {0: [], 1: []}
    done = set()
    for event in this.store.events():
        seed = seeds.get(event.get("key"))
        if event["event"] == "start":
            assert not begun[seed] or done & set(begun[seed]), (
                "a second cell began before the first had ended"
            )
            begun[seed].append(event["key"])
        elif event["event"] == "done":
            done.add(event["key"])
    assert len(done) == 24
