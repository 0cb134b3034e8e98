"""STaR, the Self-Taught Reasoner (Zelikman et al. 2022), on MLX language models."""
