"""Reading and writing GGUF: the container, and the conversion of configs, tokenizers and names.

May import ``engine``, ``store`` and what is below them, and mlx.
"""
