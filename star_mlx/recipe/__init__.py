"""Reading a recipe: YAML layers and their errors, its task and prompts, and its provenance.

The settings themselves are in ``star_mlx.settings``. May import ``tasks``, ``prompts``, ``store``
and what is below them.
"""
