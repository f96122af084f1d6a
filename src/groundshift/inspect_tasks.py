"""What groundshift adds to Inspect's registry, such as ``inspect eval … --solver groundshift/recorded -S file=…``."""

from groundshift.models.answers import parse_then_score, recorded

__all__ = ["parse_then_score", "recorded"]
