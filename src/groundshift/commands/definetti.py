"""``groundshift definetti …``: the causal direction from many small groups of records."""

from groundshift.commands.verbs import group, verb

app = group("definetti")
verb(app, "fit", "groundshift.discovery:CausalDeFinetti", table="X")
