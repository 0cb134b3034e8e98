"""GGUF both ways: the container, and configs, tokenizers and names on either side of it.

May import ``engine``, ``store`` and what is below them, and mlx.
"""
