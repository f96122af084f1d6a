"""What moved: log-probabilities of both answers, who gained what they lost, and what the model now writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.nn.functional import one_hot
from transformers import TrainerCallback

from groundshift.adaptation.displacement.pairs import Template, encode_pairs
from groundshift.adaptation.displacement.training import Monitor
from groundshift.errors import InputError
from groundshift.models.activations import ProbeModel, encode, generate
from groundshift.models.activations.pairs import open_model
from groundshift.models.activations.rows import collate, in_batches
from groundshift.models.activations.scoring import head_is_plain, logit_blocks, read_source
from groundshift.models.records import read_json
from groundshift.report import Code, Report, Section, value_text
from groundshift.result import Result
from groundshift.tables import write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Callback", "Displaced", "Reading", "Watched", "displaced", "keyword_classifier", "read", "watch"]

GREY, BLUE, RUST = "#9a9a9a", "#2f7fa8", "#c4622d"
MOST_ROWS = 12
VISIBLE = 1e-3
"""The least change of a token's probability that is shown."""
CHANGES = {
    "chosen": "log π(chosen)",
    "chosen_per_token": "log π(chosen) per token",
    "rejected": "log π(rejected)",
    "rejected_per_token": "log π(rejected) per token",
    "margin": "the margin",
}
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
    model = open_model(model)
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
        logprob, there = np.zeros(len(spots)), np.zeros_like(mass)
        with torch.inference_mode(), model.reading(batch):
            source = read_source(model, batch, plain)
            for part, z in logit_blocks(model, source, plain, line, column - 1):
                total = z.logsumexp(1, keepdim=True)
                own = z.gather(1, target[part, None].to(z.device)) - total
                logprob[part] = own[:, 0].cpu().numpy()
                prob = (z[:, :width] - total).exp_()
                there += (place[part].to(prob).T @ prob).double().cpu().numpy()
        # Only here, since a batch that runs out of memory is read again.
        np.add.at(logprobs, number.numpy(), logprob)
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


