"""``groundshift cdcd …``: codes generated under a condition, trained to correspond to it."""

from groundshift.commands.verbs import group, verb

app = group("cdcd")
verb(
    app,
    "fit",
    "groundshift.generation:CDCD",
    options={"batch_size": "--batch"},
    defaults={"held_out": 64, "baselines": True},
    out="required",
)
verb(app, "sample", "groundshift.generation:sample_codes", out="required")
