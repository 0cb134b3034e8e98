"""Runs on the Hugging Face Hub: what is sent, its card, and what comes back."""
