"""``groundshift beliefs …``: does what a model reads, or who it talks with, change what it says and does?"""

from groundshift.commands.verbs import group, verb

app = group("beliefs")
verb(app, "read", "groundshift.probes:read_and_ask")
verb(app, "talk", "groundshift.probes:talk_and_ask")
