"""``groundshift urial …``: what tuning changed token by token, and a base as an assistant without tuning."""

from groundshift.commands.verbs import group, verb

app = group("urial")
verb(app, "shift", "groundshift.probes.urial:shift", hidden={"types": "lists of words are given in Python"})
verb(app, "ask", "groundshift.probes.urial:ask")
verb(app, "compare", "groundshift.probes.urial:compare")
verb(
    app, "judged", "groundshift.probes.urial:read_judged", parse={"files": list}, options={"files": "--file"}
)
