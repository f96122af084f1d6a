"""``groundshift leaderboard-scenes …``: look at what the generators of the board draw."""

from groundshift.commands.verbs import group, verb

app = group("leaderboard-scenes")
verb(app, "draw", "groundshift.studies.leaderboard_scenes:sheet")
