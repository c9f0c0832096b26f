"""torch's compiler, which nobody here uses and `torch.optim` imports at an optimiser's first step.

That takes a second: where many workers are forked from one process, this one imports it for them.
"""

import torch._dynamo  # noqa: F401
