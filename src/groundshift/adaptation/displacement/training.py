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
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from accelerate.utils import tqdm
from torch import Tensor

from groundshift.adaptation.displacement.pairs import Pairs, Template, encode_pairs
from groundshift.errors import InputError, MissingPart
from groundshift.models.activations import ProbeModel, capture, encode
from groundshift.models.activations.pairs import open_model
from groundshift.models.activations.rows import Row, collate
from groundshift.models.activations.scoring import head_is_plain, logits_at, read_source
from groundshift.report import Report, Section, value_text
from groundshift.result import Result
from groundshift.writing import json_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LOSSES", "Monitor", "Tuned", "preference_loss", "reference", "train"]

Loss = Literal["dpo", "ipo", "hinge", "dpop", "sft"]
Logps = tuple[Tensor, Tensor]
LOSSES: tuple[Loss, ...] = ("dpo", "ipo", "hinge", "dpop", "sft")
Optimiser = Literal["rmsprop", "adamw", "sgd"]
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


@dataclass(frozen=True, repr=False)
class Tuned(Result):
    """What training leaves.

    Attributes
    ----------
    model : the trained model
    history : of every step: ``loss``, ``margin`` (mean Δ), ``accuracy`` (share of Δ > 0), ``chosen`` and ``rejected``
        (mean change of log π against the reference), of the step's batch before its update
    ref : log-probabilities of the reference, float64 (n, 2), to pass to another run on the same pairs
    notes : what was done to the data
    watched : every look at all pairs, see `Monitor`; empty without ``every``
    adapter : the adapter that was trained, where there is one; it is what `save` writes
    """

    model: ProbeModel
    history: pd.DataFrame
    ref: np.ndarray
    notes: list[str]
    watched: list[dict[str, float]]
    adapter: Any = None

    def report(self) -> Report:
        """What became of the chosen answers, in the last batch and on all pairs."""
        last = self.history.iloc[-1]
        lead = ""
        if self.watched:
            seen = self.watched[-1]
            lead = (
                f"On all pairs: log π(chosen) {seen['chosen']:+.3g} ({seen['chosen_per_token']:+.3g} per token), "
                f"displacement rate {seen['rate']:.0%}, largest fall on the way {value_text(fall(self.watched))}."
            )
        return Report(
            "displacement", self.model.source,
            f"After {len(self.history)} steps log π(chosen) has changed by {last['chosen']:+.3g} and log π(rejected) "
            f"by {last['rejected']:+.3g} nats in the last batch (loss {value_text(float(last['loss']))}, margin "
            f"{value_text(float(last['margin']))}).",
            lead, tone="bad" if last["chosen"] < 0 else "good", warnings=self.notes,
            figure=("Mean change of log π against the reference, by step", self._draw),
            sections=(
                *([Section("looks", "All pairs on the way", tables={"": pd.DataFrame(self.watched)})]
                  if self.watched else []),
                Section("steps", "Every step", tables={"": self.history}, folded=True),
            ),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row per step."""
        return self.history

    def _content(self) -> dict[str, Any]:
        last = self.history.iloc[-1].to_dict()
        return {"steps": len(self.history), "last": last, "notes": self.notes, "watched": self.watched}

    def _write_more(self, folder: Path) -> None:
        """The trained model or adapter with its tokenizer, every step and the reference's log-probabilities."""
        (self.model.net if self.adapter is None else self.adapter).save_pretrained(folder)
        self.model.tokenizer.save_pretrained(folder)
        np.save(folder / "reference.npy", self.ref)
        (folder / "history.json").write_text(json_text(self.history), encoding="utf-8")

    def _draw(self, ax: Axes) -> None:
        for column, shade in (("chosen", "#2f7fa8"), ("rejected", "#c4622d")):
            ax.plot(self.history["step"], self.history[column], color=shade, label=column)
        ax.axhline(0, color="#333333", lw=0.6)
        ax.set_xlabel("step")
        ax.set_ylabel("change of log π, nats")
        ax.legend()


def fall(looks: list[dict[str, float]]) -> float:
    """The largest fall of mean log π(y+) at any look; 0 if it never fell."""
    return max(0.0, *(-seen["chosen"] for seen in looks)) if looks else 0.0


class Monitor:
    """Follows a model on pairs while it trains, and says when to stop.

    Parameters
    ----------
    pairs : see `encode_pairs`
    stop : end training when the mean change of log π(y+), per token, is below this; None: never

    Attributes
    ----------
    history : of every look: ``step``, ``chosen``, ``rejected``, ``chosen_per_token``, ``margin``, ``rate``

    Examples
    --------
    >>> monitor = Monitor("held_out.jsonl", stop=-0.5)  # doctest: +SKIP
    >>> train("model", "pairs.jsonl", on_step=monitor)  # doctest: +SKIP
    >>> monitor.max_decrease  # doctest: +SKIP
    """

    def __init__(
        self, pairs: Any, *, every: int = 10, stop: float | None = None, template: Template = "auto",
        max_tokens: int = 8192,
    ) -> None:  # fmt: skip
        if every < 1 or (stop is not None and stop >= 0):
            raise InputError(
                f"every={every} and stop={stop} were given; every ≥ 1 and a stop below 0 are needed."
            )
        self.pairs, self.every, self.stop = pairs, every, stop
        self.template, self.max_tokens = template, max_tokens
        self.history: list[dict[str, float]] = []
        self._data: Pairs | None = None

    def begin(self, model: ProbeModel) -> None:
        """What all later looks are compared with."""
        self._data = encode_pairs(model, self.pairs, template=self.template)
        self._before = reference(model, self._data, max_tokens=self.max_tokens, progress=False)
        self._tokens = np.array([len(y) for y in self._data.chosen])

    def look(self, step: int, model: ProbeModel) -> dict[str, float]:
        """Compare the model with how it was at the beginning."""
        if self._data is None:
            raise InputError("The model was not seen before training; call begin(model) first.")
        change = reference(model, self._data, max_tokens=self.max_tokens, progress=False) - self._before
        margin = change[:, 0] - change[:, 1]
        self.history.append(
            {
                "step": step,
                "chosen": float(change[:, 0].mean()),
                "rejected": float(change[:, 1].mean()),
                "chosen_per_token": float((change[:, 0] / self._tokens).mean()),
                "margin": float(margin.mean()),
                "rate": float(((change[:, 0] < 0) & (margin > 0)).mean()),
            }
        )
        return self.history[-1]

    def __call__(self, step: int, model: ProbeModel) -> bool:
        """For ``on_step`` of `train`: begin at 0, look at every ``every``-th step; True: stop."""
        if step == 0:
            self.begin(model)
            return False
        return step % self.every == 0 and self.stops(self.look(step, model))

    def stops(self, seen: dict[str, float]) -> bool:
        """Whether a look is one to stop at."""
        return self.stop is not None and seen["chosen_per_token"] < self.stop

    @property
    def max_decrease(self) -> float:
        """The largest fall of mean log π(y+) at any look; 0 if it never fell."""
        return fall(self.history)


def reference(
    model: ProbeModel, pairs: Pairs, *, max_tokens: int = 8192, progress: bool = True
) -> np.ndarray:
    """log π(y|x) of chosen and rejected answers, float64 (n, 2), and nothing kept but the sums."""
    rows = [row for which in ("chosen", "rejected") for row in pairs.answers(which)]
    # One shard of one: every process of a distributed training reads all rows for itself.
    acts = capture(model, rows, [], top_k=0, shard=(0, 1), max_tokens=max_tokens, progress=progress)
    return acts.totals("logprob").reshape(2, -1).T


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
    optimiser: Optimiser = "rmsprop",
    clip: float | None = 10.0,
    frozen: Literal["", "unembedding"] = "",
    lora: int = 0,
    template: Template = "auto",
    ref: np.ndarray | None = None,
    max_tokens: int = 8192,
    seed: int = 0,
    every: int = 0,
    stop: float | None = None,
    on_step: Callable[[int, ProbeModel], bool | None] | None = None,
    allow_missing: bool = False,
    progress: bool = True,
) -> Tuned:
    """Train a model on preference pairs; the one given stays as it is and is the reference.

    Parameters
    ----------
    model : directory or id of a causal language model; in Python also one in memory, of which a copy is trained
    pairs : JSONL, JSON, Parquet or a folder of datasets with prompt, chosen, rejected (texts or messages); see
        `encode_pairs`. Identical pairs are left out, and counted.
    loss : "dpo", "ipo", "hinge", "dpop" or "sft"
        The loss of a pair.
    beta : strength of the loss
    sft : weight of −log π(chosen) beside it
    penalty : float
        λ of dpop.
    per_token : log-probabilities per token, not summed, as TRL does for IPO
    steps : number of optimiser steps; one epoch by default
    batch : pairs in a step, all of them if there are fewer; long ones are split up so that no forward has more than
        max_tokens tokens
    lr : learning rate
    optimiser : "rmsprop", "adamw" or "sgd"
        The paper's is rmsprop, whose first steps are ten times longer than the learning rate.
    clip : largest norm of the gradient
    frozen : word unembedding keeps the output matrix, and with it the input's where the two are tied
    lora : rank of an adapter on all linear layers, which alone is trained and saved; 0 trains all weights
    template : "auto", "chat" or "none"
        Whether plain texts go through the model's chat template.
    ref : reference log-probabilities (n, 2) of an earlier run on the same pairs
    max_tokens : largest number of tokens of a batch, with its padding
    seed : random seed
    every : look at all pairs every so many steps; 0 never does
    stop : end training when log π(chosen) per token has changed by less than this number below 0 at a look
    on_step : callable, optional
        (steps done, model), before the first step (0) and after each; training ends when it returns True, see
        `Monitor`.
    allow_missing : load a model whose files lack tensors

    Raises
    ------
    InputError
        A model with an adapter, no two different answers, unknown losses or optimisers, a loss that is not finite.

    Examples
    --------
    >>> tuned = train("model", "clean.jsonl", loss="dpo", lr=5e-7)  # doctest: +SKIP
    >>> tuned.save("tuned")  # doctest: +SKIP
    >>> tuned.history[["margin", "chosen"]].iloc[-1]  # doctest: +SKIP
    """
    if loss not in LOSSES or optimiser not in OPTIMISERS or batch < 1 or (steps is not None and steps < 1):
        raise InputError(
            f"loss={loss!r}, optimiser={optimiser!r}, steps={steps} and batch={batch} were given; choose a loss of "
            f"{', '.join(LOSSES)}, an optimiser of {', '.join(OPTIMISERS)}, and at least one step and pair."
        )
    if stop is not None and not every:
        raise InputError("A stop (--stop) needs every (--every), the steps between two looks.")
    monitor = (
        Monitor(pairs, every=every, stop=stop, template=template, max_tokens=max_tokens) if every else None
    )
    start = open_model(model, allow_missing=allow_missing)
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
        copy.deepcopy(start.net) if isinstance(model, ProbeModel) else start.net,
        start.tokenizer,
        source=f"{start.source}, tuned",
    )
    adapter = _adapted(tuned.net, lora, seed) if lora else None
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
    watching = [hook for hook in (monitor, on_step) if hook is not None]
    for hook in watching:
        hook(0, tuned)
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
        done = [hook(step + 1, tuned) for hook in watching]  # every one of them looks
        if any(done):
            break
    tuned.net.eval()
    looks = monitor.history if monitor is not None else []
    return Tuned(tuned, pd.DataFrame(history), ref, data.notes, looks, adapter)


def answer_logprobs(model: ProbeModel, rows: list[Row], plain: bool) -> Tensor:
    """log π(answer | prompt) of each row, (n,), in float32 and with its gradient; only answers meet the unembedding."""
    batch = collate(model, rows)
    line = torch.tensor([b for b, row in enumerate(rows) for _ in range(row.prompt, len(row))])
    place = torch.tensor([k - 1 for row in rows for k in range(row.prompt, len(row))])
    target = torch.tensor([int(v) for row in rows for v in row.ids[row.prompt :]])
    logits = logits_at(model, read_source(model, batch, plain), plain, line, place)
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
