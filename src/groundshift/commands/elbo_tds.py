"""``groundshift elbo_tds …``: which features move, a classifier that lasts, scores, and training day by day."""

from groundshift.commands.verbs import group, verb

app = group("elbo_tds")
verb(app, "shift", "groundshift.adaptation.elbo_tds:shift", table="X", options={"ids": "--id"})
verb(
    app,
    "fit",
    "groundshift.adaptation:ELBOTDSClassifier",
    table="X",
    options={"ids": "--id", "batch_size": "--batch", "method": "--method"},
    hidden={
        "network": "a module",
        "y": "a column of the table",
        "edges": "lists of numbers for each feature",
    },
    out="required",
)
verb(app, "update", "groundshift.adaptation.elbo_tds:update", table="X", out="required")
verb(app, "score", "groundshift.adaptation.elbo_tds:score", table="X", out="required")
