"""A recipe opened: YAML layers and their errors, the task and prompts it names, its provenance.

The settings themselves are in ``star_mlx.settings``. May import ``tasks``, ``prompts``, ``store``
and what is below them.
"""
