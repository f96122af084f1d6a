"""``groundshift displacement …``: preference pairs scored, filtered, trained on, and what training moved."""

from groundshift.commands.verbs import group, verb

app = group("displacement")
verb(app, "score", "groundshift.adaptation:score_pairs", out="required")
verb(app, "filter", "groundshift.adaptation:filter_scores", out="required")
verb(
    app,
    "train",
    "groundshift.adaptation.displacement:train",
    hidden={"ref": "an array of an earlier call in Python"},
    out="required",
)
verb(app, "watch", "groundshift.adaptation.displacement:watch", options={"classify": "--classes"})
verb(app, "explain", "groundshift.adaptation:first_order")
