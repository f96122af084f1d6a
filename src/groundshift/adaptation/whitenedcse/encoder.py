"""A sentence encoder: how it is opened, asked for vectors, and given a whitening that is saved with it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from groundshift.adaptation.whitenedcse.whitening import Whitening
from groundshift.errors import InputError
from groundshift.models.files import check_shards, first_line, no_report, unlike
from groundshift.models.records import parse_json, read_text
from groundshift.models.sentences import sentence_encoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Pool", "Pooled", "has_dropout", "open_encoder", "vectors_of", "with_whitening"]

Pool = Literal["auto", "cls", "mean", "max", "last"]
MODES = {"cls": "cls", "mean": "mean", "max": "max", "last": "lasttoken"}


def open_encoder(model: Any, pool: Pool = "auto", device: str = "auto") -> SentenceTransformer:
    """A sentence encoder with the pooling asked for; of one in memory a copy.

    Parameters
    ----------
    model : a directory or id of sentence-transformers, whose pooling is kept, or of an encoder of transformers; or a
        ``SentenceTransformer``
    pool : pooling of the last hidden states; auto keeps that of sentence-transformers, and takes the first token of an
        encoder of transformers, as the paper does
    device : where it runs

    Raises
    ------
    InputError
        What cannot be loaded; weights that the files lack; a language model without a ``pool``.
    """
    if pool not in ("auto", *MODES):
        raise InputError(f"pool={pool!r} was given; choose auto, {', '.join(MODES)}.")
    from sentence_transformers.sentence_transformer.modules import Pooling

    if not isinstance(model, str | Path):
        if not hasattr(model, "encode"):
            raise InputError(
                f"A {type(model).__name__} was given as a model; give a directory, an id or a SentenceTransformer."
            )
        opened, plain = copy.deepcopy(model), False
    else:
        folder = Path(model)
        if folder.is_dir():
            check_shards(folder)
        with no_report():
            opened = sentence_encoder(model, device)
        plain = not _has_modules(str(model))
        if folder.is_dir():
            _refuse_missing(folder)
    place = next((k for k, m in enumerate(opened) if isinstance(m, Pooling)), None)
    named = getattr(getattr(opened[0], "config", None), "architectures", None) or []
    decoder = any("ForCausalLM" in str(n) or "LMHead" in str(n) for n in named)
    if decoder and plain and pool not in ("mean", "last"):
        raise InputError(
            f"{model} is a language model that reads from left to right, whose first token knows nothing of the text; "
            'give pool="mean" or pool="last".'
        )
    if place is not None and (plain or pool != "auto"):
        width = opened[0].get_embedding_dimension()
        opened[place] = Pooling(width, MODES["cls" if pool == "auto" else pool]).to(opened.device)
    elif pool != "auto" and place is None:
        raise InputError(f"{model} has no pooling that could be replaced; leave pool out.")
    return opened


def _has_modules(model: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    if Path(model).is_dir():
        return (Path(model) / "modules.json").is_file()
    return isinstance(try_to_load_from_cache(model, "modules.json"), str)


def _refuse_missing(folder: Path) -> None:
    """Refuse files that lack tensors, but for those of the head that no embedding is read from."""
    from transformers import AutoModel

    listed = folder / "modules.json"
    modules = parse_json(read_text(listed), str(listed)) if listed.is_file() else []
    inner = folder / str(modules[0].get("path", "")) if modules else folder
    if not (inner / "config.json").is_file():
        return  # not a network of transformers
    try:
        with no_report():
            _, info = AutoModel.from_pretrained(inner, output_loading_info=True, local_files_only=True)
    except Exception as error:
        raise InputError(
            f"{inner} cannot be loaded ({first_line(error)[:200]}); copy or download it again."
        ) from error
    missing = [name for name in info["missing_keys"] if "pooler." not in name]
    unlike(str(folder), missing, (), info.get("mismatched_keys", ()), allow_missing=False)


def has_dropout(model: nn.Module) -> bool:
    """Whether a network drops anything while training, so that two passes differ."""
    rates = [m.p for m in model.modules() if isinstance(m, nn.Dropout)]
    for part in model.modules():
        config = getattr(part, "config", None)
        for name in ("attention_probs_dropout_prob", "attention_dropout", "hidden_dropout_prob", "dropout"):
            rate = getattr(config, name, 0.0)
            rates.append(rate if isinstance(rate, float) else 0.0)
    return any(rate > 0 for rate in rates)


class Pooled(nn.Module):
    """The parts of a sentence encoder but for a last normalisation, which the cosine of the loss needs not."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        from sentence_transformers.sentence_transformer.modules import Normalize

        parts = list(model)
        self.parts = nn.ModuleList(parts[:-1] if isinstance(parts[-1], Normalize) else parts)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        held: dict[str, Any] = {**features, "modality": "text"}
        for part in self.parts:
            held = part(held)
        return held["sentence_embedding"]


def vectors_of(
    model: SentenceTransformer, texts: list[str], batch: int = 64, progress: bool = False
) -> NDArray[np.float32]:
    """Vectors of texts as a user of the model has them, float32 (N, D).

    Raises
    ------
    InputError
        A vector that is not finite; its text is named.
    """
    vectors = np.asarray(
        model.encode(texts, batch_size=batch, show_progress_bar=progress, convert_to_numpy=True),
        dtype=np.float32,
    )
    if len(bad := np.flatnonzero(~np.isfinite(vectors).all(axis=1))):
        raise InputError(
            f"The vectors of {len(bad)} texts are not finite; the first is that of {texts[bad[0]][:80]!r}. The model "
            "is damaged, or its precision does not suffice."
        )
    return vectors


def with_whitening(model: SentenceTransformer, whitening: Whitening) -> SentenceTransformer:
    """The same encoder with the whitening as a linear layer x W − μ W, which is saved and loaded with it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    inner, outer = whitening.components_.shape
    layer = Dense(
        inner, outer, activation_function=None,
        init_weight=torch.tensor(whitening.components_.T.copy(), dtype=torch.float32),
        init_bias=torch.tensor(whitening.bias, dtype=torch.float32),
    )  # fmt: skip
    parts = [*model, layer]
    if isinstance(parts[-2], Normalize):
        parts.append(Normalize())  # whoever takes products for cosines can go on doing so
    whitened = SentenceTransformer(modules=parts, device=str(model.device), similarity_fn_name="cosine")
    whitened.prompts, whitened.default_prompt_name = model.prompts, model.default_prompt_name
    return whitened.eval()
