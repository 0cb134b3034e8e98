"""The run folder: file names, typed rows and metrics, one writer and one reader of each.

May import ``types``, ``formatting``, ``settings`` and ``errors``.
"""
