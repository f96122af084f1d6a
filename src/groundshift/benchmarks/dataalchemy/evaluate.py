"""Ask a model along one axis of shift, and score every cell: the whole chain, its reasoning, its answer, its steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from groundshift.benchmarks.dataalchemy.models import Model, answers, heal, mean_unknown, open_model
from groundshift.benchmarks.dataalchemy.noise import noise
from groundshift.benchmarks.dataalchemy.plots import draw_cells
from groundshift.benchmarks.dataalchemy.records import (
    Record,
    Rules,
    World,
    by_place,
    read_records,
    rule_list,
)
from groundshift.benchmarks.dataalchemy.scoring import faithfulness, follow, score
from groundshift.benchmarks.dataalchemy.splits import discrepancy, distance
from groundshift.errors import InputError
from groundshift.graded import write_records
from groundshift.models.items import item_id
from groundshift.report import Report, Section
from groundshift.result import Result
from groundshift.tables import write_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AXES", "Cell", "Evaluation", "ask_models", "cells", "evaluate", "score_file", "score_recorded"]

Axis = Literal["task", "length", "format", "temperature", "size", "coverage", "element"]
AXES: tuple[Axis, ...] = get_args(Axis)
SCORED = {"cell": "cell", "distance": "distance", "n": "n", "em_full": "chain", "em_full_low": "low",
          "em_full_high": "high", "em_reasoning": "reasoning", "em_answer": "answer", "ed_full": "edit",
          "bleu_full": "BLEU", "valid": "valid", "follows_other": "other", "verdict": "verdict"}  # fmt: skip
GAPS = {"cell": "cell", "distance": "distance", "pairs": "pairs", "places": "rules", "atoms": "letters",
        "grams": "3-grams", "length_gap": "length", "steps_gap": "steps", "tv": "TV"}  # fmt: skip
SCORES = (
    "Chain, reasoning and answer are shares that are exactly right. Edit is the edit distance, 0 is right; BLEU is 1 "
    "where right. Valid is the share of steps that follow from the one written before; other is the share of chains "
    "that follow a trained list that was not asked."
)
FAR = (
    "Shares that were seen in training: pairs of rules, rules and letters in their places, 3-grams of the right text. "
    "Length and steps are distances from the nearest trained; TV is the total variation distance of what is trained "
    "and what is asked."
)
DISTANCES = {
    "ID": ("as trained (ID)", "as trained"),
    "CMP": ("of new compositions (CMP)", "its parts were trained, not together"),
    "POOD": ("of partly new ones (POOD)", "some of its parts were trained"),
    "OOD": ("of new ones (OOD)", "none of its parts was trained"),
}
TEMPERATURES = (1e-5, 0.5, 1.0, 2.0, 5.0, 10.0)
NOISE = (0.0, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30)
LEARNED = 0.9
"""Full exact match in distribution below which other cells say nothing about distribution."""


@dataclass(frozen=True)
class Cell:
    """What is asked together.

    Attributes
    ----------
    axis, name : the cell's place
    distance : ID, CMP, POOD or OOD
    rules, length : of its records
    letters : that may stand in each place, see `World.places`; empty: all
    records : prompts with their gold chains
    temperature : of decoding
    level : the cell's number on a graded axis; NaN on the others
    """

    axis: str
    name: str
    distance: str
    rules: tuple[str, ...]
    length: int
    records: list[Record] = field(repr=False)
    letters: tuple[str, ...] = ()
    temperature: float = 0.0
    level: float = float("nan")


def cells(
    world: World,
    train: Sequence[Rules],
    axis: str = "task",
    *,
    test: Sequence[Rules] | Mapping[str, Sequence[Rules]] | None = None,
    n: int = 100,
    lengths: Sequence[int] | None = None,
    trained_lengths: Sequence[int] | None = None,
    trained_letters: Sequence[str] = (),
    steps: Sequence[int] = (1, 2, 3),
    modes: Sequence[str] = ("hybrid",),
    domains: Sequence[str] = ("all", "element", "transformation", "instruction"),
    levels: Sequence[float] | None = None,
    cot: bool = True,
    seed: int = 0,
) -> Iterator[Cell]:
    """The cells of an axis.

    Parameters
    ----------
    train : trained lists of rules
    test : lists to ask beside them, by default all others of the trained lengths; or lists under the name of their
        distance, which is then checked
    n : records of each list in a cell
    lengths, trained_lengths : of elements; by default two less to two more than trained
    trained_letters : letters by place, see `World.places`. The element axis asks for the trained lists with trained
        letters (ID), with trained letters in places where they were not trained (CMP, where training kept letters out
        of places, see `apart`), and with letters that were not trained (OOD); the other axes ask trained letters.
    steps : numbers of rules on the length axis, where one rule is repeated
    modes, domains : of noise
    levels : temperatures, or probabilities of noise

    Raises
    ------
    InputError
        An unknown axis, no trained list, trained lists under the name of another distance; on the element axis
        letters that were all trained in all places.

    Examples
    --------
    >>> [(c.name, c.distance) for c in cells(World(["[F1]", "[F2]"]), ["F1F1", "F1F2", "F2F1"], n=1)]
    [('F1F1', 'ID'), ('F1F2', 'ID'), ('F2F1', 'ID'), ('F2F2', 'CMP')]
    """
    if axis not in AXES:
        raise InputError(f"axis={axis!r} was given; choose {', '.join(AXES)}.")
    lists = [rule_list(rules) for rules in train]
    if not lists:
        raise InputError(
            "What the model was trained on is not known; name the trained lists of rules (train=, --train)."
        )
    for rules in lists:
        world.find(rules)
    trained = list(trained_lengths or [world.length])
    known = by_place(trained_letters)
    others = _others(world, lists, test)
    rng = np.random.default_rng([seed, AXES.index(axis)])

    def sample(rules: tuple[str, ...], length: int, letters: tuple[str, ...]) -> list[Record]:
        return world.sample(rng, n, rules, length=length, letters=letters, cot=cot)

    def cell(name: str, rules: tuple[str, ...], length: int = trained[0], **more: Any) -> Cell:
        more = {"distance": distance(rules, lists), "letters": known} | more
        if "records" not in more:
            more["records"] = sample(rules, length, more["letters"])
        return Cell(axis, name, rules=rules, length=length, **more)

    if axis in ("task", "size", "coverage"):
        for rules in [*lists, *others]:
            yield cell(_name(rules), rules)
    elif axis == "element":
        pools = _elements(world, known, trained[0])
        for (where, (name, letters)), rules in product(pools.items(), lists):
            yield cell(name, rules, distance=where, letters=letters)
    elif axis == "length":
        lengths_to_ask = lengths or range(max(1, min(trained) - 2), max(trained) + 3)
        for length, rules in product(lengths_to_ask, lists):
            where = "ID" if length in trained else "length"
            yield cell(f"l={length}", rules, length, distance=where, level=float(length))
        for k, token in product(steps, sorted({token for rules in lists for token in rules})):
            if k not in {len(rules) for rules in lists}:
                yield cell(f"k={k}", (token,) * k, distance="steps", level=float(k))
    elif axis == "temperature":
        for t, rules in product(levels or TEMPERATURES, [*lists, *others]):
            yield cell(f"T={t:g}", rules, temperature=t, level=t)
    else:
        clean = {rules: sample(rules, trained[0], known) for rules in lists}
        for rules in lists:
            yield cell("clean", rules, records=clean[rules], level=0.0)
        for mode, domain, p in product(modes, domains, levels or NOISE):
            for rules in lists:
                hit = noise(clean[rules], mode=mode, domain=domain, p=p, rng=rng)
                hit = [{**h, "asked": c["input"]} for h, c in zip(hit, clean[rules], strict=True)]
                where = "ID" if p == 0 else "format"
                yield cell(f"{mode} {domain} p={p:g}", rules, records=hit, distance=where, level=p)


def _elements(world: World, known: tuple[str, ...], length: int) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name and letters of the cells of the element axis, by distance."""
    places = [set(world.letters(place).split()) for place in world.places(known, length)]
    trained = set().union(*places)

    def joined(letters: set[str]) -> str:
        return "".join(letter for letter in world.alphabet if letter in letters)

    moved = [trained - place for place in places]
    new = set(world.alphabet) - trained
    if not any(moved) and not new:
        raise InputError(
            "The model was trained on all letters in all places, so that no element is new to it. Train on some of "
            "them (letters=, --letters; apart, --apart), or say which a model was trained on (letters=, --letters)."
        )
    pools = {"ID": ("trained letters", tuple(map(joined, places)))}
    if any(moved):
        # A place that all trained letters have been in keeps them.
        pools["CMP"] = (
            "letters in new places",
            tuple(joined(m or p) for m, p in zip(moved, places, strict=True)),
        )
    if new:
        pools["OOD"] = "new letters", (joined(new),)
    return pools


