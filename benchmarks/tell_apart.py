"""Two lots of profiles told apart by classifiers: what `curve_realism.py` holds draws against films with."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

Float = NDArray[np.float64]
CLASSIFIERS: dict[str, Callable[[], object]] = {
    "logistic regression": lambda: make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
    ),
    "logistic regression with squares and products": lambda: make_pipeline(
        StandardScaler(),
        PolynomialFeatures(2, include_bias=False),
        StandardScaler(),
        LogisticRegression(C=0.003, class_weight="balanced", max_iter=1000),
    ),
    "random forest": lambda: RandomForestClassifier(
        100, min_samples_leaf=3, class_weight="balanced_subsample", random_state=0
    ),
    "gradient boosting": lambda: HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.08, max_leaf_nodes=8, class_weight="balanced", random_state=0
    ),
}


def classify(real: Float, patients: Sequence[str], other: Float) -> dict[str, float]:
    """Returns the cross-validated AUC of telling `other` from `real`, folds grouped by patient."""
    rows = np.concatenate([real, other])
    truth = np.concatenate([np.ones(len(real)), np.zeros(len(other))])
    numbers = np.unique(patients, return_inverse=True)[1]
    groups = np.concatenate([numbers, 10_000 + np.arange(len(other))])
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    found = {}
    for name, make in CLASSIFIERS.items():
        said = cross_val_predict(make(), rows, truth, cv=folds, groups=groups, method="predict_proba")
        found[name] = float(roc_auc_score(truth, said[:, 1]))
    return found
