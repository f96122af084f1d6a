"""From photos and model directories to samples: as a user calls it, with networks made here."""

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from groundshift.errors import InputError
from groundshift.generation.steered import Steered, class_names, classifier, clip, encoder, segmenter
from groundshift.generation.steered.pipeline import read_image, read_mask

from .test_generators import unet

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A generator, a classifier, a CLIP with its tokenizer and a segmenter, as their libraries save them."""
    out = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    # Untrained, this network says that the clean image is nearly grey; as a noise it would send images to infinity.
    DDPMPipeline(unet(), DDPMScheduler(prediction_type="sample")).save_pretrained(out / "generator")
    config = ViTConfig(**SMALL, image_size=16, patch_size=8, id2label={0: "cat", 1: "dog", 2: "owl"})
    for name in ("classifier", "other"):
        ViTForImageClassification(config).save_pretrained(out / name)
    ViTImageProcessor(
        size={"height": 16, "width": 16}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]
    ).save_pretrained(out / "classifier")
    words = {"<s>": 0, "</s>": 1, "a": 2, "red": 3, "cat": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    text = {**SMALL, "vocab_size": 5, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    CLIPModel(
        CLIPConfig(
            text_config={**text, "max_position_embeddings": 8},
            vision_config={**SMALL, "image_size": 16, "patch_size": 8},
            projection_dim=8,
        )
    ).save_pretrained(out / "clip")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>").save_pretrained(
        out / "clip"
    )
    SegformerForSemanticSegmentation(
        SegformerConfig(
            num_encoder_blocks=2, depths=[1, 1], sr_ratios=[1, 1], hidden_sizes=[8, 16], patch_sizes=[3, 3],
            strides=[2, 2], num_attention_heads=[1, 2], mlp_ratios=[1, 1], decoder_hidden_size=8, num_labels=3,
        )
    ).save_pretrained(out / "segmenter")  # fmt: skip
    return out


@pytest.fixture
def photo(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "photo.png"
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 2:6] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return path


def tiny(folder, **options):
    return Steered(folder / "generator", steps=6, **options)


def test_linear_conditions_from_files(folder, photo):
    mask = photo.with_name("mask.png")
    s = tiny(folder)
    pixels = torch.tensor(np.array(Image.open(photo))).permute(2, 0, 1) / 127.5 - 1
    filled = s.sample(2, inpaint=(photo, mask), progress=False)
    known = torch.tensor(np.array(Image.open(mask))) == 0
    assert (filled.images - pixels)[..., known].abs().max() < 1e-5
    assert filled.settings["eps"] == "network"
    coloured = s.sample(2, luma=photo, progress=False)
    assert coloured.consistency["luma"].max() < 1e-5
    larger = s.sample(2, super_resolution=(photo, 2), progress=False)
    expected = torch.nn.functional.avg_pool2d(pixels, 2)
    assert (torch.nn.functional.avg_pool2d(larger.images, 2) - expected).abs().max() < 1e-5
    assert "2 times smaller" in " ".join(larger.notes)
    published = tiny(folder, published=True).sample(2, super_resolution=(photo, 2), progress=False)
    assert published.consistency["super-resolution"].min() > 1e-3
    assert published.settings["eps"] == "recompute"
    assert "nearly" in " ".join(published.notes)


def test_networks_of_transformers_steer(folder, photo):
    s = tiny(folder, method="stopgrad")  # the derivative of an untrained generator points nowhere
    plain = s.sample(2, progress=False).images
    by = {
        "class": ({"of_class": (folder / "classifier", 2)}, 300.0),
        "text": ({"text": (folder / "clip", "a red cat")}, 300.0),
        "identity": ({"like": (folder / "clip", photo)}, 3.0),
        "map": ({"segmentation": (folder / "segmenter", torch.ones(8, 8))}, 30000.0),
    }
    for name, (condition, weight) in by.items():
        samples = s.sample(2, **condition, weight={name: weight}, progress=False)
        nothing = s.sample(2, **condition, weight={name: 0.0}, progress=False)
        assert (nothing.images - plain).abs().max() < 1e-5, name
        assert samples.consistency[name].mean() < nothing.consistency[name].mean() - 1e-5, name


def test_several_conditions_and_a_judge(folder, photo):
    bright = tiny(folder).sample(
        3, luma=photo, loss=lambda x: (x[:, 0] - 0.5).square().mean(), weight=5.0,
        judge=lambda x: x[:, 0].flatten(1).mean(1), progress=False,
    )  # fmt: skip
    assert list(bright.consistency) == ["loss", "luma"]
    assert bright.consistency["luma"].max() < 1e-5
    plain = tiny(folder).sample(3, luma=photo, judge=lambda x: x[:, 0].flatten(1).mean(1), progress=False)
    assert bright.judge.shape == (3,)
    assert bright.judge.mean() > plain.judge.mean()


def test_the_network_sees_what_its_processor_makes(folder):
    net = ViTForImageClassification.from_pretrained(folder / "classifier").eval()
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    processor = ViTImageProcessor.from_pretrained(folder / "classifier")
    expected = net(**processor(Image.fromarray(pixels), return_tensors="pt")).logits
    images = torch.tensor(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    torch.testing.assert_close(classifier(folder / "classifier")(images), expected, atol=1e-4, rtol=1e-4)
    assert class_names(folder / "classifier") == {0: "cat", 1: "dog", 2: "owl"}
    joint = clip(folder / "clip")
    assert joint.text("a red cat").shape == joint.image(images).shape == (1, 8)
    assert segmenter(folder / "segmenter")(images).shape[:2] == (1, 3)
    with pytest.raises(InputError, match="holds a CLIPModel; an image classifier of transformers is needed"):
        classifier(folder / "clip")
    with pytest.raises(InputError, match="holds a ViTForImageClassification; a semantic segmenter"):
        segmenter(folder / "classifier")
    with pytest.raises(InputError, match="a CLIP model is needed"):
        clip(folder / "classifier")
    with pytest.raises(InputError, match="holds a DDPMPipeline"):
        encoder(folder / "generator")


def test_a_sample_depends_on_its_number_only(folder, photo):
    s = tiny(folder)
    whole = s.sample(4, luma=photo, seed=3, progress=False).images
    parts = s.sample(2, luma=photo, seed=3, first=2, batch_size=1, progress=False).images
    torch.testing.assert_close(whole[2:], parts, atol=1e-5, rtol=0)
    assert (whole[0] - whole[1]).abs().max() > 0.1


def test_a_folder_holds_each_sample_and_a_page_that_is_escaped(folder, photo, tmp_path):
    s = Steered((unet(), DDPMScheduler()), steps=4)
    samples = s.sample(3, luma=photo, keep=2, progress=False)
    samples.settings["generator"] = "<script>"
    out = tmp_path / "out"
    page = samples.save(out).read_text()
    assert {f.name for f in out.iterdir()} == {
        *("0000.png", "0001.png", "0002.png", "sheet.png", "steered.json", "index.html")
    }
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert page.count('src="data:image/png') == 1 + 3 + 3 * 2
    again = np.array(Image.open(out / "0001.png")).transpose(2, 0, 1) / 127.5 - 1
    assert np.abs(again - samples.images[1].clamp(-1, 1).numpy()).max() < 1 / 127


def test_photos_are_read_as_they_are(tmp_path):
    notes = []
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:30] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert read_image(tmp_path / "wide.png", (3, 8, 8), notes).min() > 0.8
    assert notes == ["An image of 40 × 20 was cropped and resized to 8 × 8."]
    grey = read_image(np.full((8, 8), 0.25), (3, 8, 8), notes)
    assert grey.shape == (1, 3, 8, 8)
    assert float(grey[0, 2, 0, 0]) == 0.25
    with pytest.raises(InputError, match="no image that can be read"):
        read_image(tmp_path / "none.png", (3, 8, 8), notes)
    with pytest.raises(InputError, match=r"\(3, 9, 9\) was given; the generator works on \(3, 8, 8\)"):
        read_image(torch.zeros(3, 9, 9), (3, 8, 8), notes)
    with pytest.raises(InputError, match=r"from -1\.5 to -1\.5"):
        read_image(torch.full((3, 8, 8), -1.5), (3, 8, 8), notes)
    assert read_mask(np.eye(8), (3, 8, 8)).sum() == 8


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "int32", "bool", "float64", "bfloat16"])
def test_arrays_of_any_dtype_are_one_picture(dtype):
    black = np.indices((8, 8)).sum(0) % 2
    scale = {"uint16": 65535, ">u2": 65535, "bool": 1, "float64": 255, "bfloat16": 255}.get(dtype, 255)
    picture = torch.tensor(black * scale).bfloat16() if dtype == "bfloat16" else (black * scale).astype(dtype)
    image = read_image(picture, (1, 8, 8), [])
    torch.testing.assert_close(image[0, 0].double(), torch.tensor(black * 2.0 - 1), atol=1e-3, rtol=0)


def test_an_untrained_generator_is_told_from_a_good_one(folder, photo):
    poor = Steered((unet(), DDPMScheduler(clip_sample=False)), steps=6).sample(3, luma=photo, progress=False)
    assert poor.consistency["luma"].max() < 1e-4
    assert any(note.startswith("3 of 3 samples have pixels beyond ±1.5") for note in poor.notes)
    clipped = Steered((unet(), DDPMScheduler()), steps=6).sample(3, progress=False)
    assert clipped.images.abs().max() <= 1
    exact = Steered("exact:colour_digits", steps=25).sample(3, progress=False)
    for good in (tiny(folder).sample(2, progress=False), exact):
        assert not any("beyond" in note for note in good.notes)
    dynamic = DDPMScheduler(thresholding=True)
    with pytest.raises(InputError, match="thresholds dynamically"):
        Steered((unet(), dynamic))


def test_bad_input(folder, photo, tmp_path):
    s = tiny(folder)
    Image.new("L", (9, 8)).save(tmp_path / "odd.png")
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    cases = [
        ({"inpaint": (photo, tmp_path / "odd.png")}, "9 × 8 pixels, its image 8 × 8"),
        ({"inpaint": (photo, tmp_path / "black.png")}, "hides 0%"),
        ({"super_resolution": (photo, 3)}, "must be at least 2 and divide both"),
        ({"luma": photo, "weight": {"text": 3.0}}, "given for text"),
        ({"luma": photo, "judge": lambda x: x.mean()}, "one score each"),
        ({"n": 0}, "n=0"),
        ({"of_class": (folder / "classifier", 7)}, "0 to 2"),
    ]
    for options, message in cases:
        with pytest.raises(InputError, match=message):
            s.sample(**{"n": 2, "progress": False, **options})
    with pytest.raises(InputError, match="published sampler recomputes"):
        tiny(folder, published=True, eps="network")
