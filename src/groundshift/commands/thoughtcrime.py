"""``groundshift thoughtcrime …``: off-policy answers after a fine-tune, and what the reasoning shows of them."""

from groundshift.commands.verbs import group, verb

app = group("thoughtcrime")
verb(app, "rates", "groundshift.probes:behaviour_rates", options={"label": "--judge"})
verb(app, "monitor", "groundshift.probes:monitor_reasoning")
verb(
    app,
    "triggers",
    "groundshift.probes:find_triggers",
    options={"candidates": "--candidates", "label": "--judge"},
)
