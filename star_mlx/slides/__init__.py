"""A run as a list of slides for a class: its figures phase by phase, one problem's way, the end.

May import ``measure``, ``progress`` and what is below them; nothing here draws.
"""
