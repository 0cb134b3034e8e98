"""The progress of a run: its state from events, the time left, ``live.json``, watching, the log.

May import ``recipe``, ``store`` and what is below them; nothing here draws.
"""
