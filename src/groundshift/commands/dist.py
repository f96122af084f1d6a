"""``groundshift dist …``: does a vision model notice that the global arrangement of a picture is lost?"""

from groundshift.commands.verbs import group, verb

app = group("dist")
OPTIONS = {
    "batch_size": "--batch",
    **{name: f"--{name}" for name in ("how", "strength", "n", "size", "seed", "mapping")},
}
verb(app, "triplets", "groundshift.benchmarks.dist.triplets:make_triplets", options=OPTIONS, out="required")
verb(app, "score", "groundshift.benchmarks.dist.scoring:score", options=OPTIONS)
verb(app, "ask", "groundshift.benchmarks.dist.asking:ask", options=OPTIONS)
verb(app, "shape-bias", "groundshift.benchmarks.dist.cue_conflict:shape_bias", options=OPTIONS)
verb(app, "positions", "groundshift.benchmarks.dist.positions:position_probes", options=OPTIONS)
verb(app, "distinguish", "groundshift.benchmarks.dist.training:distinguish", options=OPTIONS, out="required")
