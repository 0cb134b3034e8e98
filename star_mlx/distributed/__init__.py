"""Several processes, on one machine or many, that share a run: the ranks of an MLX launch.

Rank 0 runs the command and alone writes the run folder. The others complete chunks of prompts that
it hands out as they come free, and train with it. MLX's own engine starts them and sums gradients;
what is handed out goes through one connection from each rank to rank 0.

May import ``engine``, ``recipe`` and what is below them; no mlx.
"""
