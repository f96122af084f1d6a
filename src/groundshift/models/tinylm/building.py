"""Small language models of transformers' own classes, their tokenizers, and their directories."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from groundshift.errors import InputError
from groundshift.models.bars import quiet
from groundshift.worlds.tinylm import BOS, EOS, PAD, SPECIAL, Lexicon

__all__ = ["PRESETS", "build", "byte_tokenizer", "parameters", "save", "tokenizer"]

PRESETS = {
    "nano": (48, 1),
    "micro": (64, 2),
    "small": (64, 3),
    "mid": (128, 2),
    "big": (128, 4),
    "29k": (32, 2),
    "62k": (48, 2),
    "160k": (64, 3),
    "600k": (128, 3),
}
"""Hidden size and layers by name, all with four heads; the last four are those of dataalchemy, for ``arch="gpt2"``."""

CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }} <|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build(
    preset: str,
    lexicon: Lexicon | int,
    *,
    positions: int = 64,
    arch: str = "llama",
    seed: int = 0,
    **config: Any,
) -> PreTrainedModel:
    """A new model of transformers, of a size in `PRESETS`.

    Parameters
    ----------
    preset : a name of `PRESETS`
    lexicon : whose words it reads, or the size of a vocabulary with `SPECIAL` in front
    positions : the longest row it reads
    arch : "llama" or "gpt2"
    seed : of the initial weights
    config : of ``LlamaConfig`` or ``GPT2Config``, over the preset's: ``tie_word_embeddings=False``, say, or
        ``intermediate_size=128``

    Raises
    ------
    InputError
        A preset or architecture that is not there.

    Examples
    --------
    >>> model = build("micro", 100)
    >>> type(model).__name__, parameters(model)
    ('LlamaForCausalLM', 105152)
    """
    if preset not in PRESETS or arch not in ("llama", "gpt2"):
        raise InputError(
            f"preset={preset!r}, arch={arch!r} was given; the presets are {', '.join(PRESETS)} and the architectures "
            "llama and gpt2."
        )
    width, layers = PRESETS[preset]
    words = lexicon if isinstance(lexicon, int) else len(lexicon)
    shared = {
        "vocab_size": words,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
    }
    network: Any
    if arch == "llama":
        sizes = {
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "intermediate_size": round(8 / 3 * width),
            "max_position_embeddings": positions,
        }
        network = LlamaForCausalLM, LlamaConfig(**{**shared, **sizes, **config})
    else:
        sizes = {"n_embd": width, "n_layer": layers, "n_head": 4, "n_positions": positions}
        dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        network = GPT2LMHeadModel, GPT2Config(**{**shared, **sizes, **dropout, **config})
    with torch.random.fork_rng():
        # A spawn key of its own: the trainer's streams are [seed, step, process].
        torch.manual_seed(
            int(np.random.SeedSequence(seed, spawn_key=(0,)).generate_state(1, np.uint64)[0] >> 1)
        )
        return network[0](network[1]).eval()


def parameters(model: torch.nn.Module) -> int:
    """How many weights a model has; tied ones count once."""
    return sum(p.numel() for p in model.parameters())


def tokenizer(lexicon: Lexicon) -> PreTrainedTokenizerFast:
    """The lexicon as a tokenizer of transformers: words between blanks; the ids of `Lexicon.encode`.

    >>> words = tokenizer(Lexicon({"function": ["is", "."]}))
    >>> words("is .")["input_ids"], words.decode([12, 13])
    ([12, 13], 'is .')
    >>> words.apply_chat_template([{"role": "user", "content": "is ."}], tokenize=False, add_generation_prompt=True)
    '<|user|> is . <|end|>\\n<|assistant|>'
    """
    inner = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(lexicon.words)}, unk_token=SPECIAL[3])
    )
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _wrapped(inner)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte, after the special tokens: for text that a grammar constrains.

    >>> bytes_ = byte_tokenizer()
    >>> len(bytes_), bytes_.decode(bytes_('{"né": 1}')["input_ids"])
    (268, '{"né": 1}')
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({word: i for i, word in enumerate((*SPECIAL, *alphabet))}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    return _wrapped(inner)


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    pad, bos, eos, unk, *others = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        unk_token=unk,
        additional_special_tokens=others,
        chat_template=CHAT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def save(model: Any, lexicon: Lexicon, out: str | Path) -> Path:
    """Write a directory that ``AutoModelForCausalLM`` and ``AutoTokenizer`` open; an adapter is merged.

    Raises
    ------
    InputError
        The folder holds something.
    """
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty and is kept; name another.")
    if hasattr(model, "merge_and_unload"):
        model = copy.deepcopy(model).merge_and_unload()
    with quiet():
        model.save_pretrained(folder)
    tokenizer(lexicon).save_pretrained(folder)
    return folder
