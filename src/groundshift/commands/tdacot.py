"""``groundshift tdacot …``: the shape of reasoning traces, and whether it says more than their length."""

from groundshift.commands.verbs import group, verb

app = group("tdacot")
verb(app, "fit", "groundshift.probes:TraceTopology")
verb(app, "relate", "groundshift.probes:relate_traces", options={"target": "--target"})
verb(app, "distances", "groundshift.probes:diagram_distances")
