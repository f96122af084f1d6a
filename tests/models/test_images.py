"""Folders and tables of images."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from groundshift.errors import InputError
from groundshift.models.images import read_image_folder, read_image_table


def picture(path, value=100, size=(6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path):
    for domain, kind, name in [("photo", "dog", "b.png"), ("photo", "cat", "a.png"), ("art", "dog", "c.JPG")]:
        picture(tmp_path / "images" / domain / kind / name)
    return tmp_path / "images"


def test_domain_and_class_are_the_folders_in_the_order_of_names(folder):
    (folder / "photo" / ".cache").mkdir()
    picture(folder / "photo" / ".cache" / "z.png")  # of a file manager
    (folder / "notes.txt").write_text("no image")
    files = read_image_folder(folder, "domain/class")
    assert files.table.to_dict("list") == {
        "image": ["art/dog/c.JPG", "photo/cat/a.png", "photo/dog/b.png"],
        "domain": ["art", "photo", "photo"],
        "class": ["dog", "cat", "dog"],
    }
    assert [path.exists() for path in files.paths()] == [True] * 3
    assert list(read_image_folder(folder, "flat").table.columns) == ["image"]


def test_another_layout_is_named(folder):
    with pytest.raises(InputError, match=r"lies 2 folders deep .* layout class needs 1"):
        read_image_folder(folder, "class")
    with pytest.raises(InputError, match="layout='classes'"):
        read_image_folder(folder, "classes")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="holds no images"):
        read_image_folder(folder / "empty")
    with pytest.raises(InputError, match="is no folder"):
        read_image_folder(folder / "nowhere")


def test_names_that_differ_by_spelling_alone(folder):
    picture(folder / "art" / "Dog" / "d.png")
    with pytest.raises(InputError, match=r"class 'dog' and the class 'Dog'"):
        read_image_folder(folder, "domain/class")


def test_unreadable_files_are_listed_or_refused(tmp_path):
    for k in range(199):
        picture(tmp_path / "a" / f"{k:03d}.png")
    (tmp_path / "a" / "bad.png").write_bytes(b"no image")
    files = read_image_folder(tmp_path)
    assert len(files) == 199
    assert files.unreadable[0].startswith("a/bad.png: is no image that can be read")
    picture(tmp_path / "a" / "dot.png", size=(1, 1))
    assert "is 1 × 1 pixels" in read_image_folder(tmp_path).unreadable[1]
    (tmp_path / "a" / "worse.png").write_bytes(b"")
    with pytest.raises(InputError, match="3 of 202 images"):
        read_image_folder(tmp_path)


def test_a_table_of_images(folder):
    rows = {"path": ["photo/dog/b.png", "art/dog/c.JPG"], "kind": ["dog", "dog"], "where": [2, 1]}
    (folder / "list.csv").write_text(pd.DataFrame(rows).to_csv(index=False))
    files = read_image_table(folder / "list.csv", "path", "kind", "where")
    assert files.table.values.tolist() == [["art/dog/c.JPG", "1", "dog"], ["photo/dog/b.png", "2", "dog"]]
    assert read_image_table(pd.DataFrame(rows), "path", root=folder).table.shape == (2, 1)
    with pytest.raises(InputError, match="no column 'pth' in the table; did you mean 'path'"):
        read_image_table(folder / "list.csv", "pth")
    with pytest.raises(InputError, match="2 of 2 images of the table do not exist"):
        read_image_table(pd.DataFrame(rows), "path", root=folder / "art")
    with pytest.raises(InputError, match="stands in the table twice"):
        read_image_table(pd.DataFrame({"path": ["a.png"] * 2}), "path")
    with pytest.raises(InputError, match="kind is blank in 1 rows"):
        read_image_table(pd.DataFrame({**rows, "kind": ["dog", None]}), "path", "kind", root=folder)