@dataclass(frozen=True, repr=False)
class Displaced(Result):
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
    gaining: pd.DataFrame
    losing: pd.DataFrame

    def summary(self) -> dict[str, float]:
        """Means over pairs, and the displacement rate."""
        means = self.table.drop(columns=["row", "displaced"]).mean()
        return {"pairs": len(self.table), "rate": self.rate, **{str(k): float(v) for k, v in means.items()}}

    @property
    def start(self) -> str:
        """What the chosen answers lost or gained, as the beginning of a sentence."""
        change = self.summary()["chosen"]
        return f"The chosen answers {'lost' if change < 0 else 'gained'} {value_text(abs(change))} nats on average"

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        summary = self.summary()
        if summary["chosen"] >= 0:
            return f"{self.start}; {self.rate:.0%} of the pairs are displaced."
        margin = value_text(summary["margin"])
        return (
            f"{self.start} while the margin changed by {margin}; {self.rate:.0%} of the pairs are displaced."
        )

    def report(self) -> Report:
        """What moved, pair by pair and token by token."""
        summary = self.summary()
        pairs = {
            "pairs": summary["pairs"],
            "displaced: the chosen answer fell while the margin rose": f"{self.rate:.0%}",
            **{f"mean change of {name}": summary[key] for key, name in CHANGES.items()},
        }
        columns = ["row", "chosen", "rejected", "chosen_per_token", "margin"]
        worst = self.table.sort_values("chosen_per_token")[columns].head(MOST_ROWS)
        visible = self.gaining[self.gaining["gain"] >= VISIBLE]
        tokens = visible.assign(token=[Code(t) for t in visible["token"]])
        figures = {
            f"{caption}: which tokens gained probability, which lost it": partial(
                self._draw_tokens, place=place
            )
            for place, caption in (
                ("1", "The answers' first token"),
                ("2", "The second, after the chosen first"),
            )
            if (visible["place"] == place).any()
        }
        return Report(
            "displacement", f"{summary['pairs']} pairs", self.sentence, tone="bad" if summary["chosen"] < 0 else "good",
            figure=(
                "Every pair: above the dotted line the margin rose, below 0 the chosen answer fell", self._draw_pairs
            ),
            sections=(
                Section("moved", "What moved?", facts=pairs),
                Section("tokens", "Which tokens gained, by place in the chosen answer?", tables={"": tokens},
                        figures=figures),
                Section("pairs", "Which chosen answers fell most, per token?", tables={"": worst}, folded=True),
            ),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row per pair."""
        return self.table

    def _content(self) -> dict[str, Any]:
        return {"summary": self.summary(), "gaining": self.gaining, "losing": self.losing}

    def _draw_pairs(self, ax: Axes) -> None:
        fell = self.table["displaced"]
        for mask, shade, name in ((~fell, BLUE, "not displaced"), (fell, RUST, "displaced")):
            part = self.table[mask]
            label = f"{name} ({len(part)})"
            ax.scatter(
                part["rejected"], part["chosen"], s=10, color=shade, alpha=0.6, linewidths=0, label=label
            )
        low, high = self.table["rejected"].min(), self.table["rejected"].max()
        ax.axhline(0, lw=1, color="#55606e")
        ax.plot([low, high], [low, high], ":", lw=1, color="#55606e")
        ax.set_xlabel("change of log π(rejected), nats")
        ax.set_ylabel("change of log π(chosen)")
        ax.legend(fontsize=8)

    def _draw_tokens(self, ax: Axes, place: str) -> None:
        rows = [
            part[(part["place"] == place) & (part["gain"].abs() >= VISIBLE)].head(6)
            for part in (self.gaining, self.losing)
        ]
        names = [*rows[0]["token"], *rows[1]["token"][::-1]]
        gains = [*rows[0]["gain"], *rows[1]["gain"][::-1]]
        places = np.arange(len(names))[::-1]
        ax.barh(places, gains, 0.75, color=[BLUE if g > 0 else RUST for g in gains])
        ax.axvline(0, lw=1, color="#55606e")
        ax.set_yticks(places, names, fontsize=8)
        ax.set_xlabel("change of mean probability")


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


@dataclass(frozen=True, repr=False)
class Watched(Result):
    """What training on preference pairs moved.

    Attributes
    ----------
    moved : pairs and tokens
    classes : shares of the classes of sampled answers before and after, or None
    examples : sampled answers, or None
    notes : what was done to the data
    subject : which model against which
    """

    moved: Displaced
    classes: pd.DataFrame | None
    examples: pd.DataFrame | None
    notes: list[str]
    subject: str = "a tuned model"

    def report(self) -> Report:
        """What the chosen answers lost, who gained it, and what is written now."""
        sections = []
        if self.classes is not None:
            sections.append(
                Section(
                    "classes", "What is written?", tables={"": self.classes.rename_axis("class").reset_index()},
                    figures={"Sampled answers by class": self._draw_classes},
                )
            )  # fmt: skip
        if self.examples is not None:
            sections.append(
                Section(
                    "examples", "Sampled answers", tables={"": self.examples.head(MOST_ROWS)}, folded=True
                )
            )
        report = self.moved.report()
        return replace(
            report, subject=self.subject, headline=self._sentence(), warnings=self.notes,
            sections=(*sections, *report.sections),
        )  # fmt: skip

    def _sentence(self) -> str:
        start, classes = self.moved.start, self.classes
        if self.moved.summary()["chosen"] >= 0 or classes is None or not (classes["change"] > 0).any():
            return self.moved.sentence
        gain = 100 * classes["change"].max()
        return f"{start}; of sampled answers, “{classes['change'].idxmax()}” gained most: {gain:+.0f} points."

    def to_frame(self) -> pd.DataFrame:
        """A row per pair."""
        return self.moved.table

    def _content(self) -> dict[str, Any]:
        classes = None if self.classes is None else self.classes.to_dict("index")
        return {**self.moved._content(), "classes": classes, "notes": self.notes}

    def _write_more(self, folder: Path) -> None:
        write_table(self.moved.table, folder / "pairs.csv")

    def _draw_classes(self, ax: Axes) -> None:
        assert self.classes is not None
        places = np.arange(len(self.classes))[::-1]
        ax.barh(places + 0.2, self.classes["base"], 0.38, color=GREY, label="base")
        ax.barh(places - 0.2, self.classes["tuned"], 0.38, color=BLUE, label="tuned")
        ax.set_yticks(places, [str(c) for c in self.classes.index])
        ax.set_xlabel("share of sampled answers")
        ax.legend(fontsize=8)


def keyword_classifier(file: str | Path) -> Callable[[str], str]:
    """Answer → class, by a JSON file of class → list of texts: the first class one of whose texts the answer holds.

    Raises
    ------
    InputError
        A file of another form.
    """
    keywords = read_json(Path(file))
    try:
        texts = {str(name): [str(text).casefold() for text in those] for name, those in keywords.items()}
    except (AttributeError, TypeError) as error:
        raise InputError(
            f'{file} is no JSON of the form {{"refused": ["I cannot", ...], ...}} ({error}).'
        ) from error

    def classify(answer: str) -> str:
        folded = answer.casefold()
        return next((name for name, those in texts.items() if any(text in folded for text in those)), "other")

    return classify


def watch(
    base: str | Path | ProbeModel,
    tuned: str | Path | ProbeModel,
    pairs: Any,
    *,
    samples: int = 0,
    classify: str | Path | Callable[[str], str] | None = None,
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
    base : model before training: directory or id
    tuned : model after training: directory or id
    pairs : JSONL, JSON, Parquet or a folder of datasets with prompt, chosen, rejected (texts or messages); see
        `encode_pairs`
    samples : answers that each model samples at temperature 1 for every different prompt
    classify : path or callable, optional
        JSON file of class and list of texts; an answer is of the first class one of whose texts it holds. In Python
        also a function from answer to class. Without it sampled answers are only shown.
    max_new_tokens : longest sampled answer, in tokens
    template : "auto", "chat" or "none"
        Whether plain texts go through the model's chat template.
    max_tokens : largest number of tokens of a batch, with its padding
    seed : random seed
    allow_missing : load a model whose files lack tensors, or an adapter on another base than its own

    Raises
    ------
    InputError
        Models of different vocabularies, classes without samples; see also `encode_pairs`.

    Examples
    --------
    >>> result = watch("base", "tuned", "pairs.jsonl", samples=4, classify=judge)  # doctest: +SKIP
    >>> result.moved.rate, result.classes  # doctest: +SKIP
    >>> result.save("report")  # doctest: +SKIP
    """
    if classify is not None and not samples:
        raise InputError(
            "Classes need sampled answers; say how many are sampled for every prompt (--samples)."
        )
    judge = keyword_classifier(classify) if isinstance(classify, str | Path) else classify
    readings, written, notes, names = [], [], [], []
    prompts: list[list[int]] = []
    for source in (base, tuned):
        model = open_model(source, allow_missing=allow_missing)
        data = encode_pairs(model, pairs, template=template)
        names.append(model.source)
        readings.append(read(model, data, max_tokens=max_tokens, progress=progress))
        notes = data.notes
        if samples:
            # The base's prompts serve both: what differs is the model alone.
            prompts = prompts or [list(x) for x in dict.fromkeys(map(tuple, data.prompt))]
            requests = [{"input_ids": x} for x in prompts for _ in range(samples)]
            answers = generate(
                model,
                requests,
                max_new_tokens=max_new_tokens,
                seed=seed,
                max_tokens=max_tokens,
                progress=progress,
            )
            heads = model.tokenizer.batch_decode([x["input_ids"] for x in requests], skip_special_tokens=True)
            written.append(pd.DataFrame({"prompt": heads, "answer": [row["completion"] for row in answers]}))
        del model
    examples = classes = None
    if samples:
        examples = pd.DataFrame(
            {"prompt": written[0]["prompt"], "base": written[0]["answer"], "tuned": written[1]["answer"]}
        )
        if judge is not None:
            kinds = {name: Counter(map(judge, examples[name])) for name in ("base", "tuned")}
            classes = (pd.DataFrame(kinds).fillna(0) / len(examples)).sort_index()
            classes["change"] = classes["tuned"] - classes["base"]
    return Watched(displaced(*readings), classes, examples, notes, f"{names[1]} against {names[0]}")


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
