"""``groundshift truth …``: does a model's direction of truth stay, and what moves it?"""

from groundshift.commands.verbs import group, verb

app = group("truth")
verb(
    app,
    "fit",
    "groundshift.probes:TruthStability",
    options={"probe": "--probe", "layer": "--layer", "C": "--cost"},
)
verb(app, "compare", "groundshift.probes:compare_truth", options={"C": "--cost"})
verb(app, "ask", "groundshift.probes:truth_behaviour", parse={"answers": list})
verb(app, "score", "groundshift.probes:score_statements", parse={"texts": list})
