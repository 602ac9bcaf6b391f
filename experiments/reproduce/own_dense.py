"""Dense sampling with the classifier that DSN trained: what it answers without its sampler.

    PYTHONPATH=experiments dsn-evaluate --config-dir experiments/reproduce/conf checkpoint=RUN ... \
        selection=[uniform,dsn,dense,own_dense]
    python experiments/compare.py --config-dir experiments/reproduce/conf EVALUATION...
"""

from dsn_lightning.selections import DSN_CLASSIFIER
from dsn_lightning.selections.uniform import Dense


class OwnDense(Dense):
    """`Dense`, evaluated with the classifier of ``checkpoint``."""

    name = "own_dense"
    classifiers = (DSN_CLASSIFIER,)
