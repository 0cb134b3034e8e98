"""Measuring attempts: accuracy with its interval, paired tests and their power, comparisons,
summaries of runs and the leaderboard, findings in words, the verdict on a run, tracing a problem,
grading. Pure functions on rows and on run folders.

May import ``recipe``, ``store``, ``tasks`` and what is below them; no model is opened here.
"""
