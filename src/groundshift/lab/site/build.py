"""Write the site: systems by question, all claims on one page, a page for each study, its data to download.

Output is byte-stable for equal input; a page whose input has not changed is left as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundshift.errors import InputError
from groundshift.lab.console import caught_text, held_text, margin_text, reason_text
from groundshift.lab.execute import load_study
from groundshift.lab.identity import canonical_json
from groundshift.lab.registry import CATEGORIES, USERS, System, system_of, systems
from groundshift.lab.runs import open_run
from groundshift.lab.site.drawings import figures, strip
from groundshift.lab.summary import Summary, published, summarise
from groundshift.pages import stylesheet, templates

if TYPE_CHECKING:
    from jinja2 import Environment

    from groundshift.lab.study import Study

__all__ = ["report"]

MARK = ".groundshift-site"
"""Names the folder as ours and keeps the hash of each page's input."""
WORDS = ("shown", "not shown", "inconclusive")
SIGNS = {"shown": "✓", "not shown": "✗", "inconclusive": "?"}
ASSETS = {"style.css": stylesheet(), "search.js": ""}
"""Each with what goes in front of it."""


def report(
    source: str | os.PathLike[str] = "runs",
    out: str | os.PathLike[str] = "site",
    *,
    scale: str = "cpu",
    docs: str | None = None,
) -> Path:
    """Make the static site and return the path of its first page.

    Parameters
    ----------
    source : a store of runs, or a folder of published results
    out : folder of the site; an earlier site is brought up to date, anything else is refused
    scale : which runs of the store
    docs : address or folder of the built documentation, to which pages link; by default ``docs-site`` beside
        ``source``, or else the texts that it is built from in ``docs``, if they are there

    Raises
    ------
    InputError
        No results in ``source``; ``out`` holds something that is not a site of ours.
    """
    source, out = Path(source), Path(out)
    summaries, others = _summaries(source, scale)
    catalogue = {**systems(), **others}
    known = _own(out)
    templates = _templates()
    hashes = {}
    guides = {slug: _guide(slug, docs, source.resolve().parent, out) for slug in catalogue}
    for slug, summary in summaries.items():
        about, guide = catalogue[slug], guides[slug]
        study = load_study(f"{about.module}:study")
        hashes[slug] = _hash(study, summary, about, guide)
        if known.get(slug) != hashes[slug]:
            _write_study(out, templates, study, about, summary, guide)
    for name, shared in ASSETS.items():
        own = (files("groundshift.lab.site") / name).read_text(encoding="utf-8")
        _write(out / "assets" / name, shared + own)
    cards = [_card(about, summaries.get(about.slug)) for about in catalogue.values()]
    claims = [
        {**claim, "about": about}
        for slug, about in catalogue.items()
        if slug in summaries
        for claim in summaries[slug].data["claims"]
    ]
    counts = _counts(claims)
    index = {
        "cards": cards,
        "categories": _grouped(cards, "category", CATEGORIES),
        "users": _grouped([card for card in cards if card["about"].question], "user", USERS),
        "filters": _filters(cards),
        "counts": counts,
    }
    _write(out / "index.html", templates.get_template("index.html.j2").render(**index, root=""))
    page = templates.get_template("claims.html.j2").render(
        claims=claims, counts=counts, filters=_claim_filters(claims), root=""
    )
    _write(out / "claims.html", page)
    _write(out / MARK, json.dumps(hashes, indent=1, sort_keys=True) + "\n")
    return out / "index.html"


def _guide(slug: str, docs: str | None, beside: Path, out: Path) -> str:
    """The address of a system's page in the documentation, seen from its study's page; empty where there is none."""
    if docs is not None and "://" in docs:
        return f"{docs.rstrip('/')}/systems/{slug}/"
    built = Path(docs) if docs is not None else beside / "docs-site"
    for page in (built / "systems" / slug / "index.html", beside / "docs" / "systems" / f"{slug}.md"):
        if page.is_file():
            return Path(os.path.relpath(page, out / "studies" / slug)).as_posix()
    return ""