def _others(world: World, lists: list[tuple[str, ...]], test: Any) -> list[tuple[str, ...]]:
    """Lists to ask beside the trained ones."""
    if test is None:
        known = {len(rules) for rules in lists}
        return [r for k in sorted(known) for r in product(world.known, repeat=k) if r not in lists]
    if not isinstance(test, Mapping):
        test_rules = [rule_list(rules) for rules in test]
        for rules in test_rules:
            world.find(rules)
        return [rules for rules in test_rules if rules not in lists]
    test_rules = []
    for name, some in test.items():
        for rules in map(rule_list, some):
            world.find(rules)
            if name != "ID" and rules in lists:
                raise InputError(
                    f"{_name(rules)} was given as {name}, and it is trained. Take it out of one of the two."
                )
            if rules not in lists:
                test_rules.append(rules)
    return test_rules


def _name(rules: Sequence[str]) -> str:
    return "".join(rule.strip("[]") for rule in rules)


@dataclass(frozen=True, repr=False)
class Evaluation(Result):
    """What was asked, written and scored.

    Attributes
    ----------
    items : a row for each record: model, axis, cell, distance, rules, length, level, temperature, input, predict,
        label, the scores of `score`, ``tokens`` (share of the label's tokens that stand where they should), ``valid``
        (share of the steps that follow from the printed one before), ``follows`` (lists that the chain follows),
        ``follows_asked`` and ``follows_other`` (the asked list, another one), ``copies`` (the answer is the element)
    far : a row for each cell and list of rules: the numbers of `discrepancy`
    model : what was asked
    """

    items: pd.DataFrame
    far: pd.DataFrame
    model: str = ""

    def _reached(self) -> pd.Series:
        """Full exact match in distribution, by model and temperature."""
        trained = self.items[self.items["distance"] == "ID"]
        return trained.groupby(["model", "temperature"])["em_full"].mean()

    @property
    def learned(self) -> bool | None:
        """Whether full exact match in distribution reaches 0.9, of every model at its lowest temperature; None where
        nothing was asked in distribution."""
        coolest = self._reached().groupby("model").first()
        return None if coolest.empty else bool((coolest >= LEARNED).all())

    @property
    def note(self) -> str:
        """What a reader must know first; empty where all is well."""
        coolest = self._reached().groupby("model").first()
        if coolest.empty:
            return (
                "Nothing was asked of which it is known that it was trained (train=, --train), so a failure may be "
                "one to learn the task."
            )
        failed = coolest[coolest < LEARNED]
        notes = [
            f"ID accuracy {id_:.2f}: {'the model' if len(coolest) == 1 else model} never learned the task; its other "
            "cells are meaningless."
            for model, id_ in failed.items()
        ]
        return " ".join(notes)

    def cells(self) -> pd.DataFrame:
        """A row for each cell and distance: means of the scores, their standard deviations (``_sd``), discrepancies."""
        keys = ["model", "cell", "distance"]
        numbers = [c for c in self.items.columns if c.startswith(("em_", "ed_", "bleu_"))]
        groups = self.items.groupby(keys, sort=False)
        table = groups[numbers].mean()
        table = table.join(groups[numbers].std(ddof=0).add_suffix("_sd"))
        table.insert(0, "n", groups.size())
        for name in ("valid", "follows_asked", "follows_other", "copies", "tokens"):
            table[name] = groups[name].mean()
        for reasoning, answer in product((True, False), repeat=2):
            both = (self.items["em_reasoning"] == reasoning) & (self.items["em_answer"] == answer)
            name = f"reasoning_{'right' if reasoning else 'wrong'}_answer_{'right' if answer else 'wrong'}"
            table[name] = both.groupby([self.items[k] for k in keys], sort=False).mean()
        table["level"] = groups["level"].first()
        table["temperature"] = groups["temperature"].first()
        # Few records say a mean of 0 or 1 less surely: Wilson's interval.
        from statsmodels.stats.proportion import proportion_confint

        low, high = proportion_confint(groups["em_full"].sum(), table["n"], method="wilson")
        table["em_full_low"], table["em_full_high"] = low, high
        if len(self.far):
            table = table.join(self.far.groupby(keys, sort=False).mean(numeric_only=True))
        table = table.reset_index()
        # Where a model fails in distribution, at this temperature, its failures elsewhere say nothing.
        reached = table[["model", "temperature"]].merge(
            self._reached().rename("id").reset_index(), how="left", on=["model", "temperature"]
        )
        table["verdict"] = np.where(
            (reached["id"] < LEARNED) & (table["distance"] != "ID"), "inconclusive", ""
        )
        return table

    def table(self) -> pd.DataFrame:
        """The cells in the few columns that one reads first."""
        table = self.cells()
        columns = ["cell", "distance", "n", "em_full", "em_full_low", "em_full_high", "em_reasoning", "em_answer",
                  "ed_full", "bleu_full", "valid", "follows_other", "copies", "grams", "pairs", "places", "atoms",
                  "tv", "verdict"]  # fmt: skip
        return table[[name for name in columns if name in table]].round(3)

    def faithfulness(self, cell: str | None = None) -> pd.DataFrame:
        """Reasoning right or wrong against answer right or wrong, of one cell or of all."""
        rows = self.items if cell is None else self.items[self.items["cell"] == cell]
        return faithfulness(rows)

    def failures(self, n: int = 5) -> pd.DataFrame:
        """The first ``n`` records of each cell that were answered wrongly."""
        wrong = self.items[self.items["em_full"] == 0]
        columns = ["cell", "distance", "input", "label", "predict", "follows"]
        return wrong.groupby(["cell", "distance"], sort=False).head(n)[columns].reset_index(drop=True)

    def report(self) -> Report:
        """How often whole chains are right by distance, every cell, and a failure."""
        cells = self.cells()
        by = self.items.groupby("distance", sort=False)["em_full"].mean()
        parts = [f"{share:.0%} {DISTANCES[name][0]}" for name, share in by.items() if name in DISTANCES]
        overall = f"{self.items['em_full'].mean():.0%} of {len(self.items):,} records"
        near = [f"{name}: {DISTANCES[name][1]}." for name in DISTANCES if name in set(cells["distance"])]
        sections = [
            Section(
                "cells", "How much is exactly right?", tables={"": _columns(cells, SCORED)}, notes=(SCORES,)
            )
        ]
        if "tv" in cells:
            sections.append(
                Section("distances", "How far is that from training?", tables={"": _columns(cells, GAPS)},
                        notes=(FAR, " ".join(near)))
            )  # fmt: skip
        wrong = self.failures(1)
        if len(wrong):
            far = wrong[wrong["distance"] != "ID"]
            one = (far if len(far) else wrong).iloc[0]
            wrote = f"{one['predict'] or 'nothing'}" + (
                f" (follows {one['follows']})" if one["follows"] else ""
            )
            facts = {"asked": one["input"], "wrote": wrote, "right is": one["label"]}
            sections.append(Section("failure", f"For instance, {one['cell']}", facts=facts))
        faithful = self.faithfulness().rename_axis("reasoning").reset_index()
        sections.append(
            Section("faithfulness", "Is the answer right where the reasoning is?", tables={"": faithful}, folded=True)
        )  # fmt: skip
        return Report(
            "dataalchemy", self.model, f"Whole chains are exactly right in {', '.join(parts) or overall}.",
            warnings=(self.note,) if self.note else (),
            figure=("Exact match of whole chain, reasoning and answer", partial(draw_cells, cells, self._axis)),
            sections=sections,
        )  # fmt: skip

    @property
    def _axis(self) -> str:
        return str(self.items["axis"].iloc[0])

    def to_frame(self) -> pd.DataFrame:
        """A row per cell and distance, see `cells`."""
        return self.cells()

    def _content(self) -> dict[str, Any]:
        cells = self.cells()
        return {
            "model": self.model, "note": self.note, "learned": self.learned, "strata": ["distance"], "cells": cells,
        }  # fmt: skip

    def _write_more(self, folder: Path) -> None:
        """The items as records that `groundshift answers` reads, and the cells."""
        keys = zip(*(self.items[name] for name in ("axis", "cell", "input", "label")), strict=True)
        records = self.items.assign(
            id=[item_id({"item": [k, *key]}) for k, key in enumerate(keys)], task="dataalchemy", model=self.model,
            correct=self.items["em_full"].astype(float), parsed=1.0,
        )  # fmt: skip
        write_records(records, folder)
        write_table(self.cells(), folder / "cells.csv")


