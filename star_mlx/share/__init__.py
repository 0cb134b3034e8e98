"""Runs on the Hugging Face Hub: push them with a card, and pull them.

May import ``export``, ``report`` and what is below them.
"""
