"""``groundshift condambigqa …``: questions with several right answers, and what naming the conditions recovers."""

from groundshift.commands.verbs import group, verb

app = group("condambigqa")
verb(app, "ask", "groundshift.benchmarks.condambigqa:ask", options={"data": "--data", "judge": "--judge"})
verb(app, "draft", "groundshift.benchmarks.condambigqa:draft_conditions", options={"data": "--data"})
