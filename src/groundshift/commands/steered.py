"""``groundshift steered …``: conditional samples from an unconditional diffusion model."""

from groundshift.commands.verbs import group, verb

app = group("steered")
verb(app, "sample", "groundshift.generation:steer", options={"batch_size": "--batch"}, out="required")
