"""``groundshift wcfm …``: a flow from noise to your data, and what its weighting sacrifices."""

from groundshift.commands.verbs import group, verb

app = group("wcfm")
OPTIONS = {"labels": "--label", "batch_size": "--batch"}
verb(
    app,
    "fit",
    "groundshift.generation:WCFM",
    table="X",
    options=OPTIONS,
    hidden={"network": "a module"},
    out="required",
)
verb(app, "sample", "groundshift.generation:sample_flow", out="required")
verb(app, "diagnose", "groundshift.generation:diagnose", table="X", options=OPTIONS)
