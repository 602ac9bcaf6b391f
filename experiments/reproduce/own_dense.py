"""Dense sampling with the classifier that DSN trained: what it answers without its sampler.

PYTHONPATH=experiments dsn-evaluate checkpoint=RUN ... +selection.own_dense._target_=reproduce.own_dense.OwnDense
"""

from dsn_lightning.selections import DSN_CLASSIFIER
from dsn_lightning.selections.uniform import Dense


class OwnDense(Dense):
    """`Dense`, evaluated with the classifier of ``checkpoint``."""

    name = "own_dense"
    classifiers = (DSN_CLASSIFIER,)
