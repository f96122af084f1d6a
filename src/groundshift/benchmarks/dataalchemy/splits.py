"""Training laws and test laws: which lists of rules are trained, which are asked, and how far apart they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from groundshift.benchmarks.dataalchemy.records import Rules, World, rule_list
from groundshift.errors import InputError
from groundshift.worlds.letters import same

__all__ = ["Scenario", "Split", "coverage", "discrepancy", "distance", "novel", "scenario"]

NAMES = ("ID", "CMP", "POOD", "OOD")
Style = Literal["paper", "code"]


@dataclass(frozen=True)
class Scenario:
    """Lists of rules to train and one to ask, with the definition that they follow."""

    name: str
    style: str
    train: tuple[tuple[str, ...], ...]
    test: tuple[str, ...]


def scenario(name: str, train: Rules, held_out: Rules = (), *, style: Style | None = None) -> Scenario:
    """What is trained and what is asked at a distance: ID, CMP, POOD or OOD.

    The paper's figure and its code define the distances differently. ``style="paper"``, with a the first rule of
    ``train`` and b the first of ``held_out``: ID trains aa and asks it; CMP trains aa, ab, ba and asks bb; POOD
    trains aa and asks ab; OOD trains aa and asks bb. ``style="code"`` trains the one list ``train`` and asks: ID the
    list; CMP the list backwards; POOD the list with b as its last rule; OOD b repeated.

    Raises
    ------
    InputError
        An unknown name; no style; nothing held out where it is needed; rules with which CMP, POOD or OOD would ask for
        what is trained.

    Examples
    --------
    >>> scenario("CMP", "F1", "F2", style="paper").test
    ('[F2]', '[F2]')
    >>> scenario("CMP", "F1F2", style="code").test
    ('[F2]', '[F1]')
    """
    train_rules, other = rule_list(train), rule_list(held_out)
    if name not in NAMES or (style is None and name != "ID") or style not in (None, "paper", "code"):
        raise InputError(
            f"scenario({name!r}, style={style!r}) was asked for. The names are {', '.join(NAMES)}. There are two "
            'definitions: style="paper" (CMP trains aa, ab, ba and asks bb; POOD trains aa and asks ab; OOD trains aa '
            'and asks bb) and style="code" (one trained list; CMP asks it backwards; POOD replaces its last rule; OOD '
            "repeats the held-out rule)."
        )
    needs_other = name in ("POOD", "OOD") or (name == "CMP" and style == "paper")
    if not train_rules or (needs_other and not other):
        raise InputError(f"scenario({name!r}) needs a rule in train and one in held_out.")
    b = other[0] if other else ""
    if style == "code" or (style is None and len(train_rules) > 1):
        test = {
            "ID": train_rules,
            "CMP": train_rules[::-1],
            "POOD": (*train_rules[:-1], b),
            "OOD": (b,) * len(train_rules),
        }[name]
        result = Scenario(name, style or "code", (train_rules,), test)
    else:
        a = train_rules[0]
        trained = ((a, a), (a, b), (b, a)) if name == "CMP" else ((a, a),)
        pair = {"ID": (a, a), "CMP": (b, b), "POOD": (a, b), "OOD": (b, b)}[name]
        result = Scenario(name, "paper", trained, pair)
    if name != "ID" and result.test in result.train:
        raise InputError(
            f"{name} would ask for {''.join(result.test)}, which is trained (train={''.join(train_rules)}, "
            f"held_out={''.join(other) or 'none'}); give rules that differ."
        )
    return result


def distance(test: Rules, train: Sequence[Rules]) -> str:
    """The name of the distance of any list from any set of trained ones, after the paper's figure.

    ID: it is trained. CMP: all of its rules are. POOD: some of them are. OOD: none is.

    >>> [distance(t, ["F1F1", "F1F2"]) for t in ("F1F2", "F2F2", "F1F3", "F3F3")]
    ['ID', 'CMP', 'POOD', 'OOD']
    """
    test_rules, lists = rule_list(test), [rule_list(t) for t in train]
    if test_rules in lists:
        return "ID"
    known = {rule for rules in lists for rule in rules}
    seen = [rule in known for rule in test_rules]
    return "CMP" if all(seen) else "POOD" if any(seen) else "OOD"


@dataclass(frozen=True)
class Split:
    """Lists of two rules that are trained, and those that are held out."""

    train: tuple[tuple[str, ...], ...]
    test: tuple[tuple[str, ...], ...]


def coverage(tokens: Sequence[str], share: float, rng: np.random.Generator, *, places: int = 2) -> Split:
    """Train a random share of all pairs of rules, hold out the rest.

    Parameters
    ----------
    tokens : m rules
    share : of the m² pairs; at least m of them are trained, since every rule must stand in both places
    places : 2: every rule is trained in both places. 1: a control, in which half of the rules are trained in the
    first place
        only and half in the second only: the share is of those pairs, and all others are held out

    Raises
    ------
    InputError
        A share outside (0, 1], or too few pairs for every rule to stand where it should.

    Examples
    --------
    >>> split = coverage(["[F1]", "[F2]", "[F3]"], 0.5, np.random.default_rng(0))
    >>> len(split.train), len(split.test), {a for a, _ in split.train} == {b for _, b in split.train}
    (4, 5, True)
    """
    names = [*tokens]
    if not 0 < share <= 1 or places not in (1, 2):
        raise InputError(
            f"share={share}, places={places} was given; a share in (0, 1] and 1 or 2 are needed."
        )
    pairs = list(product(names, repeat=2))
    mixed = [names[i] for i in rng.permutation(len(names))]
    half = len(mixed) // 2
    firsts, seconds = (mixed[:half], mixed[half:]) if places == 1 else (mixed, mixed)
    open_pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    open_pairs = [(a, b) for a, b in open_pairs if a in firsts and b in seconds]
    count = round(share * len(open_pairs))
    # A cover first: every rule once in each of its places.
    after = [seconds[i] for i in rng.permutation(len(seconds))]
    longer = max(len(firsts), len(seconds))
    cover = [(firsts[i % len(firsts)], after[i % len(after)]) for i in range(longer)]
    if count < len(cover):
        raise InputError(
            f"A share of {share:g} is {count} of {len(open_pairs)} pairs; at least {len(cover)} are needed for every "
            "rule to be trained where it should."
        )
    chosen = (cover + [pair for pair in open_pairs if pair not in cover])[:count]
    return Split(tuple(chosen), tuple(pair for pair in pairs if pair not in chosen))


def novel(world: World, test: Sequence[Rules], train: Sequence[Rules]) -> list[bool]:
    """For each list, whether no trained list gives its answers: such a list cannot be solved by another that is known.

    >>> novel(World(), ["F2F1", "F2F2"], ["F1F2"])
    [False, True]
    """
    length, size = world.length, world.size
    return [not any(same(world.find(t), world.find(r), length, size) for r in train) for t in test]


def discrepancy(
    world: World,
    train: Sequence[Rules],
    test: Rules,
    rng: np.random.Generator,
    *,
    lengths: Sequence[int] | None = None,
    length: int | None = None,
    letters: Sequence[str] = (),
    trained: Sequence[str] = (),
    drawn: int = 24_000,
    cot: bool = True,
) -> dict[str, float]:
    """How far what is asked is from what was trained, computed from the two laws.

    Parameters
    ----------
    train, lengths, trained : trained lists of rules, lengths (default: the world's) and letters (see `World.places`)
    test, length, letters : what is asked
    drawn : records drawn of the training law, for ``grams``; as many as training reads

    Returns
    -------
    dict
        ``grams``: share of the 3-grams of the gold outputs that stand in training outputs. ``pairs``: share of
        neighbouring rules of the list that are neighbours in training. ``places``: share of the (rule, place) pairs
        that are trained. ``atoms``: share of the (letter, place) pairs. ``length_gap``, ``steps_gap``: to the nearest
        trained length and number of rules. ``tv``: total variation distance of the two uniform laws over (element,
        list), exact.
    """
    test_rules, lists = rule_list(test), [rule_list(t) for t in train]
    known, own = tuple(lengths or [world.length]), length or world.length

    def grams(rules: Rules, n: int, size: int, some: Sequence[str]) -> NDArray[np.int64]:
        lines, prompt = world.encode(world.random_elements(rng, n, size, some), rules, cot=cot)
        out, words = lines[:, prompt:], len(world.lexicon)
        return ((out[:, :-2] * words + out[:, 1:-1]) * words + out[:, 2:]).ravel()

    each = -(-drawn // (len(lists) * len(known)))
    seen = np.unique(np.concatenate([grams(r, each, size, trained) for r in lists for size in known]))
    gold = grams(test_rules, 500, own, letters)
    neighbours = {pair for rules in lists for pair in pairwise(rules)}
    mine = [*pairwise(test_rules)]
    there = {(place, rule) for rules in lists for place, rule in enumerate(rules)}
    asked_letters = world.places(letters, own)
    # No letter was trained in a place beyond the longest element.
    known_letters = [*world.places(trained, own)[: max(known)], *[np.empty(0)] * (own - max(known))]
    common = [int(np.isin(a, b).sum()) for a, b in zip(asked_letters, known_letters, strict=True)]
    # Both laws are uniform over (element, list), so that counting is enough.
    trained_lines = len(set(lists)) * sum(math.prod(map(len, world.places(trained, size))) for size in known)
    asked_lines = math.prod(map(len, asked_letters))
    shared = math.prod(common) * (own in known and test_rules in lists)
    return {
        "grams": float(np.isin(gold, seen).mean()) if gold.size else 1.0,
        "pairs": sum(pair in neighbours for pair in mine) / len(mine) if mine else float(test_rules in lists),
        "places": float(np.mean([(place, rule) in there for place, rule in enumerate(test_rules)])),
        "atoms": float(np.mean([c / len(pool) for c, pool in zip(common, asked_letters, strict=True)])),
        "length_gap": float(min(abs(own - size) for size in known)),
        "steps_gap": float(min(abs(len(test_rules) - len(rules)) for rules in lists)),
        "tv": 1 - shared / max(trained_lines, asked_lines),
    }