def _columns(cells: pd.DataFrame, titles: dict[str, str]) -> pd.DataFrame:
    """Those columns that say anything, under their titles."""
    names = [name for name in titles if name in cells and not cells[name].isin(["", np.nan]).all()]
    return cells[names].rename(columns=titles)


def evaluate(
    model: Model | Mapping[Any, Model] | Callable[[list[str]], list[str]],
    axis: Axis = "task",
    *,
    world: World | None = None,
    train: Sequence[Rules] | None = None,
    letters: Sequence[str] | None = None,
    unknown: Literal["untrained", "mean"] = "untrained",
    seed: int = 0,
    progress: bool = True,
    **asked: Any,
) -> Evaluation:
    """Ask a model along an axis.

    Parameters
    ----------
    model : from `train` or `open_model`; on the axes "size" and "coverage" several by the name or number of each; or a
        function of a list of prompts
    world, train, letters : what the model was trained on, where it does not know
    unknown : on the format axis, ``<unk>`` as it is or with the mean embedding, see `mean_unknown`
    asked : of `cells` (``test``, ``n``, ``levels``, ...)

    Raises
    ------
    InputError
        What `cells` raises; several models on an axis of one, or one on an axis of several; a record that is longer
        than what the model reads.

    Examples
    --------
    >>> world = World(["[F1]", "[F2]"])
    >>> def oracle(prompts):
    ...     questions = (world.asked(p) for p in prompts)
    ...     return [world.records(e[None], [r.token for r in rules])[0]["output"] for e, rules in questions]
    >>> result = evaluate(oracle, world=world, train=["F1F1", "F1F2", "F2F1"], n=5)
    >>> result.table()[["cell", "distance", "em_full", "tv"]].values.tolist()[-1]
    ['F2F2', 'CMP', 1.0, 1.0]
    """
    several = isinstance(model, Mapping)
    if several != (axis in ("size", "coverage")):
        raise InputError(
            f"axis={axis!r} takes {'one model' if several else 'several models, as a dictionary by size or coverage'}."
        )
    if unknown not in ("untrained", "mean") or (unknown == "mean" and callable(model)):
        raise InputError(
            f"unknown={unknown!r} was given; choose untrained or mean. A function has no embedding to average."
        )
    items, far, source = [], [], ""
    asked_models: dict[Any, Any] = dict(model) if isinstance(model, Mapping) else {None: model}
    for name, one in asked_models.items():
        own = isinstance(one, Model)
        here = world or (one.world if own else World())
        lists = [rule_list(rules) for rules in (train or (one.train if own else ()))]
        known: dict[str, Any] = {"trained_lengths": (here.length,), "trained_letters": (), "cot": True}
        if own:
            known |= {"trained_lengths": one.lengths, "trained_letters": one.letters, "cot": one.cot}
        if letters is not None:
            known["trained_letters"] = letters
        options = known | asked
        source = one.probe.source if own else getattr(one, "__name__", "a function")
        if unknown == "mean":
            one = mean_unknown(one)
        rng = np.random.default_rng([seed, 7])
        for cell in cells(here, lists, axis, seed=seed, **options):
            rows = _ask(one, cell, here, lists, options["cot"], seed, progress)
            gap = discrepancy(
                here, lists, cell.rules, rng, length=cell.length, letters=cell.letters, cot=options["cot"],
                lengths=options["trained_lengths"], trained=options["trained_letters"], drawn=6000,
            )  # fmt: skip
            key = {"model": str(name) if several else source, "cell": cell.name, "distance": cell.distance}
            rows.insert(0, "model", key["model"])
            if several:
                key["cell"] = rows["cell"] = f"{name} {cell.distance}"
                rows["level"] = float(name) if isinstance(name, int | float) else np.nan
            items.append(rows)
            far.append({**key, **gap})
    whole = pd.concat(items, ignore_index=True)
    return Evaluation(whole, pd.DataFrame(far), source)


