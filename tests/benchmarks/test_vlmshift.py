"""Image models under shift: reading answers, draws, changes, exemplars, real files, models, published records."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groundshift.benchmarks import vlmshift as vs
from groundshift.errors import InputError
from groundshift.measures.errors import error_consistency, failures, halfway
from groundshift.models.items import Unparsed, check_spellings, grade_items
from groundshift.worlds import spelt_answers
from tests.models import tiny_models as tiny

CLASSES = ["car", "carrot", "teddy-bear", "Trash_Can"]


def write(folder, names=("photo", "sketch"), classes=("car", "dog", "house"), n=6, seed=0):
    rng = np.random.default_rng(seed)
    for domain in names:
        for name in classes:
            (folder / domain / name).mkdir(parents=True, exist_ok=True)
            for k in rng.permutation(n):  # the order of creation is none of the names
                pixels = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / domain / name / f"{k}.png")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write(tmp_path_factory.mktemp("images"))


def grey(messages):
    """A model that looks at the last image alone."""
    total = int(np.asarray(messages[-1]["content"][-2]["image"], np.int64).sum())
    return f"Answer Choice: {['car', 'dog', 'house'][total % 3]}\nConfidence Score: 0.{total % 10}"


# Reading answers -------------------------------------------------------------------------------------------

WORKED = [
    ("Answer Choice: [carrot]\nConfidence Score: [0.8]\nReasoning: [orange]", "carrot", 0.8),
    ("answer choice: 'Teddy Bear'\nConfidence Score: 85%", "teddy-bear", 0.85),
    ("---BEGIN FORMAT TEMPLATE---\nAnswer Choice: trash can.\nConfidence Score: .9", "Trash_Can", 0.9),
    # Bold as models write it, and an option that is named before the last word (VLMEvalKit#1552, #638).
    ("**Answer Choice:** **Carrot**\n**Confidence Score:** 0,8", "carrot", 0.8),
    ("Answer Choice: car\nNo, wait.\nAnswer Choice: carrot\nConfidence Score: 1", "carrot", 1.0),
    ("<think>Answer Choice: car</think>Answer Choice: carrot, as it is orange.", "carrot", None),
]
UNPARSED = [
    "It looks like a car to me.",
    "Answer Choice: car or carrot",
    "Answer Choice: carrots",
    "Answer Choice:",
    "",
]


def test_the_worked_examples_and_what_the_published_parser_makes_of_them():
    for text, name, confidence in WORKED:
        assert vs.parse(text, CLASSES)[:2] == (name, confidence)
        assert vs.parse(text, CLASSES[::-1])[:2] == (name, confidence)
    assert all(isinstance(vs.parse(text, CLASSES), Unparsed) for text in UNPARSED)
    assert vs.published_parse(WORKED[0][0], CLASSES)[:2] == ("car", None)
    rejected = [(text, "car") for text in UNPARSED]
    accepted = [(text, name) for text, name, _ in WORKED]
    assert check_spellings(vs.parser_of(CLASSES), vs.grade, accepted, rejected) == []


@given(st.permutations(spelt_answers.NAMES), st.integers(0, 8), st.sampled_from(spelt_answers.NAMES))
@settings(max_examples=80, deadline=None)
def test_no_order_of_the_classes_changes_what_is_read(names, form, name):
    assert vs.parse(spelt_answers.SPELLINGS[form](name), names)[:2] == (name, 0.8)
    prose = spelt_answers.PROSE[form % len(spelt_answers.PROSE)].format(name)
    assert isinstance(vs.parse(prose, names), Unparsed)


def test_an_answer_that_cannot_be_read_is_wrong_and_counted(images):
    """Harnesses drop them, or count them as wrong without a word (ai-twinkle/Eval#34)."""
    result = vs.ask(lambda m: grey(m) if "dog" in grey(m) else "Looks like a dog.", images, progress=False)
    lost = result.records["parsed"] == 0
    assert 0 < lost.mean() == result.table()["unparsed"].iloc[0]
    assert result.records["correct"][lost].eq(0).all()
    assert result.confusion()["unparsed"].sum() == lost.sum()
    assert "could not be parsed" in str(result.report().lead)


# The sample, its changes and its exemplars -------------------------------------------------------------------


def test_the_draw_depends_on_names_alone(images, tmp_path):
    other = write(tmp_path / "other", names=("sketch", "photo"), classes=("house", "dog", "car"), seed=9)
    one, two = vs.load(images, per_cell=3), vs.load(other, per_cell=3)
    assert one.table.equals(two.table)
    assert one.digest != two.digest
    assert vs.load(images, per_cell=3, domains=["photo"]).table["image"].isin(one.table["image"]).all()
    assert not one.table.equals(vs.load(images, per_cell=3, seed=1).table)


def test_exemplars_are_never_the_query_and_come_from_where_they_should(images):
    sample = vs.load(images, per_cell=3)
    for pool, allowed in (("source", {"photo"}), ("target", {"sketch"})):
        items = vs.exemplar_items(sample, 2, pool, ["photo"])
        assert {item.facts["domain"] for item in items} == {"sketch"}
        for item in items:
            digests = [picture.digest for picture in item.images]
            assert len(set(digests)) == len(digests) == 7
            owners = {
                f.parts[-3]
                for f in images.rglob("*.png")
                if sample.sha(str(f.relative_to(images))) in digests[:-1]
            }
            assert owners == allowed
            texts = [part["text"] for part in item.messages[0]["content"] if part["type"] == "text"]
            assert sorted(texts[:-1]) == sorted(
                f"This image is {n}." for n in sample.classes for _ in range(2)
            )
    with pytest.raises(InputError, match="can be examples"):
        vs.exemplar_items(sample, 7, "target", ["photo"])


def test_a_model_that_reads_examples_gains_and_permuted_labels_take_it_away(images):
    """Every image has one class here, so that the label of the example with its file's class is the answer."""
    every = vs.load(images, per_cell=6)
    truth = {every.sha(row["image"]): row["class"] for _, row in every.table.iterrows()}
    by_pixels = {
        every.picture(name).read().tobytes(): truth[every.sha(name)] for name in every.table["image"]
    }

    def reader(messages):
        parts = messages[-1]["content"]
        seen = [by_pixels[part["image"].tobytes()] for part in parts if part["type"] == "image"]
        labels = [part["text"][14:-1] for part in parts if part["type"] == "text"][:-1]
        return f"Answer Choice: {dict(zip(seen[:-1], labels, strict=True)).get(seen[-1], 'car')}"

    result = vs.ask(reader, images, source=["photo"], in_context=1, progress=False)
    gains = result.gains().set_index("effect")["difference"]
    assert gains["examples"] == pytest.approx(2 / 3)
    assert abs(gains["permuted labels"]) < 0.5
    assert len(result.other) == 2 * 18


# Files as people have them -----------------------------------------------------------------------------------


def test_every_mode_is_converted_and_said_and_cells_without_images_have_a_dash(tmp_path):
    write(tmp_path, n=12)
    for k, mode in enumerate(("L", "RGBA", "P", "I;16")):
        Image.new(mode, (8, 8), 3).save(tmp_path / "photo" / "car" / f"{k}.png")
    for file in (tmp_path / "sketch" / "dog").iterdir():
        file.unlink()
    (tmp_path / "photo" / "car" / "notes.txt").write_text("no image")
    result = vs.ask(grey, tmp_path, source=["photo"], progress=False)
    assert "converted to 8-bit RGB" in str(result)
    assert "sketch/dog" in str(result)
    table = result.table(["domain", "class"]).set_index(["domain", "class"])
    assert ("sketch", "dog") not in table.index


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"noise": [2.0]}, "0 to 1 is needed"), ({"styles": ["blurr"]}, "did you mean 'blur'"),
        ({"styles": ["blur"], "severities": [9]}, "0 to 5"),
        ({"per_cell": 0}, "at least 1 image"), ({"domains": ["sketches"]}, "did you mean 'sketch'"),
        ({"classes": ["car", "dog"]}, "no class 'house'"), ({"source": ["Photo"]}, "no domain 'Photo'"),
        ({"in_context": 1, "pool": "source"}, "one is needed"), ({"parser": "loose"}, "there are strict, published"),
        ({"layout": "class"}, "folders deep"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(images, change, says):
    with pytest.raises(InputError, match=says):
        vs.ask(grey, images, progress=False, **change)


def test_classes_and_pictures_that_cannot_be_told_apart(images, tmp_path):
    with pytest.raises(InputError, match="differ"):
        vs.ask(grey, write(tmp_path / "a", classes=("Sea_Lion", "sea lion")), progress=False)
    notes = vs.load(write(tmp_path / "b", classes=("car", "carrot"))).notes
    assert "published parser" in notes[0]
    twice = write(tmp_path / "c")
    (twice / "photo" / "car" / "x.png").write_bytes((twice / "photo" / "dog" / "0.png").read_bytes())
    with pytest.raises(InputError, match="the same picture"):
        vs.ask(grey, twice, progress=False)


def test_a_table_of_files_is_the_same_as_the_folder(images, tmp_path):
    manifest = vs.prepare(images)
    manifest.save(tmp_path / "manifest.csv")
    one, two = (
        vs.ask(grey, data, progress=False).table("domain") for data in (images, tmp_path / "manifest.csv")
    )
    assert one.equals(two)
    raw = tmp_path / "ham"
    raw.mkdir()
    for k in range(3):
        Image.new("RGB", (9, 9), (k, 0, 0)).save(raw / f"ISIC_{k}.jpg")
    rows = {
        "image_id": ["ISIC_0", "ISIC_1", "ISIC_9"],
        "dx": ["nv", "mel", "nv"],
        "dataset": ["vidir", "rosendahl", "vidir"],
    }
    pd.DataFrame(rows).to_csv(raw / "HAM10000_metadata.csv", index=False)
    ham = vs.prepare(raw, "ham10000")
    assert ham.table[["domain", "class"]].values.tolist() == [
        ["vidir", "melanocytic nevi"],
        ["rosendahl", "melanoma"],
    ]
    assert ham.missing == ("ISIC_9.jpg",)
    with pytest.raises(InputError, match=r"holds no Data_Entry"):
        vs.prepare(raw, "nih-chest-xray14")


# Models ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A tiny CLIP with random weights, as save_pretrained writes it."""
    import torch
    import transformers as hf
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    words = tiny.tokenizer()
    text = {
        **size,
        "vocab_size": len(tiny.WORDS),
        "max_position_embeddings": 16,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    config = hf.CLIPConfig(
        text_config=text, vision_config={**size, "image_size": 16, "patch_size": 8}, projection_dim=12
    )
    folder = tmp_path_factory.mktemp("clip")
    hf.CLIPModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(
        folder
    )
    return folder


def test_clip_agrees_with_transformers_and_reads_no_image_twice(clip, images, tmp_path, monkeypatch):
    import torch
    import transformers as hf

    monkeypatch.setenv("GROUNDSHIFT_CACHE", str(tmp_path))
    result = vs.ask(clip, images, per_cell=3, noise=[0.01], progress=False)
    net, sample = hf.CLIPModel.from_pretrained(clip).eval(), vs.load(images, per_cell=3)
    processor, words = hf.AutoImageProcessor.from_pretrained(clip), hf.AutoTokenizer.from_pretrained(clip)
    pixels = processor(
        images=[sample.picture(name).read() for name in sample.table["image"]], return_tensors="pt"
    )
    with torch.inference_mode():
        logits = net(
            **words(list(sample.classes), padding=True, return_tensors="pt"), **pixels
        ).logits_per_image
    expected = [sample.classes[k] for k in logits.argmax(1)]
    assert result.records["parsed_value"].tolist() == expected
    assert result.records["confidence"].to_numpy() == pytest.approx(
        logits.softmax(1).max(1).values.numpy(), abs=1e-3
    )

    def never(*args, **kwargs):
        raise AssertionError("an image was embedded again")

    monkeypatch.setattr("groundshift.models.vision.ImageModel.embed_images", never)
    again = vs.ask(clip, images, per_cell=3, noise=[0.01], templates=["a photo of {}", "{}"], progress=False)
    assert len(again.records) == len(result.records)
    with pytest.raises(InputError, match="takes no text beside an image"):
        vs.ask(clip, images, source=["photo"], in_context=1, progress=False)
    with pytest.raises(InputError, match=r"needs \{\}"):
        vs.ask(clip, images, templates=["a photo"], progress=False)


@pytest.mark.parametrize("answer", ["text", "logprob"])
def test_a_local_talking_model_is_asked_as_text_and_by_log_probabilities(answer, images):
    how = {"per_cell": 1, "answer": answer, "max_new_tokens": 4, "progress": False}
    result = vs.ask(tiny.build("llava"), images, **how)
    assert result.records["answer"].notna().all()
    if answer == "logprob":
        assert (result.records["parsed"] == 1).all()
        assert result.records["confidence"].between(1 / 3, 1).all()


def test_a_stopped_run_goes_on_and_recorded_answers_give_the_same_tables(images, tmp_path, monkeypatch):
    monkeypatch.setattr("groundshift.models.items.SEEN", 4)
    seen = []

    def model(messages):
        seen.append(messages[-1]["content"][-2]["image"].tobytes())
        if len(seen) == 10:
            raise KeyboardInterrupt
        return grey(messages)

    how = {"per_cell": 3, "noise": [0.01], "answers": tmp_path / "kept.jsonl", "progress": False}
    with pytest.raises(KeyboardInterrupt):
        vs.ask(model, images, **how)
    whole = vs.ask(model, images, **how)
    assert len(seen) == 36 + 2  # of the chunk that was stopped, the first one again and the one it stopped at
    recorded = vs.ask(tmp_path / "kept.jsonl", images, per_cell=3, noise=[0.01], progress=False)
    live = vs.ask(grey, images, per_cell=3, noise=[0.01], progress=False)
    for other in (recorded, live):
        assert other.table("domain").equals(whole.table("domain"))
        assert other.severity()[0].equals(whole.severity()[0])
    rows = [{"image": "x.png", "predicted_class": "car"}]
    (tmp_path / "old.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"no answer about 18 images: photo/car/"):
        vs.ask(tmp_path / "old.jsonl", images, per_cell=3, progress=False)


def test_the_inspect_task_has_the_items_of_a_local_run(images):
    from groundshift.inspect_tasks import vlmshift

    task = vlmshift(data=str(images), per_cell=2, noise="0.01", source="photo", in_context=1)
    result = vs.ask(grey, images, per_cell=2, noise=[0.01], source=["photo"], in_context=1, progress=False)
    assert {s.id for s in task.dataset} == {*result.records["id"], *result.other["id"]}
    assert [part.type for part in task.dataset[0].input[0].content] == ["image", "text"]


# Measures ----------------------------------------------------------------------------------------------------


def test_a_model_beside_itself(images):
    result = vs.ask(grey, images, progress=False)
    row = vs.compare(result, result, twin=result).table.iloc[0]
    assert row["kappa"] == 1
    assert row["rate"] == row["twin"] == row["rescue"] == 0
    assert np.isnan(error_consistency([1, 1], [1, 1])["kappa"])
    assert failures([1, 1], [1, 0], [0, 1])["failures"] == 0
    assert halfway([0, 1, 2], [1, 0.9, 0.1], 0.2) == pytest.approx(1.375)


def test_the_order_of_images_changes_no_table(images):
    sample = vs.load(images)
    items = vs.zero_shot_items(sample)
    texts = [grey(item.shown()) for item in items]
    order = np.random.default_rng(0).permutation(len(items))
    tables = []
    for places in (range(len(items)), order):
        how = {"task": "vlmshift", "version": "1", "model": "grey"}
        own, said = [items[k] for k in places], [texts[k] for k in places]
        records = grade_items(own, said, vs.parser_of(sample.classes), vs.grade, **how)
        tables.append(vs.by_domain(records, ["photo"]))
    assert tables[0].equals(tables[1])
