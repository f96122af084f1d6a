"""``groundshift lls …``: hidden classes from how items shift together between domains."""

from groundshift.commands.verbs import group, verb

app = group("lls")
verb(app, "fit", "groundshift.discovery:LatentLabelShift", table="X", options={"n_classes": "--classes"})
verb(app, "choose", "groundshift.discovery.lls:choose_n_classes", table="X")
