"""Zero-shot classification of a folder, a tiny CLIP: class names encoded once and images in batches, against the
published loop, which encodes every class name again for each image.

The model is a CLIP of two narrow layers with random weights, so that the ratio says what is computed again, and not
how fast a large encoder is.

Run: OMP_NUM_THREADS=1 python speed/vlmshift.py
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from timing import timed
from tokenizers import Tokenizer, models, pre_tokenizers

from groundshift.benchmarks import vlmshift as vs
from groundshift.models.vision import ImageModel
from groundshift.worlds.glyphs import glyphs

CLASSES, IMAGES = 65, 128


def main():
    names = [f"{k} thing" for k in range(CLASSES)]
    words = Tokenizer(
        models.WordLevel({w: k for k, w in enumerate(["<pad>", "thing", *map(str, range(CLASSES))])}, "<pad>")
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="thing")
    size = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = hf.CLIPConfig(
        text_config={**size, "vocab_size": 200, "bos_token_id": 0, "eos_token_id": 1},
        vision_config={**size, "image_size": 48, "patch_size": 8}, projection_dim=32,
    )  # fmt: skip
    network = hf.CLIPModel(config).eval()

    def pixels(pictures):
        return torch.stack([torch.tensor(np.array(p.resize((48, 48)))).movedim(2, 0) / 255 for p in pictures])

    with tempfile.TemporaryDirectory() as folder:
        os.environ["GROUNDSHIFT_CACHE"] = f"{folder}/cache"
        vs_images = _written(
            glyphs(np.random.default_rng(0), IMAGES, "photo").pixels(), Path(folder) / "images"
        )
        images = vs.load(vs_images, "class", per_cell=IMAGES, classes=["0", *names])
        items, offered = vs.zero_shot_items(images), {"all": names}

        def ours():
            return vs.Classifier(ImageModel(network, pixels, tokenizer=tokenizer), names).answers(
                items, offered
            )

        @torch.inference_mode()
        def published():
            chosen = []
            for item in items:
                texts = tokenizer(names, padding=True, return_tensors="pt")
                seen = pixels([item.images[0].read()])
                logits = network(
                    input_ids=texts["input_ids"], attention_mask=texts["attention_mask"], pixel_values=seen
                )
                chosen.append(f"Answer Choice: {names[int(logits.logits_per_image.argmax())]}")
            return chosen

        (first, texts), (loop, chosen) = timed(ours, 1), timed(published, 1)
        again, _ = timed(ours, 1)
    same = np.mean([a.splitlines()[0] == b for a, b in zip(texts, chosen, strict=True)])
    print(
        f"{IMAGES} images, {CLASSES} classes: {loop / first:.1f}x, from the cache {loop / again:.1f}x; same {same:.0%}"
    )


def _written(pixels, folder):
    from PIL import Image

    (folder / "0").mkdir(parents=True)
    for k, one in enumerate(pixels):
        Image.fromarray(one).save(folder / "0" / f"{k:04}.png")
    return folder


if __name__ == "__main__":
    main()
