"""``groundshift answers`` on logs of Inspect."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from groundshift.commands.answers import app
from groundshift.errors import InputError
from tests.models.test_answers import run


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    run(folder)
    return folder / "logs"


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_table_by_stratum(logs, tmp_path):
    content = json.loads(call("table", logs, "--by", "large", "--json"))
    assert [(row["large"], row["n"], row["mean"]) for row in content] == [(False, 36, 1.0), (True, 28, 0.0)]
    call("table", logs, "--out", tmp_path / "t.csv")
    assert pd.read_csv(tmp_path / "t.csv")["n"].tolist() == [64]
    with pytest.raises(InputError, match=r"t\.csv"):
        call("table", logs, "--out", tmp_path / "t.csv")


def test_compare_a_run_with_itself_and_write_records(logs, tmp_path):
    (row,) = json.loads(call("compare", logs, logs, "--json"))
    assert (row["n"], row["difference"], row["p_holm"]) == (64, 0, 1)
    call("records", logs, "--out", tmp_path / "r.parquet")
    assert len(pd.read_parquet(tmp_path / "r.parquet")) == 64
