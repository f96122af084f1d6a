"""Write the site: a catalogue, a page for each study, its data to download.

Output is byte-stable for equal input; a page whose input has not changed is left as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundshift.errors import InputError
from groundshift.lab.console import held_text, margin_text
from groundshift.lab.execute import load_study
from groundshift.lab.identity import canonical_json
from groundshift.lab.registry import System, system_of, systems
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
    source: str | os.PathLike[str] = "runs", out: str | os.PathLike[str] = "site", *, scale: str = "cpu"
) -> Path:
    """Make the static site and return the path of its first page.

    Parameters
    ----------
    source : a store of runs, or a folder of published results
    out : folder of the site; an earlier site is brought up to date, anything else is refused
    scale : which runs of the store

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
    for slug, summary in summaries.items():
        about = catalogue[slug]
        study = load_study(f"{about.module}:study")
        hashes[slug] = _hash(study, summary, about)
        if known.get(slug) != hashes[slug]:
            _write_study(out, templates, study, about, summary)
    for name, shared in ASSETS.items():
        own = (files("groundshift.lab.site") / name).read_text(encoding="utf-8")
        _write(out / "assets" / name, shared + own)
    cards = [_card(about, summaries.get(about.slug)) for about in catalogue.values()]
    _write(
        out / "assets" / "catalogue.js", f"window.CATALOGUE = {_script_json([c['search'] for c in cards])};\n"
    )
    page = templates.get_template("index.html.j2").render(cards=cards, filters=_filters(cards), root="")
    _write(out / "index.html", page)
    _write(out / MARK, json.dumps(hashes, indent=1, sort_keys=True) + "\n")
    return out / "index.html"


def _summaries(source: Path, scale: str) -> tuple[dict[str, Summary], dict[str, System]]:
    """Results by slug, and what is to be said of the systems among them that are not in the house."""
    found, others = {}, {}
    for slug, summary in published(source).items():
        if slug not in systems() and "ref" in summary.data:
            others[slug] = system_of(load_study(summary.data["ref"]))
        if slug in systems() or slug in others:
            found[slug] = summary
    for path in sorted(source.glob(f"*/v*/{scale}/study.json")):
        slug = path.parts[-4]
        if slug not in found:
            name = slug if slug in systems() else json.loads(path.read_text())["ref"]
            run = open_run(name, scale=scale, store=source)
            if run.store.folder == path.parent and run.store.done():
                found[slug] = summarise(run)
                if slug not in systems():
                    others[slug] = system_of(run.study)
    if not found:
        raise InputError(
            f"{source} holds no results of scale {scale!r}; run a study first (groundshift run csts), or name a folder "
            "of runs or of published results."
        )
    return found, others


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
    env.filters.update(margin_text=margin_text, held_text=held_text)
    return env


def _hash(study: Study, summary: Summary, about: System) -> str:
    site = files("groundshift.lab.site")
    parts = (
        site / "study.html.j2",
        site / "base.html.j2",
        site / "drawings.py",
        files("groundshift.lab") / "console.py",
        files("groundshift") / "pages.py",
    )
    sources = [part.read_text() for part in parts]
    content = [*sources, canonical_json(summary.data), str(vars(about)), summary.table.to_csv(index=False)]
    content += [figure.name + figure.caption + figure.rows for figure in study.figures]
    return hashlib.blake2b("\0".join(content).encode(), digest_size=16).hexdigest()


def _write_study(out: Path, templates: Environment, study: Study, about: System, summary: Summary) -> None:
    data = out / "data" / about.slug
    _write(data / "summary.json", json.dumps(summary.data, indent=1, ensure_ascii=False) + "\n")
    _write(data / "cells.csv", summary.table.to_csv(index=False))
    summary.table.to_parquet(data / "cells.parquet", index=False)
    claims = [{**claim, "strip": strip(claim)} for claim in summary.data["claims"]]
    page = templates.get_template("study.html.j2").render(
        about=about,
        claims=claims,
        counts=_counts(summary),
        summary=summary.data,
        figures=figures(study, summary.table),
        downloads=("cells.csv", "cells.parquet", "summary.json"),
        root="../../",
    )
    _write(out / "studies" / about.slug / "index.html", page)


def _counts(summary: Summary | None) -> dict[str, int]:
    words = Counter(claim["verdict"] for claim in summary.data["claims"]) if summary else Counter()
    return {word: words[word] for word in WORDS}


def _card(about: System, summary: Summary | None) -> dict[str, Any]:
    """A system in the catalogue."""
    counts = _counts(summary)
    hardware = summary.data["environments"] if summary else []
    return {
        "about": about,
        "counts": counts,
        "run": summary is not None,
        "finished": summary.data["finished"] if summary else None,
        "hardware": ", ".join(
            sorted({env["gpu"] or f"{env['cpu']}, {env['cores']} cores" for env in hardware})
        ),
        "search": {
            "slug": about.slug,
            "text": " ".join(
                (about.slug, about.title, about.promise, about.room, about.modality, about.arxiv)
            ).lower(),
            "room": about.room,
            "modality": about.modality,
            "verdict": [word for word in WORDS if counts[word]] or ["not run"],
            "gpu": "yes" if about.gpu else "no",
        },
    }


def _filters(cards: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The values of each filter that occur."""
    return {
        "room": sorted({card["search"]["room"] for card in cards}),
        "verdict": [w for w in (*WORDS, "not run") if any(w in card["search"]["verdict"] for card in cards)],
        "modality": sorted({card["search"]["modality"] for card in cards}),
        "gpu": sorted({card["search"]["gpu"] for card in cards}),
    }


def _script_json(value: Any) -> str:
    """JSON that may stand in a script file or element."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True).replace("<", "\\u003c")


def _write(path: Path, text: str) -> None:
    """Write a page where it differs from what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.encode()
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