def _ask(
    model: Any, cell: Cell, world: World, lists: list[tuple[str, ...]], cot: bool, seed: int, progress: bool
) -> pd.DataFrame:
    wanted = max(len(_tokens(model, row["output"])) for row in cell.records)
    if isinstance(model, Model) and model.probe.context is not None:
        longest = wanted + max(len(_tokens(model, row["input"])) for row in cell.records)
        if longest > model.probe.context:
            raise InputError(
                f"A record of {cell.name} has {longest} tokens and the model reads {model.probe.context}; ask for "
                "shorter elements or fewer rules."
            )
    # Room for two letters more than asked, and the end: too long an answer must show.
    room = wanted + 3
    written = answers(
        model, [r["input"] for r in cell.records], max_new=room, temperature=cell.temperature, seed=seed,
        progress=progress,
    )  # fmt: skip
    rows = _scored(written, cell.records, world, lists, cot)
    facts = pd.DataFrame({
        "axis": cell.axis, "cell": cell.name, "distance": cell.distance, "rules": _name(cell.rules),
        "length": cell.length, "level": cell.level, "temperature": cell.temperature,
    }, index=rows.index)  # fmt: skip
    return pd.concat([facts, rows], axis=1)


def _tokens(model: Any, text: str) -> list[Any]:
    return model.probe.tokenizer(text)["input_ids"] if isinstance(model, Model) else text.split()


