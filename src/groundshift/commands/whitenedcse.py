"""``groundshift whitenedcse …``: sentence encoders fine-tuned, whitened and measured on one's own texts."""

from groundshift.commands.verbs import group, verb

app = group("whitenedcse")
verb(app, "fit", "groundshift.adaptation.whitenedcse:fit", options={"dev_pairs": "--dev"}, out="required")
verb(app, "whiten", "groundshift.adaptation.whitenedcse:whiten")
verb(app, "measure", "groundshift.adaptation.whitenedcse:measure")