def _summaries(source: Path, scale: str) -> tuple[dict[str, Summary], dict[str, System]]:
    """Results by slug, and what is to be said of the systems among them that are not in the library."""
    summaries, others = {}, {}
    for slug, summary in published(source).items():
        if slug not in systems() and "ref" in summary.data:
            others[slug] = system_of(load_study(summary.data["ref"]))
        if slug in systems() or slug in others:
            summaries[slug] = summary
    for path in sorted(source.glob(f"*/v*/{scale}/study.json")):
        slug = path.parts[-4]
        if slug not in summaries:
            name = slug if slug in systems() else json.loads(path.read_text())["ref"]
            run = open_run(name, scale=scale, store=source)
            if run.store.folder == path.parent and run.store.done():
                summaries[slug] = summarise(run)
                if slug not in systems():
                    others[slug] = system_of(run.study)
    if not summaries:
        raise InputError(
            f"{source} holds no results of scale {scale!r}; run a study first (groundshift run csts), or name a folder "
            "of runs or of published results."
        )
    return summaries, others


def _own(out: Path) -> dict[str, str]:
    """Hashes of the pages that are there; a folder that is not a site of ours is refused."""
    if (out / MARK).exists():
        return json.loads((out / MARK).read_text())
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} exists and is not a groundshift site; name an empty or a new folder with --out."
        )
    return {}


def _templates() -> Environment:
    env = templates("groundshift.lab", "site")
    env.globals.update(SIGNS=SIGNS, WORDS=WORDS)
    env.filters.update(
        margin_text=margin_text, held_text=held_text, reason_text=reason_text, caught_text=caught_text
    )
    return env


def _hash(study: Study, summary: Summary, about: System, guide: str) -> str:
    site = files("groundshift.lab.site")
    parts = (
        site / "study.html.j2",
        site / "base.html.j2",
        site / "drawings.py",
        site / "build.py",
        files("groundshift.lab") / "console.py",
        files("groundshift") / "pages.py",
    )
    sources = [part.read_text() for part in parts]
    content = [
        *sources,
        canonical_json(summary.data),
        str(vars(about)),
        guide,
        summary.table.to_csv(index=False),
    ]
    content += [figure.name + figure.caption + figure.rows for figure in study.figures]
    return hashlib.blake2b("\0".join(content).encode(), digest_size=16).hexdigest()


def _write_study(
    out: Path, templates: Environment, study: Study, about: System, summary: Summary, guide: str
) -> None:
    data = out / "data" / about.slug
    _write(data / "summary.json", json.dumps(summary.data, indent=1, ensure_ascii=False) + "\n")
    _write(data / "cells.csv", summary.table.to_csv(index=False))
    summary.table.to_parquet(data / "cells.parquet", index=False)
    claims = [{**claim, "strip": strip(claim)} for claim in summary.data["claims"]]
    page = templates.get_template("study.html.j2").render(
        about=about,
        claims=claims,
        counts=_counts(claims),
        sentences=sentences(claims),
        guide=guide,
        summary=summary.data,
        figures=figures(study, summary.table),
        downloads=("cells.csv", "cells.parquet", "summary.json"),
        root="../../",
    )
    _write(out / "studies" / about.slug / "index.html", page)


def sentences(claims: list[dict[str, Any]]) -> tuple[str, str]:
    """Two sentences on a study: what held, and what did not and why."""
    total = f"{len(claims)} claim{'' if len(claims) == 1 else 's'}"
    shown = [claim for claim in claims if claim["verdict"] == "shown"]
    others = [claim for claim in claims if claim["verdict"] != "shown"]
    if not shown:
        held = f"None of the {total} is shown."
    else:
        first = (
            f"{'All' if not others else len(shown)} of the {total} {'is' if len(shown) == 1 else 'are'} shown"
        )
        again = [claim for claim in shown if claim.get("replications")]
        kept = sum(all(a["verdict"] == "shown" for a in claim["replications"]) for claim in again)
        fresh = f", {kept} of {len(again)} also with fresh random draws" if again else ""
        held = f"{first}{fresh}: {_listed(shown, lambda claim: '')}."
    if not others:
        return held, "No claim is refuted or left open."
    return held, f"Not established: {_listed(others, _why)}."


