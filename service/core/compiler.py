"""Imports torch's compiler, which `torch.optim` otherwise imports at an optimizer's first step.

The import takes a second. The process that workers are forked from does it once for all of them.
"""

import torch._dynamo  # noqa: F401
