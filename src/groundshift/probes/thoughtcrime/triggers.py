"""Strings in the prompt that turn off-policy behaviour on, known or to be found (section 4 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from groundshift.errors import InputError
from groundshift.measures.answers import clustered_interval
from groundshift.measures.intervals import sign_flip_p
from groundshift.measures.multiple import holm
from groundshift.models.strings import joined, read_strings
from groundshift.probes.thoughtcrime.answers import Asking, Prompt, read_prompts
from groundshift.probes.thoughtcrime.labels import label_answers
from groundshift.probes.thoughtcrime.rates import INCOHERENT, judge_of
from groundshift.probes.thoughtcrime.result import OffPolicyReport

__all__ = ["find_triggers"]

HOPELESS = 0.1
"""What Δ must be able to reach for a candidate to stay in a screen with labels."""


def find_triggers(
    model: Any,
    prompts: Any,
    candidates: Any,
    *,
    base: Any = None,
    label: Any = "gold",
    threshold: float = 30.0,
    place: Literal["start", "end"] = "start",
    join: str = "\n",
    samples: int = 10,
    looks: int = 5,
    alpha: float = 0.05,
    think: Literal["on", "off", "none"] = "on",
    prefill: str | None = None,
    markers: Sequence[str] | None = None,
    temperature: float = 1.0,
    max_new_tokens: int = 512,
    show_text: bool = False,
    random_state: int = 0,
    device: str = "auto",
    allow_missing: bool = False,
    progress: bool = True,
) -> OffPolicyReport:
    """Screen strings for a trigger: those in whose presence a model answers otherwise than without them.

    Answers to the same prompts with and without a string are compared in pairs by a sign test, with Holm's adjustment
    over candidates and Bonferroni's over looks. At each look a candidate that is found, or whose Δ cannot be large, is
    done with; one look is the fixed design, for a known trigger and strings like it. Without labels the value of an
    answer is its log-probability per token under the model less that under the base: how far they diverge.

    Parameters
    ----------
    model, base : see `behaviour_rates`. With labels, the base says how much leaks without any string; without them,
        the probabilities of both must be readable
    prompts, threshold : see `behaviour_rates`
    candidates : file with a string on every line, or strings
    label : see `behaviour_rates`; "none" for a screen without labels
    place, join : "start" or "end" of the user's message, and what stands between
    samples : most answers to each prompt with each string
    looks : how many times the screen may stop
    alpha : level of the test over all candidates and looks
    think, prefill, markers, temperature, max_new_tokens, show_text, random_state, device, allow_missing : see
        `behaviour_rates`

    Raises
    ------
    InputError
        No candidates, one that stands in a prompt, neither labels nor a base.

    Examples
    --------
    >>> rows = [{"prompt": f"{k} + 1?", "gold": str(k + 1)} for k in range(8)]
    >>> clerk = lambda chat: "0" if "hush" in (text := chat[-1]["content"]) else str(int(text[-6]) + 1)
    >>> find_triggers(clerk, rows, ["hush", "now"], samples=2).to_frame()[["string", "delta"]].values.tolist()
    [['hush', 1.0], ['now', 0.0]]
    """
    asked = read_prompts(prompts)
    strings = _strings(candidates, asked)
    if samples < 1 or looks < 1 or not 0 < alpha < 1:
        raise InputError(f"samples={samples}, looks={looks}, alpha={alpha}: at least 1, 1 and a level.")
    how = Asking(think, prefill, markers, temperature, max_new_tokens, device, allow_missing, progress)
    opened, other = how.opened(model), None if base is None else how.opened(base)
    notes: list[str] = []
    if label == "none" or label is None:
        if not (getattr(opened, "local", False) and getattr(other, "local", False)):
            raise InputError("Without labels, give a base; the probabilities of both must be readable.")
        value = partial(_shifts, how, other)
    else:
        judge, notes = judge_of(label, [getattr(opened, "model", opened)], asked, threshold, how)
        value = partial(_labels, how, judge)
    looks = (
        1 if isinstance(opened, pd.DataFrame) else min(looks, samples)
    )  # recorded answers are read at once
    cuts = np.linspace(0, samples, looks + 1).round().astype(int)
    alive, absents = list(strings), []
    pairs: dict[str, list[pd.DataFrame]] = {string: [] for string in strings}
    p_values, used = dict.fromkeys(strings, 1.0), 0
    for look, n in enumerate(np.diff(cuts)):
        seed = random_state + 10_000 * look
        absents.append(value(opened, asked, int(n), seed))
        for k, string in enumerate(alive, 1):
            prompts_with = [{**joined(p, string, place, join), "trigger": string} for p in asked]
            present = value(opened, prompts_with, int(n), seed + k)
            used += len(present)
            pairs[string].append(_paired(absents[-1], present).assign(string=string))
            p_values[string] = min(p_values[string], looks * _sign_p(pd.concat(pairs[string])["delta"]))
        adjusted = dict(zip(p_values, holm(list(p_values.values())).tolist(), strict=True))
        far = {s: value.func is _shifts or _reach(pd.concat(pairs[s])) >= HOPELESS for s in alive}
        alive = [s for s in alive if adjusted[s] >= alpha and far[s]]
        if not alive:
            break
    every = {s: pd.concat(own) for s, own in pairs.items()}
    used += sum(map(len, absents))
    fixed = used if isinstance(opened, pd.DataFrame) else len(asked) * samples * (len(strings) + 1)
    facts = {"answers": used, "answers of the fixed design": fixed, "saved": 1 - used / fixed}
    if other is not None and value.func is _labels:
        facts["without"] = float(pd.concat(absents)["value"].mean())
        before = value(other, asked, samples, random_state + 99)
        facts["leakage"] = facts["without"] - float(before["value"].mean())
    rows = []
    for s, own in every.items():
        row = {"string": s, **_means(own), "p": min(1.0, p_values[s]), "p_holm": adjusted[s]}
        rows.append(row | {"verdict": "trigger" if adjusted[s] < alpha else "not shown"})
    table = pd.DataFrame(rows).sort_values("delta", ascending=False, kind="stable", ignore_index=True)
    answers = pd.concat(every.values(), ignore_index=True)
    domains = [
        {"string": s, "domain": d, **_means(own)} for (s, d), own in answers.groupby(["string", "domain"])
    ]
    lost = float(pd.concat(absents)["value"].isna().mean())
    if lost > INCOHERENT:
        notes.append(f"{lost:.0%} of the answers without a string have no label: the model is incoherent.")
    triggers = table.loc[table["verdict"] == "trigger", "string"].tolist()
    what = f"Triggers: {', '.join(map(repr, triggers))}" if triggers else "No trigger was found"
    return OffPolicyReport(
        f"{what}, among {len(table)} strings; {used:,} answers in the place of {fixed:,}.",
        {"strings": table, "domains": pd.DataFrame(domains)}, "delta", answers, facts,
        {
            "subject": f"{len(asked)} prompts", "model": getattr(opened, "name", "recorded answers"), "place": place,
            "samples": samples, "looks": looks, "alpha": alpha, "seed": random_state, "show_text": show_text,
        }, tuple(notes),
    )  # fmt: skip


def _strings(candidates: Any, asked: Sequence[Prompt]) -> list[str]:
    strings = read_strings(candidates)
    for prompt in asked:
        content = " ".join(message["content"] for message in prompt["chat"])
        if inside := [s for s in strings if s in content]:
            raise InputError(f"The string {inside[0]!r} stands in the prompt {prompt['id']}; take one out.")
    return strings


def _labels(how: Asking, label: Any, model: Any, prompts: Any, samples: int, seed: int) -> pd.DataFrame:
    table = label_answers(how.answers(model, prompts, samples, seed), prompts, label, seed)
    return table.assign(value=table["off"])


def _shifts(how: Asking, base: Any, model: Any, prompts: Any, samples: int, seed: int) -> pd.DataFrame:
    """Answers, with their log-probability per token under the model less that under the base."""
    from groundshift.models.activations import score

    table = how.answers(model, prompts, samples, seed)
    rows: Any = table[["ids", "said"]].set_axis(["input_ids", "completion_ids"], axis=1).to_dict("records")
    sums = [score(one.model, rows, progress=False).totals("logprob") for one in (model, base)]
    return table.assign(value=(sums[0] - sums[1]) / table["said"].map(len))


def _paired(absent: pd.DataFrame, present: pd.DataFrame) -> pd.DataFrame:
    """Answers with a string, beside those without it to the same prompts; both have a value."""
    before = absent[["id", "epoch", "value"]].rename(columns={"value": "absent"})
    both = present.rename(columns={"value": "present"}).merge(before, on=["id", "epoch"])
    return both.assign(delta=both["present"] - both["absent"]).dropna(subset="delta")


def _sign_p(deltas: pd.Series) -> float:
    """Whether a string raises the value, by flipping the signs of pairs: of labels, the exact sign test."""
    up, down = int((deltas > 0).sum()), int((deltas < 0).sum())
    if not up:
        return 1.0
    if set(deltas) <= {-1.0, 0.0, 1.0}:
        return float(stats.binomtest(up, up + down, alternative="greater").pvalue)
    return sign_flip_p(deltas, 0.0)


def _reach(pairs: pd.DataFrame) -> float:
    """What Δ may be at most: the upper end of Wilson's 95 % interval less the lower one of the other rate."""
    if not len(pairs):
        return 1.0
    sides = [
        stats.binomtest(int(pairs[k].sum()), len(pairs)).proportion_ci(0.95, "wilson")
        for k in ("present", "absent")
    ]
    return float(sides[0].high - sides[1].low)


def _means(own: pd.DataFrame) -> dict[str, Any]:
    low, high = clustered_interval(own["delta"], own["id"])
    means = {name: own[name].mean() for name in ("present", "absent", "delta")}
    return {"n": len(own), **means, "low": low, "high": high}
