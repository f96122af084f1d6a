from groundshift.drawn import Drawn as Drawn

from .cdcd.estimator import CDCD as CDCD
from .cdcd.estimator import sample_codes as sample_codes
from .steered.pipeline import Samples as Samples
from .steered.pipeline import Steered as Steered
from .steered.pipeline import steer as steer
from .wcfm.diagnosis import Diagnosis as Diagnosis
from .wcfm.diagnosis import Temperatures as Temperatures
from .wcfm.diagnosis import diagnose as diagnose
from .wcfm.estimator import WCFM as WCFM
from .wcfm.estimator import sample_flow as sample_flow
from .wcfm.matcher import WeightedConditionalFlowMatcher as WeightedConditionalFlowMatcher
