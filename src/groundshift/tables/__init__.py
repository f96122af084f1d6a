"""A user's table, whatever holds it: numpy, pandas, polars, Arrow, CSV or Parquet.

The door of every system that takes rows. `read_table` opens what was handed in, once; `typed` decides what every column
is (number, category, date, period, id, text or constant) from its content, not from the format it was stored in, and
says why.
"""

from groundshift.tables.arrays import (
    numeric,
    open_arrays,
    plain_array,
    refuse_unlabelled,
    row_labels,
    split_domain,
    write_csv,
    write_table,
)
from groundshift.tables.files import find_column, open_table, some
from groundshift.tables.kinds import (
    KEY_NAME,
    KINDS,
    Column,
    Kind,
    Reading,
    Table,
    parse_kinds,
    read_table,
    typed,
)

__all__ = [
    "KEY_NAME",
    "KINDS",
    "Column",
    "Kind",
    "Reading",
    "Table",
    "find_column",
    "numeric",
    "open_arrays",
    "open_table",
    "parse_kinds",
    "plain_array",
    "read_table",
    "refuse_unlabelled",
    "row_labels",
    "some",
    "split_domain",
    "typed",
    "write_csv",
    "write_table",
]
