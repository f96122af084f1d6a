"""``groundshift vlmshift …``: image models under a shift of distribution."""

from groundshift.commands.verbs import group, verb

app = group("vlmshift")
verb(app, "ask", "groundshift.benchmarks.vlmshift:ask", options={"data": "--data"})
verb(app, "compare", "groundshift.benchmarks.vlmshift:compare")
verb(app, "prepare", "groundshift.benchmarks.vlmshift:prepare", options={"name": "--name"})
