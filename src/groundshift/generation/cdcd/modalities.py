"""From images, audio and text to codes and conditions, with the user's own tokenisers and encoders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundshift.errors import InputError
from groundshift.models.backbones import load_directory

__all__ = ["audio_codes", "codes_to_audio", "codes_to_images", "image_codes", "text_condition"]


@torch.no_grad()
def image_codes(images: Tensor, tokeniser: Any) -> NDArray[np.int64]:
    """Codes (n, L) of images (n, channels, H, W), row by row.

    Parameters
    ----------
    tokeniser : diffusers' ``VQModel``, or anything with ``encode(images) -> codes (n, L)``
    """
    encoded = tokeniser.encode(images)
    if isinstance(encoded, Tensor):
        return encoded.numpy()
    # diffusers' `encode` stops before the quantisation.
    codes = tokeniser.quantize(encoded.latents)[2][2]
    return codes.reshape(len(images), -1).numpy()


@torch.no_grad()
def codes_to_images(codes: NDArray[np.int64], tokeniser: Any) -> Tensor:
    """Images of codes (n, L) of a square grid, by the tokeniser that gave them."""
    rows = torch.as_tensor(codes)
    if not hasattr(tokeniser, "quantize"):
        return tokeniser.decode(rows)
    side = round(rows.shape[1] ** 0.5)
    shape = (len(rows), side, side, tokeniser.config.vq_embed_dim or tokeniser.config.latent_channels)
    latents = tokeniser.quantize.get_codebook_entry(rows.reshape(-1), shape)
    return tokeniser.decode(latents, force_not_quantize=True).sample


@torch.no_grad()
def audio_codes(waves: Tensor, codec: Any) -> NDArray[np.int64]:
    """Codes (n, frames · codebooks) of waves (n, samples) by transformers' ``EncodecModel`` at its lowest bandwidth.

    The codebooks of a frame follow each other, with numbers of their own: code + codebook · codebook size.
    """
    codes = codec.encode(waves[:, None], bandwidth=codec.config.target_bandwidths[0]).audio_codes[0]
    books = codes + codec.config.codebook_size * torch.arange(codes.shape[1])[:, None]
    return books.transpose(1, 2).flatten(1).numpy()


@torch.no_grad()
def codes_to_audio(codes: NDArray[np.int64], codec: Any, codebooks: int) -> Tensor:
    """Waves (n, samples) of the codes of `audio_codes`; a code of another codebook's range counts modulo their size."""
    books = torch.as_tensor(codes).unflatten(1, (-1, codebooks)).transpose(1, 2) % codec.config.codebook_size
    return codec.decode(books[None], [None]).audio_values[:, 0]


@torch.no_grad()
def text_condition(texts: Sequence[str], encoder: str | Path, batch: int = 64) -> NDArray[np.float64]:
    """Last hidden states (n, words, D) of a text encoder, 0 where a text has ended; all texts are of one length.

    Parameters
    ----------
    encoder : folder (or hub id) of a Hugging Face model with its tokenizer; of CLIP, the text half is used

    Raises
    ------
    InputError
        No text, no such model, or no tokenizer with it.
    """
    from transformers import AutoTokenizer

    if not len(texts) or not all(isinstance(text, str) for text in texts):
        raise InputError("Texts are needed, one string per row; give a list of str.")
    net, folder = load_directory(encoder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no tokenizer ({error}); save it beside the model.") from error
    model = getattr(net, "text_model", net)
    longest = min(77, tokenizer.model_max_length)
    states = []
    for k in range(0, len(texts), batch):
        words = tokenizer(
            list(texts[k : k + batch]),
            padding="max_length",
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        )
        inputs = {name: words[name] for name in ("input_ids", "attention_mask")}
        states.append(model(**inputs).last_hidden_state * words["attention_mask"][..., None])
    return torch.cat(states).double().numpy()