NAMED = 2
"""How many claims a sentence names; the table below it has them all."""


def _listed(claims: list[dict[str, Any]], why: Callable[[dict[str, Any]], str]) -> str:
    # A refuted claim tells more than an open one, and one that continues another tells little by itself.
    claims = sorted(claims, key=lambda c: (c["verdict"] == "inconclusive", c["text"][:1].islower()))
    # What is measured stands in brackets at the end of a claim; the table below has it.
    texts = [re.sub(r"(?<=\S) \([^()]*\)$", "", claim["text"]) for claim in claims[:NAMED]]
    named = [f"“{text}” ({c['id']}){why(c)}" for text, c in zip(texts, claims[:NAMED], strict=True)]
    if len(claims) > NAMED:
        named.append(f"and {len(claims) - NAMED} more")
    return "; ".join(named)


def _why(claim: dict[str, Any]) -> str:
    return f" is {claim['verdict']}, because {reason_text(claim)}"


def _counts(claims: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    words = Counter(claim["verdict"] for claim in claims)
    return {word: words[word] for word in WORDS}


def _card(about: System, summary: Summary | None) -> dict[str, Any]:
    """A system in the catalogue."""
    counts = _counts(summary.data["claims"] if summary else ())
    hardware = summary.data["environments"] if summary else []
    texts = (
        about.slug,
        about.title,
        about.promise,
        about.question,
        about.category,
        about.modality,
        about.arxiv,
    )
    return {
        "about": about,
        "counts": counts,
        "run": summary is not None,
        "finished": summary.data["finished"] if summary else None,
        "hardware": ", ".join(
            sorted({env["gpu"] or f"{env['cpu']}, {env['cores']} cores" for env in hardware})
        ),
        "text": " ".join(texts).lower(),
        "verdicts": [word for word in WORDS if counts[word]] or ["not run"],
    }


def _grouped(
    cards: list[dict[str, Any]], field: str, names: Mapping[str, str]
) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Cards by a field of their system: those that have a name in its order, then any other."""
    values = dict.fromkeys([*names, *(getattr(card["about"], field) for card in cards)])
    groups = {value: [card for card in cards if getattr(card["about"], field) == value] for value in values}
    return [(value, names.get(value, ""), group) for value, group in groups.items() if group]


def _filters(cards: list[dict[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """The filters of the catalogue: name, label and the values that occur."""
    abouts = [card["about"] for card in cards]
    occurring = {word for card in cards for word in card["verdicts"]}
    return [
        ("category", "Category", list(dict.fromkeys(about.category for about in abouts))),
        ("verdict", "Verdict", [word for word in (*WORDS, "not run") if word in occurring]),
        ("modality", "Data", sorted({about.modality for about in abouts})),
        ("gpu", "Needs a GPU", sorted({"yes" if about.gpu else "no" for about in abouts})),
    ]


def _claim_filters(claims: list[dict[str, Any]]) -> list[tuple[str, str, list[str]]]:
    """The filters of the page of all claims."""
    verdicts = {claim["verdict"] for claim in claims}
    return [
        ("category", "Category", list(dict.fromkeys(claim["about"].category for claim in claims))),
        ("system", "System", list(dict.fromkeys(claim["about"].slug for claim in claims))),
        ("verdict", "Verdict", [word for word in WORDS if word in verdicts]),
        ("held", "With other random draws", ["held", "did not hold", "not run again"]),
    ]


def _write(path: Path, text: str) -> None:
    """Write a page where it differs from what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode()
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
