"""What moved: log-probabilities of both answers, who gained what they lost, and what the model now writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn.functional import one_hot
from transformers import TrainerCallback

from groundshift.adaptation.displacement.ches import opened
from groundshift.adaptation.displacement.pairs import Pairs, Template, encode_pairs
from groundshift.adaptation.displacement.training import reference
from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, encode, generate
from groundshift.models.activations.rows import collate, in_batches, pieces
from groundshift.models.activations.scoring import LOGITS, head_is_plain, unembed
from groundshift.tables import refuse_filled

__all__ = ["Callback", "Displaced", "Monitor", "Reading", "Watched", "displaced", "read", "watch"]

POSITIONS = 4
"""Places in the chosen answer whose tokens are told apart; the rest is one."""
NOWHERE = POSITIONS + 1
"""Place of the tokens of rejected answers: what else could stand there is not asked."""


@dataclass(frozen=True)
class Reading:
    """What one model gives to pairs; made by `read`, compared by `displaced`.

    Attributes
    ----------
    rows : numbers of the pairs, int64 (n,)
    logprobs : log π of chosen and rejected, float64 (n, 2)
    tokens : tokens of chosen and rejected, int64 (n, 2)
    mass : float64 (5, V): the mean probability of every token where the chosen answer's first, second, third, fourth
        and later tokens stand
    words : the vocabulary, by id
    """

    rows: NDArray[np.int64]
    logprobs: NDArray[np.float64]
    tokens: NDArray[np.int64]
    mass: NDArray[np.float64] = field(repr=False)
    words: list[str] = field(repr=False)


def read(
    model: str | Path | ProbeModel,
    pairs: Any,
    *,
    template: Template = "auto",
    end: bool = True,
    max_tokens: int = 8192,
    progress: bool = True,
) -> Reading:
    """Log-probabilities of pairs, and the probability of every token where the chosen answers' tokens stand.

    Each answer is read once. Two models are read one after the other, so that they need not be in memory together. See
    `encode_pairs`.
    """
    model = opened(model)
    data = encode_pairs(model, pairs, template=template, end=end)
    n, width = len(data), model.net.config.get_text_config().vocab_size
    rows = encode(model, [*data.answers("chosen"), *data.answers("rejected")])
    tokens = np.array([len(row) - row.prompt for row in rows])
    logprobs, mass = np.zeros(2 * n), np.zeros((NOWHERE, width))
    plain = head_is_plain(model)

    def do(numbers: list[int]) -> None:
        batch = collate(model, [rows[i] for i in numbers])
        spots = [
            (b, k, i, rows[i].ids[k], min(k - rows[i].prompt, POSITIONS) if i < n else NOWHERE)
            for b, i in enumerate(numbers)
            for k in range(rows[i].prompt, len(rows[i]))
        ]
        line, column, number, target, where = torch.tensor(np.array(spots, np.int64)).T
        place = one_hot(where, NOWHERE + 1)[:, :NOWHERE]
        found, there = np.zeros(len(spots)), np.zeros_like(mass)
        with torch.inference_mode(), model.reading(batch):
            if plain:
                whole = model.body(**batch.inputs, use_cache=False).last_hidden_state
            else:
                whole = model.net(**batch.inputs, use_cache=False).logits
            for part in pieces(len(spots), max(1, LOGITS // width)):
                states = whole[line[part], column[part] - 1]
                z = (unembed(model, states) if plain else states).float()
                total = z.logsumexp(1, keepdim=True)
                own = z.gather(1, target[part, None].to(z.device)) - total
                found[part] = own[:, 0].cpu().numpy()
                prob = (z[:, :width] - total).exp_()
                there += (place[part].to(prob).T @ prob).double().cpu().numpy()
        # Only here, since a batch that runs out of memory is read again.
        np.add.at(logprobs, number.numpy(), found)
        mass[:] += there

    lengths = [len(row) for row in rows]
    in_batches(
        lengths, do, max_tokens=max_tokens, describe="reading pairs", alone=model.stretched, progress=progress
    )
    chosen = tokens[:n]
    count = [*((chosen > p).sum() for p in range(POSITIONS)), np.maximum(chosen - POSITIONS, 0).sum()]
    known = list(range(min(width, len(model.tokenizer))))
    return Reading(
        data.rows,
        logprobs.reshape(2, -1).T,
        tokens.reshape(2, -1).T,
        mass / np.maximum(count, 1)[:, None],
        [str(w) for w in model.tokenizer.convert_ids_to_tokens(known)],
    )


@dataclass(frozen=True)
class Displaced:
    """How a tuned model differs from its base on pairs.

    Attributes
    ----------
    table : a row per pair: ``row``, ``chosen`` and ``rejected`` (change of log π, summed over tokens),
        ``chosen_per_token``, ``rejected_per_token``, ``margin`` (chosen − rejected) and ``displaced`` (chosen fell
        while the margin rose)
    rate : the displacement rate, share of pairs displaced
    gaining : the tokens that gained most probability, by ``place`` in the chosen answer (1 to 4, "later"): ``token``,
        ``before``, ``after`` and ``gain``
    losing : those that lost most
    """

    table: pd.DataFrame
    rate: float
    gaining: pd.DataFrame = field(repr=False)
    losing: pd.DataFrame = field(repr=False)

    def summary(self) -> dict[str, float]:
        """Means over pairs, and the displacement rate."""
        means = self.table.drop(columns=["row", "displaced"]).mean()
        return {"pairs": len(self.table), "rate": self.rate, **{str(k): float(v) for k, v in means.items()}}


def displaced(base: Reading, tuned: Reading, *, top: int = 8) -> Displaced:
    """Change of log π of both answers, displacement rate, and the tokens that gained and lost.

    Parameters
    ----------
    base, tuned : of the same pairs, from `read`; embeddings may be padded to different lengths, which adds no tokens
    top : tokens that are told for each place

    Raises
    ------
    InputError
        Other pairs, other tokens, or another vocabulary.

    Examples
    --------
    >>> words = ["a", "b", "c"]
    >>> def reading(chosen, rejected, first):
    ...     mass = np.vstack([first, np.zeros((4, 3))])
    ...     return Reading(np.arange(1), np.array([[chosen, rejected]]), np.ones((1, 2), int), mass, words)
    >>> moved = displaced(reading(-1.0, -2.0, [0.4, 0.1, 0.5]), reading(-1.5, -4.0, [0.2, 0.0, 0.8]), top=1)
    >>> moved.rate, moved.table["chosen"].tolist()
    (1.0, [-0.5])
    >>> moved.gaining[["place", "token"]].values.tolist()
    [['1', 'c']]
    """
    if base.words != tuned.words:
        raise InputError(
            f"The base has {len(base.words)} tokens and the tuned model {len(tuned.words)}, and they "
            "are not the same; two models with one vocabulary are needed."
        )
    if not np.array_equal(base.rows, tuned.rows) or not np.array_equal(base.tokens, tuned.tokens):
        raise InputError(
            "The two models have read other pairs, or tokenise them otherwise; read the same pairs."
        )
    change = tuned.logprobs - base.logprobs
    margin = change[:, 0] - change[:, 1]
    fell = (change[:, 0] < 0) & (margin > 0)
    table = pd.DataFrame(
        {
            "row": base.rows,
            "chosen": change[:, 0],
            "rejected": change[:, 1],
            "chosen_per_token": change[:, 0] / base.tokens[:, 0],
            "rejected_per_token": change[:, 1] / base.tokens[:, 1],
            "margin": margin,
            "displaced": fell,
        }
    )
    gaining, losing = (_movers(base, tuned, sign, top) for sign in (1, -1))
    return Displaced(table, float(fell.mean()), gaining, losing)


def _movers(base: Reading, tuned: Reading, sign: int, top: int) -> pd.DataFrame:
    rows = []
    known = len(base.words)
    for place, (before, after) in enumerate(zip(base.mass[:, :known], tuned.mass[:, :known], strict=True), 1):
        gain = after - before
        for z in np.argsort(-sign * gain, kind="stable")[:top]:
            if sign * gain[z] > 0:
                name = str(place) if place <= POSITIONS else "later"
                rows.append((name, base.words[z], before[z], after[z], gain[z]))
    return pd.DataFrame(rows, columns=["place", "token", "before", "after", "gain"])


@dataclass(frozen=True)
class Watched:
    """The report of `watch`: ``moved``, and the classes of sampled answers before and after, by share."""

    moved: Displaced
    classes: pd.DataFrame | None
    examples: pd.DataFrame | None
    notes: list[str]

    def write(self, out: str | Path, title: str = "a tuned model") -> None:
        """``report.html``, ``report.json`` and ``pairs.csv`` in a folder that is new or empty."""
        from groundshift.adaptation.displacement.page import page

        folder = Path(out)
        refuse_filled(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(self.to_dict(), indent=1) + "\n")
        self.moved.table.to_csv(folder / "pairs.csv", index=False)
        (folder / "report.html").write_text(page(self, title), encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        """Everything but the single pairs, as JSON takes it."""
        return {
            "summary": self.moved.summary(),
            "gaining": self.moved.gaining.to_dict("records"),
            "losing": self.moved.losing.to_dict("records"),
            "classes": None if self.classes is None else self.classes.to_dict("index"),
            "notes": self.notes,
        }


def watch(
    base: str | Path | ProbeModel,
    tuned: str | Path | ProbeModel,
    pairs: Any,
    *,
    samples: int = 0,
    classify: Callable[[str], str] | None = None,
    max_new_tokens: int = 64,
    template: Template = "auto",
    max_tokens: int = 8192,
    seed: int = 0,
    allow_missing: bool = False,
    progress: bool = True,
) -> Watched:
    """Where did the mass go? Pairs, tokens, and what both models write.

    Parameters
    ----------
    samples : answers that each model samples at temperature 1 for every different prompt
    allow_missing : see `groundshift.models.activations.load_model`
    classify : answer -> class, such as "refused", "complied", "other"; without it sampled answers are only shown

    Raises
    ------
    InputError
        Models of different vocabularies; see also `encode_pairs`.

    Examples
    --------
    >>> report = watch("base", "tuned", "pairs.jsonl", samples=4, classify=judge)  # doctest: +SKIP
    >>> report.moved.rate, report.classes  # doctest: +SKIP
    >>> report.write("report")  # doctest: +SKIP
    """
    readings, written, notes = [], [], []
    prompts: list[list[int]] = []
    for source in (base, tuned):
        model = opened(source, allow_missing)
        data = encode_pairs(model, pairs, template=template)
        readings.append(read(model, data, max_tokens=max_tokens, progress=progress))
        notes = data.notes
        if samples:
            # The base's prompts serve both: what differs is the model alone.
            prompts = prompts or [list(x) for x in dict.fromkeys(map(tuple, data.prompt))]
            asked = [{"input_ids": x} for x in prompts for _ in range(samples)]
            made = generate(
                model,
                asked,
                max_new_tokens=max_new_tokens,
                seed=seed,
                max_tokens=max_tokens,
                progress=progress,
            )
            heads = model.tokenizer.batch_decode([x["input_ids"] for x in asked], skip_special_tokens=True)
            written.append(pd.DataFrame({"prompt": heads, "answer": [row["completion"] for row in made]}))
        del model
    examples = classes = None
    if samples:
        examples = pd.DataFrame(
            {"prompt": written[0]["prompt"], "base": written[0]["answer"], "tuned": written[1]["answer"]}
        )
        if classify is not None:
            kinds = {name: Counter(map(classify, examples[name])) for name in ("base", "tuned")}
            classes = (pd.DataFrame(kinds).fillna(0) / len(examples)).sort_index()
            classes["change"] = classes["tuned"] - classes["base"]
    return Watched(displaced(*readings), classes, examples, notes)


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
        return max(0.0, *(-seen["chosen"] for seen in self.history)) if self.history else 0.0


class Callback(TrainerCallback):
    """`Monitor` for ``transformers.Trainer`` and TRL: logs displacement as ``displacement/...``, and stops on it.

    Parameters
    ----------
    pairs, every, stop, template : see `Monitor`

    Examples
    --------
    >>> DPOTrainer(..., callbacks=[Callback("held_out.jsonl", every=50, stop=-0.5)])  # doctest: +SKIP
    """

    def __init__(self, pairs: Any, **options: Any) -> None:
        self.monitor = Monitor(pairs, **options)

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.monitor.begin(self._model(given))

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> Any:
        if state.global_step % self.monitor.every == 0:
            seen = self.monitor.look(state.global_step, self._model(given))
            state.log_history.append(
                {
                    "step": state.global_step,
                    **{f"displacement/{k}": v for k, v in seen.items() if k != "step"},
                }
            )
            control.should_training_stop |= self.monitor.stops(seen)
        return control

    def _model(self, given: dict[str, Any]) -> ProbeModel:
        return ProbeModel(given["model"], given["processing_class"])
