"""What the launcher tells the ranks in their environment."""

HEAD = "STAR_MLX_HEAD"  # the address of rank 0
BACKEND = "STAR_MLX_BACKEND"  # mlx's backend
TERMINAL = "STAR_MLX_TERMINAL"  # rank 0's output is a terminal's, though it is a pipe
LAUNCHER = "STAR_MLX_LAUNCHER"  # the machine and the process of star-mlx launch
