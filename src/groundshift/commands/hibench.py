"""``groundshift hibench …``: thirty tasks on hierarchies put to a model, on the benchmark's structures or your own."""

from groundshift.commands.verbs import group, verb

app = group("hibench")
verb(app, "ask", "groundshift.benchmarks.hibench:ask")
verb(app, "tuning-set", "groundshift.benchmarks.hibench:tuning_set", out="required")
