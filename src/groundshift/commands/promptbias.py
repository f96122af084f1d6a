"""``groundshift promptbias …``: does the bias of a bare model survive its prompt?"""

from groundshift.commands.verbs import group, verb

app = group("promptbias")
verb(app, "fit", "groundshift.probes:prompt_bias")
