"""The study of adaptively weighted consistency at quick scale."""

from groundshift.studies.adawac import study  # noqa: F401
from tests.studies.contract import (  # noqa: F401
    test_broken_versions_of_the_method_are_caught,
    test_every_cell_runs_and_every_claim_is_measured,
    test_figures_are_drawn_from_the_table,
    test_the_cpu_scale_fits_its_budget,
)
