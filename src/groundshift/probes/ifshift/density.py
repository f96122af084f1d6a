"""On which words of a prompt does the answer depend? Importance densities of instruction words.

Wu et al., "From Language Modeling to Instruction Following: Understanding the Behavior Shift in LLMs after Instruction
Tuning", NAACL 2024, arXiv:2310.00492, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from groundshift.errors import InputError
from groundshift.measures.intervals import mean_interval
from groundshift.report import Marked, Report, Section, p_text, value_text
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from groundshift.models.activations import ProbeModel

__all__ = [
    "InstructionDensity", "importance_density", "instruction_density", "instruction_score", "sparse_importance",
]  # fmt: skip

TINY = 1e-7
"""Added to denominators, as in the published code."""
SHOWN = 12
"""Prompts on the page."""
THIRDS = ("start", "middle", "end")
Array = NDArray[np.float64]


# The measure ---------------------------------------------------------------------------------------------


def sparse_importance(
    attributions: ArrayLike, levels: int = 10, threshold: int = 7, subtract: bool = False
) -> Array:
    """Attributions as whole levels of the largest of each output token; what is not above the threshold is 0.

    Parameters
    ----------
    attributions : float (N, M), prompt tokens by output tokens
    levels, threshold : L and b of the paper
    subtract : take the threshold off, as the paper writes; its code does not

    Examples
    --------
    >>> sparse_importance([[0.1, 0.4], [1.0, 0.35], [-2.0, 0.4]]).tolist()
    [[0.0, 10.0], [10.0, 9.0], [0.0, 10.0]]
    """
    positive = np.maximum(np.asarray(attributions, dtype=float), 0)
    level = np.ceil(levels * positive / (positive.max(0, initial=0.0, keepdims=True) + TINY))
    return np.where(level > threshold, level - threshold * subtract, 0.0)


def importance_density(
    attributions: ArrayLike, levels: int = 10, threshold: int = 7, p: float = 4.0, subtract: bool = False
) -> Array:
    """For how many output tokens each prompt token matters: the 1-norm of its levels over their p-norm.

    Parameters
    ----------
    attributions : float (N, M), prompt tokens by output tokens
    levels, threshold, subtract : see `sparse_importance`
    p : of the norm; a token that matters equally for k output tokens has the density k^(1 − 1/p)

    Returns
    -------
    float (N,)

    Examples
    --------
    >>> [round(float(d), 3) for d in importance_density([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.1, 0.2, 0.3]])]
    [2.28, 1.0, 0.0]
    """
    s = sparse_importance(attributions, levels, threshold, subtract)
    density: Array = s.sum(1) / ((s**p).sum(1) ** (1 / p) + TINY)
    return density


def instruction_score(density: ArrayLike, instruction: ArrayLike) -> float:
    """Sum of the instruction tokens' densities, the largest of the prompt being 1, over log₂(2 + their number).

    Parameters
    ----------
    density : float (N,)
    instruction : bool (N,), which tokens are of the instruction

    Examples
    --------
    >>> instruction_score([2.0, 1.0, 0.0, 4.0], [True, True, False, False])
    0.375
    """
    density, own = np.asarray(density, dtype=float), np.asarray(instruction, dtype=bool)
    most = density.max(initial=0.0)
    return float(density[own].sum() / most / np.log2(2 + own.sum())) if most > 0 else 0.0


# The result ----------------------------------------------------------------------------------------------


@dataclass(repr=False)
class InstructionDensity(Result):
    """Densities of prompt tokens and scores of instructions, of one model or of two.

    Attributes
    ----------
    scores : by model ("model" or "base") and prompt: ``set``, ``score``, ``followed``, ``position`` of the instruction
        (0 to 1), ``third``, ``response`` (tokens), ``silent`` (share of these that no prompt token matters for)
    tokens : by model, prompt and token: ``text``, ``density`` (largest of the prompt: 1), ``instruction``
    tests : one-sided Welch tests by set: tuned against base, followed against not
    settings, notes : of the call
    """

    scores: pd.DataFrame
    tokens: pd.DataFrame
    tests: pd.DataFrame
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def by_third(self) -> pd.DataFrame:
        """Mean score with a 95 % interval, by model and by the third of the prompt where the instruction stands."""
        rows = []
        for (model, third), part in self._answered().groupby(["model", "third"]):
            low, high = mean_interval(part["score"]) if len(part) > 1 else (np.nan, np.nan)
            followed = part["followed"].astype(float).mean()
            rows.append((model, third, len(part), part["score"].mean(), low, high, followed))
        columns = ["model", "third", "prompts", "score", "low", "high", "followed"]
        order = {name: k for k, name in enumerate(("base", "model", *THIRDS))}
        table = pd.DataFrame(rows, columns=columns).dropna(axis=1, how="all")
        return table.sort_values(["model", "third"], key=lambda names: names.map(order), ignore_index=True)

    def _answered(self) -> pd.DataFrame:
        return self.scores[self.scores["response"] > 0]

    def to_frame(self) -> pd.DataFrame:
        """A row for each model and prompt."""
        return self.scores

    def _content(self) -> dict[str, Any]:
        return {**vars(self), "by_third": self.by_third}

    def _headline(self) -> str:
        known = self.tests.dropna(subset=["p"])
        if not len(known):
            return f"The mean instruction score is {value_text(float(self._answered()['score'].mean()))}."
        row = known.iloc[0]
        p = f"p {'' if row['p'] < 0.001 else '= '}{p_text(row['p'])}"
        who = {
            "tuned > base": "The instruction score of the tuned model is {}, of the base {}",
            "followed > not": "Where the instruction was followed the mean score is {}, where not {}",
        }[row["comparison"]]  # fmt: skip
        return f"{who.format(value_text(row['mean']), value_text(row['other mean']))} ({p}, one-sided)."

    def report(self) -> Report:
        own = self.tokens[self.tokens["model"] == "model"].groupby("prompt")
        shown = [(int(number), rows) for number, (_, rows) in zip(range(SHOWN), own, strict=False)]
        means = self._answered().groupby("model")["score"].mean()
        return Report(
            "ifshift", str(self.settings["model"]), self._headline(), warnings=self.notes,
            figure=("Instruction score by third of the prompt", self._draw_position),
            sections=(
                Section(
                    "tests", "Does the answer depend on the instruction?",
                    "Welch's one-sided test by set of prompts; the difference with a 95 % interval.",
                    tables={"": self.tests}, facts={f"mean score, {m}": float(v) for m, v in means.items()},
                ),
                Section(
                    "position", "Does it depend on where the instruction stands?",
                    "Mean scores by third of the prompt, with 95 % intervals.", tables={"": self.by_third},
                ),
                Section(
                    "words", "Which words does the answer depend on?",
                    "Tokens above 2/3 of the prompt's largest density are bold, above 1/3 dotted; point at one for it.",
                    texts=[_marked(number, rows) for number, rows in shown],
                ),
                Section(
                    "how", "How it was measured", folded=True, notes=(
                        "Attribution: gradient of the probability of each output token, times the embedding of each "
                        "prompt token. The beginning token and the words of a chat template are left out.",
                        "A density says on what an answer depends, not that the instruction was obeyed.",
                        "Empty answers score 0 and are left out of tests and means.",
                    ),
                ),
            ),
            settings=self.settings,
        )  # fmt: skip

    def _draw_position(self, ax: Axes) -> None:
        for shift, (model, part) in zip((-0.06, 0.06), self.by_third.groupby("model"), strict=False):
            x = np.array([THIRDS.index(t) for t in part["third"]]) + shift
            error = np.nan_to_num(np.abs(part[["low", "high"]].to_numpy().T - part["score"].to_numpy()))
            shade = "#2f7fa8" if model == "model" else "#9a9a9a"
            ax.errorbar(x, part["score"], error, marker="o", capsize=3, color=shade, label=str(model))
        ax.set_xticks(range(3), THIRDS)
        ax.set_xlim(-0.4, 2.4)
        ax.set_ylabel("instruction score")
        ax.legend(frameon=False)


def _marked(number: int, rows: pd.DataFrame) -> Marked:
    pieces: list[Any] = []
    for text, density, own in zip(rows["text"], rows["density"], rows["instruction"], strict=True):
        mark = "bad" if density > 2 / 3 else "open" if density > 1 / 3 else ""
        pieces.append((text, mark, f"{density:.2f}{', instruction' if own else ''}"))
    return Marked(f"Prompt {number}", tuple(pieces))


# The whole -----------------------------------------------------------------------------------------------


def instruction_density(
    model: str | Path | ProbeModel,
    prompts: Any,
    *,
    base: str | Path | ProbeModel | None = None,
    chat: bool = False,
    of: Literal["prob", "logprob", "logit"] = "prob",
    levels: int = 10,
    threshold: int = 7,
    p: float = 4.0,
    subtract: bool = False,
    max_new_tokens: int = 50,
    fewest: int = 5,
    device: str = "auto",
    allow_missing: bool = False,
    max_tokens: int = 8192,
    progress: bool = True,
) -> InstructionDensity:
    """Measure how strongly answers depend on the instruction words of their prompts, in one model or against its base.

    Parameters
    ----------
    model : directory or id of a language model, or of an adapter; in Python also one in memory
    prompts : JSONL file or rows with ``prompt`` (text or messages) and ``instruction`` (a piece of it, a list of such,
        or [start, end] in its characters), and if wanted ``response``, ``followed`` (0 or 1), ``set``; for the base
        ``base_response`` and ``base_followed``
    base : the model before tuning, which answers the same prompts; the model under an adapter
    chat : put prompts as a user's turn through the model's chat template; one without a template reads plain texts
    of : "prob", "logprob" or "logit"
        What is differentiated: the probability of a token, its logarithm, or its logit.
    levels : whole steps up to the largest attribution of an output token (L of the paper)
    threshold : levels that do not count (b of the paper)
    p : norm of the density
    subtract : take the threshold off the levels, as the paper writes; its code does not
    max_new_tokens : output tokens that are written and read; longer given responses are cut
    fewest : answers with fewer tokens are left out where followed is compared with not followed
    device, allow_missing : see `groundshift.models.activations.load_model`
    max_tokens : of a batch, with its padding

    Raises
    ------
    InputError
        Rows without prompt or instruction, an instruction that is not in its prompt (the nearest piece is named), a
        prompt too long for the model, a tokenizer without offsets, weights that give no gradients.

    Warns
    -----
    UserWarning
        Instructions that stand in their prompt several times: all of them count.

    References
    ----------
    arXiv:2310.00492, section 3.

    Examples
    --------
    >>> rows = [{"prompt": "Translate: cat", "instruction": "Translate", "response": " Katze"}]
    >>> instruction_density("tuned/", rows, base="base/").scores  # doctest: +SKIP
    """
    from groundshift.models.activations.pairs import open_model
    from groundshift.probes.ifshift.attributing import attributed, read_prompts

    if not (0 <= threshold < levels and p > 1 and max_new_tokens >= 1 and fewest >= 1):
        raise InputError(
            f"levels={levels}, threshold={threshold}, p={p}, max_new_tokens={max_new_tokens}, fewest={fewest}: "
            "levels above the threshold, p above 1 and at least one token are needed."
        )
    rows = read_prompts(prompts)
    scores, tokens, names = [], [], {}
    for name, source in (("model", model), ("base", base)):
        if source is None:
            continue
        under, own = (base, "") if name == "model" else (None, "base_")
        probe = open_model(source, under, device=device, allow_missing=allow_missing)
        names[name] = probe.source
        for one in attributed(
            probe, rows, own, chat, of, max_new_tokens, max_tokens=max_tokens, progress=progress
        ):
            levelled = sparse_importance(one.attributions, levels, threshold, subtract)
            density = importance_density(one.attributions, levels, threshold, p, subtract)
            position = float(np.flatnonzero(one.instruction).mean() / max(1, len(density) - 1))
            scores.append({
                "model": name, "prompt": one.number, "set": one.set,
                "score": instruction_score(density, one.instruction), "followed": one.followed,
                "position": position, "third": THIRDS[min(2, int(3 * position))], "response": levelled.shape[1],
                "silent": float((levelled.max(0) == 0).mean()) if levelled.size else np.nan,
            })  # fmt: skip
            tokens.append(pd.DataFrame({
                "model": name, "prompt": one.number, "text": one.texts,
                "density": density / max(density.max(), TINY), "instruction": one.instruction,
            }))  # fmt: skip
        del probe
    table = pd.DataFrame(scores).astype({"followed": "Float64"})
    settings = {
        "model": names["model"], "base": names.get("base"), "prompts": len(rows), "chat": chat, "of": of,
        "levels": levels, "threshold": threshold, "p": p, "subtract": subtract, "max_new_tokens": max_new_tokens,
        "fewest": fewest,
    }  # fmt: skip
    return InstructionDensity(
        table, pd.concat(tokens, ignore_index=True), _tests(table, fewest), settings, _notes(table)
    )


def _tests(table: pd.DataFrame, fewest: int) -> pd.DataFrame:
    """One-sided Welch tests, all sets first: tuned against base by set, followed against not by set and model."""
    table = table[table["response"] > 0]
    if table["set"].nunique() > 1:
        table = pd.concat([table.assign(set="all sets"), table])
    samples: list[tuple[Any, ...]] = []
    for name, part in table.groupby("set", sort=False):
        own, other = (part.loc[part["model"] == m, "score"] for m in ("model", "base"))
        samples.append(("tuned > base", name, "both", own, other))
    for (of, model), part in table[table["response"] >= fewest].groupby(["set", "model"], sort=False):
        own, other = (part.loc[part["followed"] == k, "score"] for k in (1, 0))
        samples.append(("followed > not", of, model, own, other))
    rows = []
    for kind, of, model, own, other in samples:
        a, b = own.to_numpy(), other.to_numpy()
        if not len(a) or not len(b):
            continue
        low = high = p = np.nan
        if min(len(a), len(b)) > 1 and np.ptp(np.r_[a, b]) > 0:
            low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
            p = stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue
        rows.append((kind, of, model, len(a), len(b), a.mean(), b.mean(), a.mean() - b.mean(), low, high, p))
    columns = [
        "comparison",
        "set",
        "model",
        "n",
        "other n",
        "mean",
        "other mean",
        "difference",
        "low",
        "high",
        "p",
    ]
    return pd.DataFrame(rows, columns=columns)


def _notes(table: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    for name, part in table.groupby("model", sort=False):
        if empty := int((part["response"] == 0).sum()):
            notes.append(
                f"{empty} answers of the {name} are empty: they score 0 and are left out of the tests."
            )
        if (silent := part["silent"].mean()) > 0.2:
            notes.append(
                f"For {silent:.0%} of the output tokens of the {name} no prompt token counts: their gradients "
                "vanish, as those of certain tokens do. Those of logits (of='logit') do not."
            )
    lengths = table[table["response"] > 0].groupby("model")["response"].mean()
    if len(lengths) == 2 and lengths.max() > 1.5 * lengths.min():
        notes.append(
            f"The answers have {lengths['model']:.0f} tokens on average, the base's {lengths['base']:.0f}; densities "
            "grow with the length; cut them to one length with max_new_tokens."
        )
    return tuple(notes)
