"""``groundshift dataalchemy …``: does a model reason or replay, in a world of letters whose every step is known?"""

from groundshift.commands.verbs import group, verb

app = group("dataalchemy")
verb(
    app, "generate", "groundshift.benchmarks:generate_records", options={"noise_p": "--noise"}, out="required"
)
verb(
    app,
    "train",
    "groundshift.benchmarks.dataalchemy:train",
    options={"size": "--size"},
    hidden={"world": "alphabet and rules of one's own are given in Python"},
    out="required",
)
verb(app, "evaluate", "groundshift.benchmarks:ask_models")
verb(app, "score", "groundshift.benchmarks:score_file")
verb(app, "heal", "groundshift.benchmarks:heal_model")