def _scored(
    written: Sequence[str], records: Sequence[Record], world: World, lists: Sequence[Rules], cot: bool
) -> pd.DataFrame:
    """Predictions with scores and steps; the prompt before noise says what the steps were to be."""
    labels = [row["output"] for row in records]
    table = score(written, labels)
    rest = []
    for text, row in zip(written, records, strict=True):
        question = row.get("asked") or row["input"]
        words, gold = text.split(), row["output"].split()
        facts: dict[str, Any] = {
            "tokens": np.mean([w == g for w, g in zip(words + [""] * len(gold), gold, strict=False)])
        }
        try:
            steps = follow(question, text, world, [t for t in lists if len(t) > 1], cot=cot)
        except InputError:  # noise has left nothing that names element and rules
            facts |= dict.fromkeys(("valid", "follows_asked", "follows_other", "copies"), np.nan)
            facts["follows"] = ""
        else:
            mine = "".join(rule.token for rule in world.asked(question)[1])
            facts |= {
                "valid": float(np.mean(steps.valid)),
                "follows": " ".join(steps.follows),
                "follows_asked": float(mine in steps.follows),
                "follows_other": float(any(name != mine for name in steps.follows)),
                "copies": float(steps.copies),
            }
        rest.append({"input": row["input"], "predict": text, "label": row["output"], **facts})
    return pd.concat([pd.DataFrame(rest), table], axis=1)


