"""``star-mlx report``: one self-contained page about runs, and its charts as SVG and PNG.

``write_report`` is the entry point; ``gather`` reads the runs, ``samples`` chooses attempts, the
``charts`` modules draw, ``words`` writes sentences, ``board`` is the leaderboard of several runs,
``page`` combines them. May import ``measure``, ``recipe``, ``store`` and what is below them;
matplotlib is only imported here.
"""
