"""Tiny random models of several architectures with their tokenizers, made from configuration."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import transformers as hf
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from groundshift.models.activations import ProbeModel

WORDS = """
    <pad> <bos> <eos> <unk> <image> <|image_pad|> <|video_pad|> <|vision_start|> <|vision_end|>
    the a dog cat bird sees likes runs red blue small in on house tree yes no is of and . two three four five
    photo city Riga Latvia Paris France
""".split()  # noqa: SIM905
TEXT = ("llama", "gpt2", "gpt_neox", "qwen2")
SIGHTED = ("llava", "qwen2_vl")
SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 160,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def tokenizer() -> hf.PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = hf.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    wrapped.add_special_tokens({"additional_special_tokens": list(WORDS[4:9])})
    return wrapped


def config(name: str):
    text = SIZE | {"num_key_value_heads": 2}
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
    if name == "llama":
        return hf.LlamaConfig(**text)
    if name == "gpt2":
        ends = {k: SIZE[k] for k in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")}
        return hf.GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=160, **ends)
    if name == "gpt_neox":
        return hf.GPTNeoXConfig(**SIZE)
    if name == "qwen2":
        return hf.Qwen2Config(**text)
    if name == "gemma2":
        return hf.Gemma2Config(**text, head_dim=8, final_logit_softcapping=0.5, sliding_window=64)
    if name == "llava":
        return hf.LlavaConfig(
            text_config=hf.LlamaConfig(**text),
            vision_config=hf.CLIPVisionConfig(**vision, image_size=16, patch_size=8),
            image_token_index=WORDS.index("<image>"),
        )
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    return hf.Qwen2VLConfig(
        text_config={**text, "rope_parameters": rope},
        vision_config={
            "depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4,
            "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
        image_token_id=WORDS.index("<|image_pad|>"),
        video_token_id=WORDS.index("<|video_pad|>"),
        vision_start_token_id=WORDS.index("<|vision_start|>"),
        vision_end_token_id=WORDS.index("<|vision_end|>"),
    )  # fmt: skip


class StillQwen(hf.Qwen2VLProcessor):
    """Qwen's processor without videos, which need torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None):
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids(
            [self.image_token, self.video_token]
        )
        hf.ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


def processor(name: str):
    words = tokenizer()
    if name == "llava":
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
        return hf.LlavaProcessor(images, words, patch_size=8, vision_feature_select_strategy="default",
                                 num_additional_image_tokens=1)  # fmt: skip
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    images = Qwen2VLImageProcessorPil(patch_size=4, min_pixels=64, max_pixels=1024)
    return StillQwen(images, words)


def fresh(name: str):
    """A new network with random weights, the same at every call."""
    torch.manual_seed(0)
    auto = hf.AutoModelForImageTextToText if name in SIGHTED else hf.AutoModelForCausalLM
    net = auto.from_config(config(name)).eval()
    for weight in net.parameters():  # livelier than at initialisation
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.15)
    return net


@cache
def build(name: str) -> ProbeModel:
    """One model for all tests, which leave it as it is."""
    return ProbeModel(fresh(name), tokenizer(), processor(name) if name in SIGHTED else None, name)


def rows(name: str) -> list:
    """Rows of different lengths; with images where the model sees."""
    texts: list = ["the dog runs", "a cat sees the red house on the tree .", "no dog"]
    if name in SIGHTED:
        mark = "<image>" if name == "llava" else "<|vision_start|> <|image_pad|> <|vision_end|>"
        pixels = np.random.default_rng(0).integers(0, 255, (2, 24, 16, 3), dtype=np.uint8)
        texts.append({"text": f"{mark} the dog", "image": Image.fromarray(pixels[0])})
        texts.append({"text": f"a photo of {mark} the cat sees", "image": Image.fromarray(pixels[1])})
    return texts