def score_recorded(
    rows: Sequence[Mapping[str, str]], *, world: World | None = None, train: Sequence[Rules] = ()
) -> Evaluation:
    """Score recorded predictions: rows with ``prompt``, ``predict`` and ``label``.

    Cells are the lists of rules that the prompts ask for; distances need ``train``.

    Examples
    --------
    >>> row = {"prompt": "A B [F1] <answer>", "predict": "N O", "label": "N O"}
    >>> score_recorded([row]).table()["em_full"].tolist()
    [1.0]
    """
    world, lists = world or World(), [rule_list(rules) for rules in train]
    facts = []
    for row in rows:
        try:
            element, rules = world.asked(row["prompt"])
        except InputError:
            facts.append({"cell": "unreadable", "distance": "", "rules": "", "length": 0})
        else:
            tokens = tuple(rule.token for rule in rules)
            where = distance(tokens, lists) if lists else ""
            name = _name(tokens)
            facts.append({"cell": name, "distance": where, "rules": name, "length": len(element)})
    records = [{"input": r["prompt"], "output": r["label"].strip()} for r in rows]
    scored = _scored([r["predict"] for r in rows], records, world, lists, True)
    source = "recorded predictions"
    head = pd.DataFrame(facts).assign(model=source, axis="recorded", level=np.nan, temperature=0.0)
    return Evaluation(pd.concat([head, scored], axis=1), pd.DataFrame(), source)


