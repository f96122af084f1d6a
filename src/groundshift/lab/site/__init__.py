"""The report: a static site that opens from the disk, made from runs or from published results."""

from groundshift.lab.site.build import report

__all__ = ["report"]
