"""The one way to show a result: as a self-contained page, in a notebook and in the terminal.

A system says what is in its report; how a page is made is decided here. A `Report` is a headline and sections; a
`Section` holds sentences, facts, figures, tables, samples and marked texts. Cells of tables may be plain values,
`Code`, `Badge` or `Lines`; three columns named ``size, low, high`` (any first name) become one, in words and drawn.

Examples
--------
>>> import pandas as pd
>>> report = Report("example", "visits.csv", "Nothing moved.", sections=(
...     Section("moved", "Did anything move?", "No.",
...             tables={"Columns": pd.DataFrame({"column": ["age"], "p": [0.4]})}),
... ))
>>> report.html().startswith("<!doctype html>")
True
>>> print(report.text())
Nothing moved.
<BLANKLINE>
Did anything move?  No.
<BLANKLINE>
column    p
age     0.4
"""

from groundshift.report.content import Badge, Code, Lines, Marked, Report, Sample, Section
from groundshift.report.values import p_text, value_text

__all__ = ["Badge", "Code", "Lines", "Marked", "Report", "Sample", "Section", "p_text", "value_text"]
