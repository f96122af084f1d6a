"""Published image data sets in directories of their layout, made here."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from groundshift.benchmarks import vlmshift as vs
from groundshift.errors import InputError

CAMELYON = {"patient": ["004", "012"], "node": [4, 1], "x_coord": [3328, 64], "y_coord": [21792, 96],
            "tumor": [1, 0], "center": [0, 3]}  # fmt: skip
NIH = {
    "Image Index": ["00000001_000.png", "00000002_000.png"],
    "Finding Labels": ["Cardiomegaly|Effusion", "No Finding"],
    "View Position": ["PA", "AP"],
}
LAYOUTS = {
    "camelyon17": (
        {"metadata.csv": CAMELYON},
        ["patches/patient_004_node_4/patch_patient_004_node_4_x_3328_y_21792.png",
         "patches/patient_012_node_1/patch_patient_012_node_1_x_64_y_96.png"],
        {("hospital_0", "tumor"), ("hospital_3", "normal")},
    ),
    "iwildcam": (
        {"metadata.csv": {"filename": ["a.jpg", "b.jpg"], "location_remapped": [7, 12], "y": [0, 1]},
         "categories.csv": {"y": [0, 1], "name": ["empty", "tayassu pecari"]}},
        ["train/a.jpg", "train/b.jpg"],
        {("location_7", "empty"), ("location_12", "tayassu pecari")},
    ),
    "fmow": (
        {"rgb_metadata.csv": {"category": ["airport", "zoo", "port"], "country_code": ["FRA", "BRA", "ATA"]},
         "country_code_mapping.csv": {"alpha-3": ["FRA", "BRA", "ATA"], "region": ["Europe", "Americas", ""]}},
        ["images/rgb_img_0.png", "images/rgb_img_1.png", "images/rgb_img_2.png"],
        {("Europe", "airport"), ("Americas", "zoo")},
    ),
    "nih-chest-xray14": (
        {"Data_Entry_2017.csv": NIH},
        ["images_001/images/00000001_000.png", "images_001/images/00000002_000.png"],
        {("PA", "Cardiomegaly"), ("AP", "No Finding")},
    ),
}  # fmt: skip


def lay_out(folder, name):
    tables, images, _ = LAYOUTS[name]
    for table, columns in tables.items():
        pd.DataFrame(columns).to_csv(folder / table, index=False)
    for k, image in enumerate(images):
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 40 * k, np.uint8)).save(folder / image)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout_is_read(name, tmp_path):
    lay_out(tmp_path, name)
    manifest = vs.prepare(tmp_path, name)
    assert set(map(tuple, manifest.table[["domain", "class"]].to_numpy())) == LAYOUTS[name][2]
    assert manifest.missing == ()
    manifest.save(tmp_path / "manifest.csv")
    assert len(vs.load(tmp_path / "manifest.csv").table) == len(manifest.table)


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_and_columns_that_are_missing_are_named(name, tmp_path):
    lay_out(tmp_path, name)
    first, table = LAYOUTS[name][1][0], next(iter(LAYOUTS[name][0]))
    (tmp_path / first).unlink()
    missing = vs.prepare(tmp_path, name).missing
    assert [one.rsplit("/")[-1] for one in missing] == [first.rsplit("/")[-1]]
    frame = pd.read_csv(tmp_path / table, dtype=str)
    frame.iloc[:, 1:].to_csv(tmp_path / table, index=False)
    with pytest.raises(InputError, match=f"no column '{frame.columns[0]}'"):
        vs.prepare(tmp_path, name)
    (tmp_path / table).unlink()
    with pytest.raises(InputError, match="holds no"):
        vs.prepare(tmp_path, name)
