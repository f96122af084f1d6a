"""``groundshift cdnod …``: which mechanisms changed, what causes what, and how each mechanism moved."""

from groundshift.commands.verbs import group, verb

app = group("cdnod")
verb(
    app,
    "fit",
    "groundshift.discovery:CDNOD",
    table="X",
    options={"groups": "--group", "draws": "--bootstrap"},
    kind_word="domain_kind",
)
verb(
    app,
    "direction",
    "groundshift.discovery.cdnod:direction",
    table="table",
    options={"groups": "--group"},
    kind_word="domain_kind",
)
verb(
    app,
    "force",
    "groundshift.discovery.cdnod:force",
    table="table",
    options={"groups": "--group"},
    kind_word="domain_kind",
)
