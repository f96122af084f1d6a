"""``groundshift ifshift …``: what did instruction tuning change: densities, attention pairs, feed-forward concepts?"""

from groundshift.commands.verbs import group, verb

app = group("ifshift")
verb(app, "density", "groundshift.probes:instruction_density")
verb(app, "attention", "groundshift.probes:attention_pairs")
verb(app, "concepts", "groundshift.probes:ffn_concepts", parse={"lexicon": lambda files: files[-1]})
