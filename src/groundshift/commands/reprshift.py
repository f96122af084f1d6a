"""``groundshift reprshift …``: what tuning changed inside a model, and answers changed without tuning."""

from groundshift.commands.verbs import group, verb

app = group("reprshift")
verb(app, "fit", "groundshift.probes:compare_models", options={"n_concepts": "--concepts"})
verb(
    app,
    "steer",
    "groundshift.probes:steer_model",
    options={"prompts": "--prompt", "source": "--from", "target": "--to"},
    parse={"prompts": list},
)
