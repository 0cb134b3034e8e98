"""A run: the loop wired to a model and a folder, the regression guard, baselines, evaluation.

May import ``engine``, ``recipe``, ``store``, ``measure``, ``progress`` and what is below them.
"""
