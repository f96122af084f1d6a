"""Zero-shot classification by a CLIP: class names encoded once and images in batches, against the published loop, which
encodes every class name again for each image. The CLIP has two narrow layers and random weights.

Run: OMP_NUM_THREADS=1 python speed/vlmshift.py
"""

import os
import tempfile

import numpy as np
import torch
import transformers as hf
from PIL import Image
from timing import timed

from groundshift.benchmarks import vlmshift as vs
from groundshift.models.items import Item, Picture
from groundshift.models.vision import ImageModel

NAMES, IMAGES = [str(k) for k in range(65)], 128


def tokenizer(texts, **_):
    return {"input_ids": torch.tensor([[int(text) + 2, 1] for text in texts])}


def pixels(pictures):
    return torch.stack(
        [torch.tensor(np.asarray(p) / 255, dtype=torch.float32).movedim(2, 0) for p in pictures]
    )


def main():
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**size, "vocab_size": 80, "bos_token_id": 0, "eos_token_id": 1}
    vision = {**size, "image_size": 48, "patch_size": 8}
    network = hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)).eval()
    seen = [Image.effect_noise((48, 48), 60).convert("RGB") for _ in range(IMAGES)]
    pictures = [Picture(str(k), lambda one=one: one) for k, one in enumerate(seen)]
    items = [Item("?", "", {"domain": "all"}, images=[picture]) for picture in pictures]

    def ours():
        model = vs.Classifier(ImageModel(network, pixels, tokenizer=tokenizer), NAMES)
        return [answer.split()[2] for answer in model.answers(items, {"all": NAMES})]

    @torch.inference_mode()
    def published():
        outputs = (network(**tokenizer(NAMES), pixel_values=pixels([one])) for one in seen)
        return [NAMES[int(output.logits_per_image.argmax())] for output in outputs]

    with tempfile.TemporaryDirectory() as os.environ["GROUNDSHIFT_CACHE"]:
        (first, chosen), (loop, same), (again, _) = timed(ours, 1), timed(published, 1), timed(ours, 1)
    print(f"{loop / first:.1f}x, with kept embeddings {loop / again:.1f}x; same answers {chosen == same}")


if __name__ == "__main__":
    main()
