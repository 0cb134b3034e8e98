"""Runs on the Hugging Face Hub: what is sent, its card, and what comes back.

May import ``export``, ``report`` and what is below them.
"""
