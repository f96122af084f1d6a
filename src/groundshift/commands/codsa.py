"""``groundshift codsa …``: synthetic rows where rows are few, as many as held-out rows ask for."""

from groundshift.commands.verbs import group, verb

app = group("codsa")
OPTIONS = {"y": "--target", "learner": "--learner", "target_weights": "--weight"}
verb(app, "fit", "groundshift.adaptation:CoDSA", table="X", options=OPTIONS, out="required")
verb(app, "sample", "groundshift.adaptation.codsa:sample_rows", out="required")
verb(app, "compare", "groundshift.adaptation.codsa:compare", table="X", options=OPTIONS)
verb(app, "diagnose", "groundshift.adaptation.codsa:diagnose", table="X", options=OPTIONS)
