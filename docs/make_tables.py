"""Write the tables of README.md and docs/: systems from the registry, claims from results/.

``--check`` only says whether they are so.
"""

import json
import sys
from pathlib import Path

from groundshift.lab.registry import systems
from groundshift.pages import number

ROOT = Path(__file__).parent.parent


def systems_table(link):
    rows = ["| system | room | what it does for you | paper |", "|---|---|---|---|"]
    for s in systems().values():
        paper = f"[{s.arxiv}]({s.url})" if s.arxiv else s.paper
        rows.append(f"| [{s.slug}]({link.format(s.slug)}) | {s.room} | {s.promise} | {paper} |")
    return "\n".join(rows)


def claims_table(slug):
    summary = ROOT / "results" / slug / "summary.json"
    if not summary.is_file():
        return None
    rows = [
        "| | claim | paper | measured [interval] | margin | control | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for c in json.loads(summary.read_text(encoding="utf-8"))["claims"]:
        measured = f"{number(c['mean'])} [{number(c['low'])}, {number(c['high'])}]"
        control = c["control_measured"]
        did = "as it must" if control["ok"] else "**not** as it must"
        cells = (c["id"], c["text"], c["paper"], measured, margin_of(c), f"{number(control['mean'])}, {did}")
        rows.append(f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} | **{c['verdict']}** |")
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
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    if not found:
        return before
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def main():
    texts = {
        ROOT / "README.md": ("systems", systems_table("docs/systems/{}.md")),
        ROOT / "docs/systems/index.md": ("systems", systems_table("{}.md")),
    }
    for slug in systems():
        table = claims_table(slug)
        if table is not None:
            texts[ROOT / f"docs/systems/{slug}.md"] = ("claims", table)
    for path, (name, table) in texts.items():
        text = filled(path, name, table)
        if "--check" in sys.argv:
            if path.read_text(encoding="utf-8") != text:
                sys.exit(f"{path.relative_to(ROOT)} is not what it is made from; run `make docs`.")
        else:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
