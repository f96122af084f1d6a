"""``groundshift tdacot`` on a file of a user's."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from groundshift.commands.tdacot import app
from groundshift.errors import InputError
from groundshift.worlds.reasoning_traces import maze_of_facts


@pytest.fixture
def traces(tmp_path):
    path = tmp_path / "traces.jsonl"
    records = maze_of_facts(np.random.default_rng(0), graphs=1, problems=16, gap_breaks=1.0).records
    path.write_text("\n".join(json.dumps({**r, "trace": "\n\n".join(r["trace"])}) for r in records))
    return path


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_fit_then_relate_and_distances(traces, tmp_path):
    out, plot = tmp_path / "shapes", tmp_path / "p.png"
    output = call("fit", traces, "--out", out, "--plot", plot)
    assert "of 48 traces have a gap" in output
    assert plot.stat().st_size > 1000
    related = json.loads(call("relate", out, "--statistics", "gaps,gap_score", "--draws", 100, "--json"))
    assert related["lift"] > 0
    assert [row["statistic"] for row in related["rows"]] == ["gaps", "gap_score"]
    apart = json.loads(call("distances", out, "--degree", 0, "--json"))
    assert len(apart["between"]) == 6


def test_wrong_input_is_told(traces, tmp_path):
    refused = CliRunner().invoke(app, ["fit", str(traces), "--split", "sentense"])
    assert refused.exit_code == 2
    assert "'sentence'" in refused.output
    with pytest.raises(InputError, match="is no file"):
        call("fit", tmp_path / "none.jsonl")
