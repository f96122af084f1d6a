"""``groundshift adawac …``: train with a weight for every sample, rank samples, compare with rivals."""

from groundshift.commands.verbs import group, verb

PYTHON = {"supervised": "a function"}
app = group("adawac")
verb(app, "fit", "groundshift.adaptation.adawac:fit", hidden=PYTHON, out="required")
verb(app, "rank", "groundshift.adaptation.adawac:rank")
verb(app, "compare", "groundshift.adaptation.adawac:compare")
verb(
    app,
    "classify",
    "groundshift.adaptation.adawac:AdaWACClassifier",
    table="X",
    hidden={"network": "a module"},
    options={"batch_size": "--batch"},
    out="required",
)