# Calls on files -------------------------------------------------------------------------------------------


def ask_models(
    models: Sequence[str],
    *,
    axis: Axis = "task",
    train: Sequence[str] = (),
    letters: Sequence[str] = (),
    test: Sequence[str] = (),
    n: int = 100,
    unknown: Literal["untrained", "mean"] = "untrained",
    seed: int = 0,
    allow_missing: bool = False,
    progress: bool = True,
) -> Evaluation:
    """Ask a model along an axis of shift, and score whole chains, reasoning and answers.

    Parameters
    ----------
    models : model directory or id; several, as NAME=DIR, for the axes size and coverage
    axis : "task", "length", "format", "temperature", "size", "coverage" or "element"
        What is changed between training and question.
    train : lists that the model was trained on, where its directory does not say
    letters : letters that elements were trained with, as ABCDEFGH; or those of each place, as ABC,BCD
    test : lists to ask beside the trained ones; all others by default
    n : records of each list of rules in a cell
    unknown : "untrained" or "mean"
        The embedding of <unk> on the format axis.
    seed : random seed
    allow_missing : load a model whose files lack tensors

    Raises
    ------
    InputError
        Models that cannot be read, several on an axis of one; see also `evaluate`.
    """
    several = axis in ("size", "coverage")
    if not several and len(models) > 1:
        raise InputError(f"The axis {axis} asks one model; {len(models)} were given.")
    opened = [_opened(text, train, allow_missing) for text in models]
    options: dict[str, Any] = {"test": test} if test else {}
    return evaluate(
        dict(opened) if several else opened[0][1], axis, letters=letters or None, n=n, unknown=unknown, seed=seed,
        progress=progress, **options,
    )  # fmt: skip


