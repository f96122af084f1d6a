"""Off-policy behaviour after a narrow fine-tune, and what the written reasoning shows of it (arXiv:2506.13206).

It detects and measures: no harmful data are shipped, and texts are hashed in files unless the user asks for them.
"""

from groundshift.probes.thoughtcrime.labels import Judge
from groundshift.probes.thoughtcrime.monitor import apply_rules, monitor_reasoning
from groundshift.probes.thoughtcrime.rates import behaviour_rates, flag_table
from groundshift.probes.thoughtcrime.result import OffPolicyReport
from groundshift.probes.thoughtcrime.thinking import read_thinking
from groundshift.probes.thoughtcrime.triggers import find_triggers
