"""Write the tables of systems in README.md and docs/ from the registry; ``--check`` only says whether they are so."""

import sys
from pathlib import Path

from groundshift.lab.registry import systems

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- systems -->", "<!-- /systems -->"


def table(link):
    rows = ["| system | room | what it does for you | paper |", "|---|---|---|---|"]
    for s in systems().values():
        rows.append(f"| [{s.slug}]({link.format(s.slug)}) | {s.room} | {s.promise} | [{s.arxiv}]({s.url}) |")
    return "\n".join(rows)


def filled(path, link):
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{table(link)}\n{END}{after}"


def main():
    targets = {ROOT / "README.md": "docs/systems/{}.md", ROOT / "docs/systems/index.md": "{}.md"}
    for path, link in targets.items():
        text = filled(path, link)
        if "--check" in sys.argv:
            if path.read_text(encoding="utf-8") != text:
                sys.exit(f"{path.relative_to(ROOT)} is not what the registry says; run `make docs`.")
        else:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
