"""``groundshift csts …`` as a user types it, on files of the user's own."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.errors import InputError
from groundshift.lab.cli import app


def call(*words):
    """Output of a command; an `InputError` is raised as the command line would print it."""
    result = CliRunner().invoke(app, ["csts", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("csts") / "world"
    text = call(
        "generate",
        "--subjects",
        1,
        "--segments",
        12,
        "--patterns",
        "0,2,13,25",
        "--lengths",
        "150",
        "--out",
        out,
    )
    assert "1,800 rows, 12 segments" in text
    return out


@pytest.fixture(scope="module")
def files(world):
    (data,) = world.glob("exploratory/**/non_normal/*-data.parquet")
    return data, data.with_name(data.name.replace("-data", "-labels"))


def test_describe_and_plot(files, tmp_path):
    data, labels = files
    text = call("describe", data, "--labels", labels, "--plot", tmp_path / "series.png")
    assert "12 segments in 4 clusters" in text
    assert (tmp_path / "series.png").stat().st_size > 10_000
    assert json.loads(call("describe", data, "--labels", labels, "--json"))["swc"] > 0.8


def test_degrade_then_evaluate(files, tmp_path):
    data, labels = files
    text = call("degrade", labels, "--kind", "wrong", "--severity", 0.5, "--out", tmp_path / "worse.csv")
    kept = float(re.search(r"([\d.]+)% of the rows keep", text)[1]) / 100
    content = json.loads(
        call("evaluate", data, "--labels", tmp_path / "worse.csv", "--truth", labels, "--json")
    )
    assert content["truth_swc"] > content["swc"]
    assert 0 <= content["jaccard"] <= 1
    assert kept == pytest.approx(0.5, abs=0.01)
    assert (
        json.loads(call("evaluate", data, "--labels", labels, "--truth", labels, "--json"))["jaccard"] == 1.0
    )
    assert "official" not in call(
        "evaluate", data, "--labels", labels, "--truth", labels, "--tolerance", "official"
    )


def test_cluster_then_blame(files, tmp_path):
    data, labels = files
    call("cluster", data, "--algorithm", "change-points", "--clusters", 4, "--out", tmp_path / "mine.csv")
    assert json.loads(
        call("blame", data, "--labels", tmp_path / "mine.csv", "--truth", labels, "--json")
    ) == {"blames": "none"}


def test_indices_follow_quality(files, tmp_path):
    data, labels = files
    content = json.loads(
        call("indices", data, "--truth", labels, "--per-kind", 6, "--plot", tmp_path / "i.svg", "--json")
    )
    assert content["correlation with jaccard"]["swc"] > 0.5
    assert (tmp_path / "i.svg").read_text().startswith("<?xml")


def test_patterns(tmp_path):
    rows = json.loads(call("patterns", "--plot", tmp_path / "patterns.png", "--json"))
    assert len(rows) == 23
    assert rows[4] == {"id": 4, "canonical": [0, 1, 1], "relaxed": [0.0, 0.71, 0.7]}


def test_study_runs_the_study(tmp_path):
    result = CliRunner().invoke(app, ["csts", "study", "--scale", "quick", "--store", str(tmp_path)])
    assert result.exit_code == 0
    assert "Claims of csts" in result.stdout


def test_diagnose_names_a_verdict():
    text = call("diagnose", "rolling", "--subjects", 1, "--segments", 46)
    assert re.search(r"to blame|every condition", text)


def test_a_table_of_ones_own_with_dates_gaps_and_eight_variates(tmp_path):
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1200, 8))
    z[:400, 1] = z[:400, 0] + 0.1 * z[:400, 1]
    z[800:, 1] = -z[800:, 0] + 0.1 * z[800:, 1]
    table = pd.DataFrame(np.exp(z), columns=[f"sensor {i}" for i in range(8)])
    times = pd.date_range("2026-01-01", periods=1500, freq="s")[
        np.sort(rng.choice(1500, 1200, replace=False))
    ]
    table.insert(0, "when", times)
    table.to_csv(tmp_path / "mine.csv", index=False)
    labels = pd.DataFrame(
        {
            "start": [0, 200, 400, 600, 800, 1000],
            "end": [200, 400, 600, 800, 1000, 1200],
            "cluster": list("aabbcc"),
        }
    )
    labels.to_csv(tmp_path / "labels.csv", index=False)
    content = json.loads(
        call(
            "describe",
            tmp_path / "mine.csv",
            "--labels",
            tmp_path / "labels.csv",
            "--end",
            "exclusive",
            "--json",
        )
    )
    assert len(content["variates"]) == 8
    assert "when (time)" in " ".join(content["notes"])
    assert "irregular" in " ".join(content["notes"])
    assert content["swc"] > 0.3


def test_a_segment_without_correlation_is_refused_or_left_out_on_request(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(90, 2)), columns=["a", "b"])
    table.loc[30:59, "b"] = 1.0
    table.to_csv(tmp_path / "mine.csv", index=False)
    pd.DataFrame({"cluster": [1] * 30 + [2] * 30 + [1] * 30}).to_csv(tmp_path / "rows.csv", index=False)
    words = ["describe", tmp_path / "mine.csv", "--labels", tmp_path / "rows.csv"]
    with pytest.raises(InputError, match=r"Segment 1 \(rows 30 to 59\) is constant in b"):
        call(*words)
    assert "1 of 3 segments have no correlation and were left out" in call(*words, "--on-undefined", "drop")


def test_every_verb_leaves_out_a_constant_column_as_it_says(files, tmp_path):
    data, labels = files
    pd.read_parquet(data).assign(dose=1.0, note="x").to_csv(tmp_path / "mine.csv", index=False)
    mine = tmp_path / "mine.csv"
    verbs = {
        "describe": ("--labels", labels, "--plot", tmp_path / "d.png"),
        "evaluate": ("--labels", labels, "--truth", labels, "--plot", tmp_path / "e.png"),
        "indices": ("--truth", labels, "--per-kind", 3),
        "blame": ("--labels", labels, "--truth", labels),
        "cluster": ("--algorithm", "change-points", "--clusters", 4, "--out", tmp_path / "found.csv"),
    }
    for verb, words in verbs.items():
        with pytest.raises(InputError, match="dose is constant everywhere") as refused:
            call(verb, mine, *words, "--drop-columns", "note")
        advised = re.search(r"--drop-columns (\S+)\)", str(refused.value))[1]
        assert call(verb, mine, *words, "--drop-columns", f"note,{advised}")
    with pytest.raises(InputError, match="no column 'zz' to leave out"):
        call("describe", mine, "--labels", labels, "--drop-columns", "zz")


def test_names_of_clusters_come_back(files, tmp_path):
    data, labels = files
    table = pd.read_parquet(labels)
    words = {0: "ash", 2: "birch", 13: "cedar", 25: "date"}
    named = pd.DataFrame(
        {"start": table["start idx"], "end": table["end idx"], "cluster": table["cluster_id"].map(words)}
    )
    named.to_csv(tmp_path / "named.csv", index=False)
    content = json.loads(call("describe", data, "--labels", tmp_path / "named.csv", "--json"))
    assert [row["cluster"] for row in content["clusters"]] == list(words.values())
    call("degrade", tmp_path / "named.csv", "--severity", 0.3, "--out", tmp_path / "worse.csv")
    assert set(pd.read_csv(tmp_path / "worse.csv")["cluster"]) <= set(words.values())
    scores = call(
        "evaluate",
        data,
        "--labels",
        labels,
        "--truth",
        tmp_path / "named.csv",
        "--plot",
        tmp_path / "p.png",
        "--json",
    )
    assert json.loads(scores)["mapping"] == {str(k): [name] for k, name in words.items()}
    output = call("evaluate", data, "--labels", labels, "--truth", labels)
    assert ["segments", "12", "12"] in [line.split() for line in output.splitlines()]


def test_rows_with_missing_values_are_refused_or_left_out_on_request(files, tmp_path):
    data, labels = files
    table = pd.read_parquet(data)
    table.loc[3:4, "ig"] = np.nan
    table.to_parquet(tmp_path / "gaps.parquet")
    with pytest.raises(InputError, match="2 of 1800 rows hold NaN"):
        call("describe", tmp_path / "gaps.parquet", "--labels", labels)
    assert "1,798 rows" in call("describe", tmp_path / "gaps.parquet", "--labels", labels, "--dropna")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["describe", "{data}", "--labels", "{labels}", "--end", "exclusive"], "end='inclusive'|gap"),
        (["describe", "nowhere.csv", "--labels", "{labels}"], "is no file"),
        (["describe", "{data}", "--labels", "{labels}", "--plot", "plot.gif"], ".png, .svg, .pdf"),
        (["evaluate", "{data}", "--labels", "{labels}", "--distance", "L4"], "no distance 'L4'"),
        (["evaluate", "{data}", "--labels", "{labels}", "--tolerance", "high"], "tolerance 'high'"),
        (["degrade", "{labels}", "--severity", "2", "--out", "{tmp}/x.csv"], "severity=2"),
        (["degrade", "{labels}", "--out", "{labels}"], "exists and is kept"),
        (["generate", "--out", "{tmp}", "--patterns", "14"], "not a valid correlation matrix"),
        (["generate", "--out", "{tmp}", "--patterns", "a,b"], "--patterns 'a,b'"),
        (["generate", "--out", "{tmp}", "--completeness", "0"], "share of rows kept"),
        (["generate", "--out", "{tmp}", "--stage", "cooked"], "stage='cooked'"),
        (["generate", "--out", "{tmp}", "--variates", "1"], "at least 2"),
    ],
)
def test_bad_input_is_one_message(words, message, files, tmp_path):
    data, labels = files
    words = [word.format(data=data, labels=labels, tmp=tmp_path / "new") for word in words]
    with pytest.raises(InputError, match=message):
        call(*words)


@pytest.mark.parametrize(
    "words",
    [["describe", "data.csv", "--labels", "l.csv", "--end", "both"], ["degrade", "l.csv", "--kind", "odd"]],
)
def test_a_choice_that_is_none_is_refused(words):
    assert CliRunner().invoke(app, ["csts", *words]).exit_code == 2


def test_a_world_is_never_overwritten(world):
    with pytest.raises(InputError, match="is kept"):
        call(
            "generate",
            "--subjects",
            1,
            "--segments",
            12,
            "--patterns",
            "0,2,13,25",
            "--lengths",
            "150",
            "--out",
            world,
        )
