"""Direct preference optimisation and its kin: a short loop, with the reference's log-probabilities computed once.

With Δ = (log π(y+) − log π(y−)) − (log π_ref(y+) − log π_ref(y−)), sums over the answer's tokens and the end token:

    dpo    −log σ(β Δ)
    ipo    (Δ − 1 / 2β)²
    hinge  max(0, 1 − β Δ)
    dpop   −log σ(β (Δ − λ max(0, log π_ref(y+) − log π(y+))))
    sft    −log π(y+)

and, with any of them, a supervised term − sft · log π(y+).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from accelerate.utils import tqdm
from torch import Tensor

from groundshift.adaptation.displacement.ches import opened
from groundshift.adaptation.displacement.pairs import Pairs, Template, encode_pairs
from groundshift.errors import InputError, MissingPart
from groundshift.models.activations import ProbeModel, capture, encode
from groundshift.models.activations.rows import Row, collate
from groundshift.models.activations.scoring import head_is_plain, unembed
from groundshift.tables import refuse_filled

__all__ = ["LOSSES", "Tuned", "preference_loss", "reference", "train"]

Loss = Literal["dpo", "ipo", "hinge", "dpop", "sft"]
Logps = tuple[Tensor, Tensor]
LOSSES: tuple[Loss, ...] = ("dpo", "ipo", "hinge", "dpop", "sft")
OPTIMISERS: dict[str, Any] = {
    "rmsprop": torch.optim.RMSprop,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


def preference_loss(
    policy: Logps,
    ref: Logps,
    loss: Loss = "dpo",
    *,
    beta: float = 0.1,
    sft: float = 0.0,
    penalty: float = 5.0,
) -> Tensor:
    """The loss of each pair, from log-probabilities of (chosen, rejected) under the policy and the reference.

    Parameters
    ----------
    policy, ref : two tensors (n,) each, sums over the answer's tokens
    loss : see the head of this file
    sft : weight of −log π(y+) beside it
    penalty : λ of dpop

    Examples
    --------
    >>> now, before = (torch.tensor([-3.0]), torch.tensor([-5.0])), (torch.tensor([-2.0]), torch.tensor([-2.0]))
    >>> preference_loss(now, before, "dpo", beta=0.5)  # Δ = 2
    tensor([0.3133])
    >>> preference_loss(now, before, "ipo", beta=0.5)
    tensor([1.])
    """
    if loss not in LOSSES:
        raise InputError(f"loss={loss!r} was given; choose {', '.join(LOSSES)}.")
    chosen, rejected = policy
    delta = (chosen - rejected) - (ref[0] - ref[1])
    if loss == "dpop":
        delta = delta - penalty * (ref[0] - chosen).clamp(min=0)
    if loss == "ipo":
        value = (delta - 1 / (2 * beta)) ** 2
    elif loss == "hinge":
        value = (1 - beta * delta).clamp(min=0)
    elif loss == "sft":
        value = -chosen
    else:
        value = -torch.nn.functional.logsigmoid(beta * delta)
    return value - sft * chosen if sft else value


@dataclass(frozen=True)
class Tuned:
    """What training leaves.

    Attributes
    ----------
    model : the trained model
    history : of every step: ``loss``, ``margin`` (mean Δ), ``accuracy`` (share of Δ > 0), ``chosen`` and ``rejected``
        (mean change of log π against the reference), of the step's batch before its update
    ref : log-probabilities of the reference, float64 (n, 2), to pass to another run on the same pairs
    notes : what was done to the data
    """

    model: ProbeModel
    history: pd.DataFrame = field(repr=False)
    ref: np.ndarray = field(repr=False)
    notes: list[str]


def reference(
    model: ProbeModel, pairs: Pairs, *, max_tokens: int = 8192, progress: bool = True
) -> np.ndarray:
    """log π(y|x) of chosen and rejected answers, float64 (n, 2), and nothing kept but the sums."""
    rows = [row for which in ("chosen", "rejected") for row in pairs.answers(which)]
    # One shard of one: every process of a distributed training reads all rows for itself.
    found = capture(model, rows, [], top_k=0, shard=(0, 1), max_tokens=max_tokens, progress=progress)
    return found.totals("logprob").reshape(2, -1).T


def train(
    model: str | Path | ProbeModel,
    pairs: Any,
    *,
    loss: Loss = "dpo",
    beta: float = 0.1,
    sft: float = 0.0,
    penalty: float = 5.0,
    per_token: bool = False,
    steps: int | None = None,
    batch: int = 32,
    lr: float = 1e-6,
    optimiser: str = "rmsprop",
    clip: float | None = 10.0,
    frozen: Literal["", "unembedding"] = "",
    lora: int = 0,
    template: Template = "auto",
    ref: np.ndarray | None = None,
    max_tokens: int = 8192,
    seed: int = 0,
    out: str | Path | None = None,
    on_step: Callable[[int, ProbeModel], bool | None] | None = None,
    allow_missing: bool = False,
    progress: bool = True,
) -> Tuned:
    """Train a model on preference pairs; the one given stays as it is and is the reference.

    Parameters
    ----------
    model : directory or id, or a model in memory, of which a copy is trained
    pairs : see `encode_pairs`; identical pairs are left out, and counted
    loss, beta, sft, penalty : see `preference_loss`
    per_token : log-probabilities per token, not summed, as TRL does for IPO
    steps : optimiser steps; default: one epoch
    batch : pairs in a step, all of them if there are fewer; long ones are split up so that no forward has more than
        ``max_tokens`` tokens
    optimiser : "rmsprop" (the paper's; its first steps are ten times longer than ``lr``), "adamw" or "sgd"
    clip : largest norm of the gradient
    frozen : "unembedding" keeps the output matrix, and with it the input's where the two are tied
    lora : rank of an adapter on all linear layers, which alone is trained and saved; 0: all weights
    ref : reference log-probabilities (n, 2) of an earlier run on the same pairs
    out : folder for the trained model, its tokenizer, ``history.json`` and ``reference.npy``
    on_step : (steps done, model), before the first step (0) and after each; training ends when it returns True, see
        `Monitor`
    allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        A model with an adapter, no two different answers, unknown losses or optimisers, a loss that is not finite, a
        folder that is not empty.

    Examples
    --------
    >>> tuned = train("model", "clean.jsonl", loss="dpo", lr=5e-7, out="tuned")  # doctest: +SKIP
    >>> tuned.history[["margin", "chosen"]].iloc[-1]  # doctest: +SKIP
    """
    if loss not in LOSSES or optimiser not in OPTIMISERS or batch < 1 or (steps is not None and steps < 1):
        raise InputError(
            f"loss={loss!r}, optimiser={optimiser!r}, steps={steps} and batch={batch} were given; choose a loss of "
            f"{', '.join(LOSSES)}, an optimiser of {', '.join(OPTIMISERS)}, and at least one step and pair."
        )
    if out is not None:
        refuse_filled(Path(out))
    start = opened(model, allow_missing)
    if getattr(start.net, "peft_config", None):
        raise InputError(
            f"{start.source} has an adapter already, and what is trained on top of it could not be saved; merge it "
            "(merge_and_unload), and give the directory of the whole model."
        )
    data = encode_pairs(start, pairs, template=template)
    differ = np.flatnonzero(~data.identical)
    if not len(differ):
        raise InputError(f"None of {len(data)} pairs has two different answers; there is nothing to learn.")
    if ref is not None and np.shape(ref) not in ((len(data), 2), (len(differ), 2)):
        raise InputError(f"ref has shape {np.shape(ref)}; {(len(data), 2)}, a row per pair, is needed.")
    if ref is not None and len(ref) == len(data):
        ref = ref[differ]
    data = data.select(differ)
    if ref is None:
        ref = reference(start, data, max_tokens=max_tokens, progress=progress)

    tuned = ProbeModel(
        copy.deepcopy(start.net) if isinstance(model, ProbeModel) else start.net, start.tokenizer
    )
    whole = _adapted(tuned.net, lora, seed) if lora else tuned.net
    weights = _trainable(tuned.net, frozen, lora)
    adam = OPTIMISERS[optimiser](weights, lr=lr, **({"alpha": 0.99} if optimiser == "rmsprop" else {}))
    rows = {k: encode(tuned, data.answers(k)) for k in ("chosen", "rejected")}
    known = torch.as_tensor(ref, dtype=torch.float32, device=tuned.device)
    sizes = torch.tensor([[len(y), len(z)] for y, z in zip(data.chosen, data.rejected, strict=True)]).to(
        known
    )
    plain = head_is_plain(tuned)
    size = min(batch, len(data))
    total = math.ceil(len(data) / size) if steps is None else steps
    history: list[dict[str, float]] = []
    order = _epochs(len(data), size, np.random.default_rng(seed))
    if on_step is not None:
        on_step(0, tuned)
    tuned.net.train()
    for step in tqdm(
        range(total), desc=f"training ({loss})", leave=False, disable=None if progress else True
    ):
        places = next(order)
        seen = []
        for part in _parts(places, rows, max_tokens):
            both = answer_logprobs(tuned, [rows[k][i] for k in ("chosen", "rejected") for i in part], plain)
            now, before = both.reshape(2, -1), known[part].T
            if per_token:
                now, before = now / sizes[part].T, before / sizes[part].T
            value = preference_loss(
                (now[0], now[1]), (before[0], before[1]), loss, beta=beta, sft=sft, penalty=penalty
            )
            (value.sum() / len(places)).backward()
            seen.append(torch.cat([value.detach()[None], (now - before).detach()]))
        norm = torch.nn.utils.clip_grad_norm_(weights, clip or math.inf)
        losses, up, down = torch.cat(seen, 1).double().cpu().numpy()
        if not (np.isfinite(losses).all() and torch.isfinite(norm)):
            raise InputError(
                f"The loss or its gradient is not finite at step {step}; lower lr, or use float32."
            )
        adam.step()
        adam.zero_grad()
        history.append(
            {
                "step": step, "loss": losses.mean(), "margin": (up - down).mean(), "accuracy": (up > down).mean(),
                "chosen": up.mean(), "rejected": down.mean(),
            }
        )  # fmt: skip
        if on_step is not None and on_step(step + 1, tuned):
            break
    tuned.net.eval()
    done = Tuned(tuned, pd.DataFrame(history), ref, data.notes)
    if out is not None:
        folder = Path(out)
        whole.save_pretrained(folder)
        tuned.tokenizer.save_pretrained(folder)
        np.save(folder / "reference.npy", ref)
        (folder / "history.json").write_text(json.dumps(history, indent=1) + "\n")
    return done


def answer_logprobs(model: ProbeModel, rows: list[Row], plain: bool) -> Tensor:
    """log π(answer | prompt) of each row, (n,), in float32 and with its gradient; only answers meet the unembedding."""
    batch = collate(model, rows)
    line = torch.tensor([b for b, row in enumerate(rows) for _ in range(row.prompt, len(row))])
    place = torch.tensor([k - 1 for row in rows for k in range(row.prompt, len(row))])
    target = torch.tensor([int(v) for row in rows for v in row.ids[row.prompt :]])
    if plain:
        states = model.body(**batch.inputs, use_cache=False).last_hidden_state
        logits = unembed(model, states[line.to(states.device), place.to(states.device)])
    else:
        whole = model.net(**batch.inputs, use_cache=False).logits
        logits = whole[line.to(whole.device), place.to(whole.device)]
    logits = logits.float()
    each = logits.gather(1, target.to(logits.device)[:, None])[:, 0] - logits.logsumexp(1)
    return torch.zeros(len(rows), device=each.device).index_add(0, line.to(each.device), each)


def _adapted(net: Any, rank: int, seed: int) -> Any:
    """Put an adapter on all linear layers of a network, in place; what is returned saves it."""
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise MissingPart(error, "lora") from error
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(
            net, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        )


def _trainable(net: Any, frozen: str, lora: int) -> list[Any]:
    """The weights that are trained; the others are set not to ask for gradients."""
    if not lora:
        net.requires_grad_(True)
    if frozen == "unembedding":
        net.get_output_embeddings().weight.requires_grad_(False)
    elif frozen:
        raise InputError(f'frozen={frozen!r} was given; "unembedding" or nothing can be frozen.')
    return [w for w in net.parameters() if w.requires_grad]


def _epochs(n: int, size: int, rng: np.random.Generator) -> Any:
    """Batches without end: every pair once in an epoch, in a new order in each; a last short batch stays short."""
    while True:
        order = rng.permutation(n)
        for low in range(0, n, size):
            yield order[low : low + size]


def _parts(places: np.ndarray, rows: dict[str, list[Row]], max_tokens: int) -> list[list[int]]:
    """The pairs of a step in parts that fit ``max_tokens``, longest first."""
    length = {int(i): max(len(rows["chosen"][i]), len(rows["rejected"][i])) for i in places}
    parts: list[list[int]] = []
    for i in sorted(length, key=length.__getitem__, reverse=True):
        if not parts or 2 * (len(parts[-1]) + 1) * length[parts[-1][0]] > max_tokens:
            parts.append([])
        parts[-1].append(i)
    return parts
