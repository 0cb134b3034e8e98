"""Read by every Python that a test starts: it is without the packages that TESTS_WITHOUT names.

transformers and mlx-lm import torch and wandb wherever they are installed, which takes two seconds
a process, and most people have neither.
"""

import os
import sys

sys.modules.update(dict.fromkeys(os.environ.get("TESTS_WITHOUT", "").split()))
