from .errors import InputError as InputError
from .workflows.audit import audit as audit
from .workflows.diff import diff as diff

__version__: str