def _opened(text: str, train: Sequence[str], allow_missing: bool) -> tuple[str | float, Model]:
    name, equals, source = text.partition("=")
    key: str | float = name
    with contextlib.suppress(ValueError):
        key = float(name)
    return key, open_model(source if equals else text, train=train, allow_missing=allow_missing)


def score_file(recorded: str | Path, *, train: Sequence[str] = (), rot_n: int = 13) -> Evaluation:
    """Score recorded predictions, those of the published pipeline among them.

    Parameters
    ----------
    recorded : JSONL with prompt, predict and label in each line
    train : lists that the model was trained on
    rot_n : places that F1 moves a letter on

    Raises
    ------
    InputError
        A file that cannot be read, or lines without these texts.
    """
    rows = read_records(recorded, ("prompt", "predict", "label"))
    return score_recorded(rows, world=World(rot_n=rot_n), train=train)


@dataclass(frozen=True, repr=False)
class Healed(Result):
    """How few records of a new list of rules heal a model, and what it forgets.

    Attributes
    ----------
    table : a row per number of ``records``: exact match of whole chains of the list to heal (``healed``) and of the
        trained lists (``trained``)
    rules : the list to heal
    models : number of records → healed model
    """

    table: pd.DataFrame
    rules: str
    models: Mapping[int, Model]

    def report(self) -> Report:
        """What was healed, and what was forgotten."""
        first, last = self.table.iloc[0], self.table.iloc[-1]
        return Report(
            "dataalchemy", self.rules,
            f"{int(last['records'])} records bring {self.rules} from {first['healed']:.0%} to {last['healed']:.0%} "
            f"exactly right; the trained lists go from {first['trained']:.0%} to {last['trained']:.0%}.",
            figure=("Exact match of whole chains by number of records", self._draw),
            sections=(Section("records", "How many records does it take?", tables={"": self.table}),),
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """A row per number of records."""
        return self.table

    def _content(self) -> dict[str, Any]:
        return {"rules": self.rules, "rows": self.table}

    def _write_more(self, folder: Path) -> None:
        """The healed models, a folder for each number of records."""
        for records, model in self.models.items():
            model.save(folder / str(records))

    def _draw(self, ax: Axes) -> None:
        for column, shade in (("healed", "#2f7fa8"), ("trained", "#9a9a9a")):
            label = self.rules if column == "healed" else "trained lists"
            ax.plot(self.table["records"], self.table[column], "o-", color=shade, label=label)
        ax.set_ylim(-0.02, 1.05)
        ax.set_xlabel("records")
        ax.set_ylabel("exact match")
        ax.legend()


def heal_model(
    model: str | Path,
    *,
    rules: str,
    n: Sequence[int] = (8, 32, 128),
    steps: int = 80,
    lr: float = 6e-3,
    train: Sequence[str] = (),
    seed: int = 0,
    allow_missing: bool = False,
    progress: bool = True,
) -> Healed:
    """How few records of a new list of rules heal it, and what is forgotten?

    Parameters
    ----------
    model : directory or id of a Hugging Face language model
    rules : the list of rules to heal, as F2F2
    n : numbers of records
    steps : number of optimiser steps
    lr : peak learning rate
    train : lists that the model was trained on, where its directory does not say
    seed : random seed
    allow_missing : load a model whose files lack tensors

    Raises
    ------
    InputError
        A model that cannot be read; rules that were trained already.
    """
    start = open_model(model, train=train, allow_missing=allow_missing)
    if rule_list(rules) in start.train:
        raise InputError(f"{rules} was trained already, so there is nothing to heal; name another list.")
    models = {records: heal(start, rules, records, steps=steps, lr=lr, seed=seed) for records in n}
    rows = []
    for records, one in {0: start, **models}.items():
        items = evaluate(one, train=start.train, test=[rules], seed=seed, progress=progress).items
        by = items["em_full"].groupby(items["distance"] == "ID").mean()
        rows.append({"records": records, "healed": by[False], "trained": by[True]})
    return Healed(pd.DataFrame(rows), rules, models)
