"""Networks of images by their directories."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTMAEConfig,
    ViTMAEForPreTraining,
)

from groundshift.errors import InputError
from groundshift.models.vision import ImageModel, load_image_model
from tests.models.tiny_models import build

TOWER = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL = {**TOWER, "image_size": 8, "patch_size": 4}


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (9, 11, 3), dtype=np.uint8)) for _ in range(5)]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    ViTForImageClassification(ViTConfig(**SMALL, id2label={0: "cat", 1: "dog"})).save_pretrained(folder)
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(folder)
    return folder


def test_logits_and_features_are_the_network_s_own(classifier, pictures):
    model = load_image_model(classifier)
    direct = ViTForImageClassification.from_pretrained(classifier)
    inputs = ViTImageProcessor.from_pretrained(classifier)(pictures, return_tensors="pt")
    with torch.no_grad():
        out = direct(**inputs, output_hidden_states=True)
    np.testing.assert_allclose(model.logits(pictures, batch=2), out.logits, atol=1e-5)
    assert model.classes == ["cat", "dog"]
    layer = "vit.layernorm"
    assert layer in model.layers()
    assert {"classifier", layer} <= set(model.features(pictures, ["classifier", layer]))
    features = model.features(pictures, [layer], batch=2)[layer]
    assert features.shape == (5, 5 * 8)  # with the positions of the four patches
    np.testing.assert_allclose(
        features, direct.vit.layernorm(out.hidden_states[-1]).detach().flatten(1), atol=1e-5
    )
    np.testing.assert_allclose(features, model.features(pictures, [layer], batch=5)[layer], atol=1e-6)


def test_every_layer_that_is_listed_can_be_read(classifier, pictures):
    model = load_image_model(classifier)
    assert all(len(rows) == 5 for rows in model.features(pictures, model.layers()).values())


def test_the_patches_of_a_masked_autoencoder_keep_their_order(tmp_path, pictures):
    ViTMAEForPreTraining(
        ViTMAEConfig(
            **SMALL, decoder_hidden_size=8, decoder_num_hidden_layers=1, decoder_num_attention_heads=2
        )
    ).save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(tmp_path)
    model = load_image_model(tmp_path)
    once, again = (model.features(pictures, ["vit.layernorm"])["vit.layernorm"] for _ in range(2))
    assert once.shape == (5, 5 * 8)
    np.testing.assert_array_equal(once, again)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    tokenizer = build("gpt2").tokenizer
    text = {**TOWER, "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    config = CLIPConfig(projection_dim=8, vision_config=SMALL, text_config=text)
    CLIPModel(config).save_pretrained(folder)
    size = {"height": 8, "width": 8}
    CLIPImageProcessor(size=size, crop_size=size, do_center_crop=True).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_images_and_texts_in_one_space(clip, pictures, classifier):
    model = load_image_model(clip)
    images, texts = model.embed_images(pictures, batch=2), model.embed_texts(["one", "two three"])
    direct = CLIPModel.from_pretrained(clip)
    tokens = model.tokenizer(["one", "two three"], padding=True, return_tensors="pt")
    pixels = CLIPImageProcessor.from_pretrained(clip)(pictures, return_tensors="pt")
    with torch.no_grad():
        out = direct(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], **pixels)
    np.testing.assert_allclose(
        images @ texts.T * direct.logit_scale.exp().item(), out.logits_per_image, atol=1e-4
    )
    assert all(len(rows) == 5 for rows in model.features(pictures, model.layers()).values())
    with pytest.raises(InputError, match="does not put texts and images into one space"):
        load_image_model(classifier).embed_images(pictures)


def test_a_network_that_is_not_all_there_is_refused(classifier, tmp_path, pictures):
    for file in classifier.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"1 missing: classifier\.weight"):
        load_image_model(tmp_path)
    with pytest.warns(UserWarning, match="What is missing holds random numbers"):
        load_image_model(tmp_path, allow_missing=True)
    (tmp_path / "preprocessor_config.json").unlink()
    with (
        pytest.warns(UserWarning, match="random"),
        pytest.raises(InputError, match="no image processor"),
    ):
        load_image_model(tmp_path, allow_missing=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["NoSuchNetwork"]}))
    with pytest.raises(InputError, match="NoSuchNetwork"):
        load_image_model(tmp_path)


class Odd(nn.Module):
    """A layer with one row for a batch, one without a tensor, and values that are not finite."""

    def __init__(self):
        super().__init__()
        self.mean, self.words, self.wild = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, x):
        self.words("no tensor")
        return self.wild(self.mean(x.mean(0, keepdim=True)).expand(len(x), -1, -1, -1) / 0)


def test_own_networks_and_odd_layers(pictures):
    def pixels(images):
        return torch.stack(
            [torch.tensor(np.array(image.resize((4, 4)))).permute(2, 0, 1) / 255.0 for image in images]
        )

    model = ImageModel(Odd(), pixels, name="odd")
    for layer, message in [
        ("maen", "did you mean 'mean'"),
        ("mean", "does not give one row for each image"),
        ("words", "does not give one row for each image"),
        ("wild", "are not finite"),
    ]:
        with pytest.raises(InputError, match=message):
            model.features(pictures, [layer])
    with pytest.raises(InputError, match="no logits of classes"):
        model.logits(pictures)
    with pytest.raises(InputError, match="0 images in batches of 64"):
        model.features([], ["mean"])
