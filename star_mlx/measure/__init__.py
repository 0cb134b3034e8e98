"""Measuring attempts: accuracy with its interval, paired tests, comparisons, findings in words,
grading. Pure functions on rows and on run folders.

May import ``recipe``, ``store``, ``tasks`` and what is below them; no model is opened here.
"""
