"""Molecules as pictures."""

import json

import numpy as np
import pytest
from PIL import Image

from groundshift.benchmarks import vlmshift
from groundshift.errors import InputError
from groundshift.models.molecules import draw_molecule

pytest.importorskip("rdkit")
MOLECULES = [
    ("CCO", 0, "assay 1"),
    ("c1ccccc1O", 1, "assay 1"),
    ("CC(=O)N", 1, "assay 2"),
    ("no molecule", 0, "x"),
]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def lines(path, rows=MOLECULES[:3]):
    path.mkdir()
    (path / "lbap_core_ic50_assay.txt").write_text("".join(f"{s} {y} {d}\n" for s, y, d in rows) + "\n")
    return path


def test_lines_and_published_json_give_the_same_pictures(tmp_path):
    text = vlmshift.prepare(lines(tmp_path / "lines"), "drugood")
    assert text.table["class"].value_counts().to_dict() == {"active": 2, "inactive": 1}
    assert set(text.table["domain"]) == {"assay 1", "assay 2"}
    assert {Image.open(path).size for path in text.table["image"]} == {(224, 224)}
    assert text.table["sha256"].nunique() == 3
    split = [{"smiles": s, "cls_label": y, "assay_id": d, "reg_label": 5.1} for s, y, d in MOLECULES]
    (tmp_path / "set.json").write_text(
        json.dumps({"cfg": {}, "split": {"train": split[:2], "ood_test": split[2:]}})
    )
    again = vlmshift.prepare(tmp_path / "set.json", "drugood")
    assert again.table.equals(text.table)
    assert again.missing == ("no molecule",)


def test_a_drawing_shows_the_molecule():
    drawn = [np.asarray(draw_molecule(smiles)) for smiles in ("CCO", "OCC", "c1ccccc1")]
    assert drawn[0].std() > 10
    assert (drawn[0] == drawn[1]).mean() > 0.9 > (drawn[0] == drawn[2]).mean() - 0.1
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CCO 1\n", r"Line 1 of .* is 'CCO 1'; \"SMILES label domain\" is needed"),
        ("\nCCO yes a\n", r"Line 2 of .* has the label 'yes'; 0 \(inactive\) or 1 \(active\)"),
        ("what 1 a\n", r"None of the 1 molecules .* is one in SMILES, such as 'what'"),
        ("\n", "holds no molecules"),
    ],
)
def test_bad_files_are_told(tmp_path, text, message):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "molecules.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        vlmshift.prepare(tmp_path / "raw", "drugood")


def test_other_json_is_told(tmp_path):
    (tmp_path / "set.json").write_text(json.dumps({"split": {"train": [{"text": "x"}]}}))
    with pytest.raises(InputError, match="is not DrugOOD's JSON"):
        vlmshift.prepare(tmp_path / "set.json", "drugood")
    with pytest.raises(InputError, match="'nothing at all' is no molecule"):
        draw_molecule("nothing at all")
