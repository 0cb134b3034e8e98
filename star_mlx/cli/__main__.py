"""``python -m star_mlx.cli``: the same as ``star-mlx``."""

from star_mlx.cli import main

main()
