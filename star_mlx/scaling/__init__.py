"""What an iteration takes on machines that are not at hand: time, memory, disk and traffic.

``formula`` is the arithmetic, ``hardware`` the figures of devices, ``sizes`` those of models, and
``iteration`` applies them to a recipe. docs/scaling.md explains them. May import run and everything
below it.
"""
