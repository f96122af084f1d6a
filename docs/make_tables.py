"""Write the tables of README.md and docs/: systems from the registry, claims from results/, packages from the tree.

``--check`` only says whether they are so.
"""

import ast
import json
import sys
from collections import Counter
from pathlib import Path

from groundshift.lab.console import caught_text, held_text, measured_text, reason_text
from groundshift.lab.execute import load_study
from groundshift.lab.registry import USERS, systems
from groundshift.lab.summary import published_summary as published
from groundshift.pages import number

ROOT = Path(__file__).parent.parent


def systems_table(link):
    rows = ["| system | category | what it does for you | paper |", "|---|---|---|---|"]
    for s in systems().values():
        paper = f"[{s.arxiv}]({s.url})" if s.arxiv else s.paper
        rows.append(f"| [{s.slug}]({link.format(s.slug)}) | {s.category} | {s.promise} | {paper} |")
    return "\n".join(rows)


def questions_table(link):
    """For each user the systems, and then the questions that each of them answers."""
    first = ["| your situation | systems |", "|---|---|"]
    rows = ["| you ask | groundshift answers | claims shown |", "|---|---|---|"]
    for user, words in USERS.items():
        own = [s for s in systems().values() if s.user == user and s.question]
        first.append(f"| **{words}** | {' '.join(f'[`{s.slug}`]({link.format(s.slug)})' for s in own)} |")
        rows.append(f"| **{words}** | | |")
        for s in own:
            rows.append(f"| {s.question} | [`{s.slug}`]({link.format(s.slug)}) | {shown(s.slug)} |")
    last = "**You read the papers**", "`groundshift report results`"
    first.append(f"| {last[0]} | {last[1]} |")
    rows += [f"| {last[0]} | | |", f"| Does the claim hold, and where does it stop holding? | {last[1]} | |"]
    return "\n".join([*first, "", "Question by question:", "", *rows])


def shown(slug):
    """How many of a system's claims are shown, and what came of these with fresh random draws."""
    summary = published(ROOT / "results", slug)
    if summary is None:
        return ""
    claims = [claim for claim in summary.data["claims"] if claim["verdict"] == "shown"]
    again = [claim for claim in claims if claim["replications"]]
    kept = sum(all(a["verdict"] == "shown" for a in claim["replications"]) for claim in again)
    fresh = f"; {kept} of {len(again)} again" if again else ""
    return f"{len(claims)} of {len(summary.data['claims'])}{fresh}"


def claims_table(slug):
    summary = published(ROOT / "results", slug)
    if summary is None:
        return None
    rows = [
        "| | claim | paper | measured [interval] | margin | negative control | verdict | held in | mutants caught |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for c in summary.data["claims"]:
        control = c["control_measured"]
        did = (
            f"{number(control['mean'])}, {'passed' if control['ok'] else '**failed**'}" if control else "none"
        )
        held = held_text(c).removeprefix("held in ") or "not run again"
        cells = (c["id"], c["text"], c["paper"], measured_text(c), margin_of(c), did)
        texts = " | ".join(str(cell).replace("|", "/") for cell in cells)
        rows.append(f"| {texts} | **{c['verdict']}** | {held} | {caught_text(c) or '–'} |")
    now, today = summary.data["version"], load_study(f"{systems()[slug].module}:study")
    if now < today.version:
        rows += [
            "",
            f"This is the run of version {now} of the study. Version {today.version} has {len(today.claims)} claims "
            f"and {len(today.mutants)} mutants, and has not been run in full yet; `groundshift show {slug}` lists its "
            "claims.",
        ]
    return "\n".join(rows)


def corrected_table():
    """What became of the claims that were published before studies had mutants, system by system."""
    before = json.loads((ROOT / "results/before-mutants.json").read_text(encoding="utf-8"))
    rows = [
        "| study | version | shown | claims | dropped | new | other word |",
        "|---|---|---|---|---|---|---|",
    ]
    words, total = [], Counter()
    for slug, old in before.items():
        now, then = published(ROOT / "results", slug).data, old["claims"]
        if now["version"] == old["version"]:
            today = load_study(f"{systems()[slug].module}:study").version
            state = "not revised yet" if today == old["version"] else f"version {today} not run in full yet"
            rows.append(f"| {slug} | {old['version']} | {state} | {len(then)} | | | |")
            continue
        claims = {claim["id"]: claim for claim in now["claims"]}
        changed = [id for id in then if id in claims and claims[id]["verdict"] != then[id]["verdict"]]
        counts = {
            "before": sum(claim["verdict"] == "shown" for claim in then.values()),
            "now": sum(claim["verdict"] == "shown" for claim in claims.values()),
            "old": len(then), "claims": len(claims), "dropped": len(set(then) - set(claims)),
            "new": len(set(claims) - set(then)), "changed": len(changed),
        }  # fmt: skip
        total.update(counts)
        rows.append(_corrected(slug, f"{old['version']} → {now['version']}", counts))
        words += [
            f"| {slug} {id} | {claims[id]['text']} | {then[id]['verdict']} | {claims[id]['verdict']} | "
            f"{reason_text(claims[id])} |"
            for id in changed
        ]
    rows.append(_corrected("**revised**", "", total))
    listed = ["| claim | as it reads now | before | now | why |", "|---|---|---|---|---|", *words]
    return "\n".join([*rows, "", "Claims that have another word than before:", "", *listed])


def _corrected(name, version, n):
    return (
        f"| {name} | {version} | {n['before']} → {n['now']} | {n['old']} → {n['claims']} | {n['dropped']} "
        f"| {n['new']} | {n['changed']} |"
    )


def packages_table():
    """The packages and modules of the library, each with the first line of its docstring."""
    rows = ["| in `src/groundshift/` | |", "|---|---|"]
    for path in sorted((ROOT / "src/groundshift").iterdir()):
        source = path / "__init__.py" if path.is_dir() else path
        if source.suffix == ".py" and source.is_file() and not path.name.startswith("__"):
            text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
            first = " ".join(text.partition("\n\n")[0].split())
            rows.append(f"| `{path.name}{'/' if path.is_dir() else ''}` | {first} |")
    return "\n".join(rows)


def margin_of(claim):
    margin = number(claim["margin"])
    every = " (every seed)" if claim["kind"] == "bound" else ""
    if claim["kind"] == "equivalence":
        return f"±{margin}"
    if claim["kind"] == "rate":
        return f"< {margin} + {number(claim['slack'])}"
    return f"= {margin}" if claim["kind"] == "identity" else f"{claim['direction']} {margin}{every}"


def filled(path, name, table):
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, text, rest = path.read_text(encoding="utf-8").partition(begin)
    if not text:
        return before
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def main():
    texts = {
        ROOT / "README.md": ("questions", questions_table("docs/systems/{}.md")),
        ROOT / "docs/architecture.md": ("packages", packages_table()),
        ROOT / "docs/systems/index.md": ("systems", systems_table("{}.md")),
        ROOT / "docs/our-claims.md": ("corrected", corrected_table()),
    }
    for slug in systems():
        table = claims_table(slug)
        if table is not None:
            texts[ROOT / f"docs/systems/{slug}.md"] = ("claims", table)
    for path, (name, table) in texts.items():
        text = filled(path, name, table)
        if "--check" in sys.argv:
            if path.read_text(encoding="utf-8") != text:
                sys.exit(
                    f"{path.relative_to(ROOT)} does not match the registry, results/ and the tree; run `make docs`."
                )
        else:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
