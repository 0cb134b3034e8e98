"""``python -m star_mlx`` is ``star-mlx``."""

from star_mlx.cli import main

if __name__ == "__main__":
    main()
