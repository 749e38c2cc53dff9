"""Fixtures of the metrics, in plain numpy: what scikit-learn gives with zero_division=0, and table 6's four numbers a class.

For class k of a confusion matrix (rows true, columns predicted), one against the rest:
    accuracy (TP + TN) / all    sensitivity TP / (TP + FN)    PPV TP / (TP + FP)    NPV TN / (TN + FN)    F1 2TP / (2TP + FP + FN)
A ratio with nothing below it is 0. Macro F1 is the plain mean over the classes that occur among labels or predictions, which is
what sklearn.metrics.f1_score(average="macro") does.
"""
import numpy as np

import hashed


def ratio(a, b):
    return np.where(b > 0, a / np.maximum(b, 1), 0.0)


def metrics(matrix):
    m = np.asarray(matrix, np.float64)
    tp, fn, fp = np.diag(m), m.sum(1) - np.diag(m), m.sum(0) - np.diag(m)
    tn = m.sum() - tp - fn - fp
    f1 = ratio(2 * tp, 2 * tp + fp + fn)
    seen = (m.sum(0) + m.sum(1)) > 0
    return {"accuracy": float(tp.sum() / m.sum()), "macro_f1": float(f1[seen].mean()), "class_accuracy": ((tp + tn) / m.sum()).tolist(),
            "class_sensitivity": ratio(tp, tp + fn).tolist(), "class_ppv": ratio(tp, tp + fp).tolist(),
            "class_npv": ratio(tn, tn + fn).tolist(), "class_f1": f1.tolist()}


def predictions(name, rows, classes, never=None):
    """True and predicted labels that agree for about three quarters; class `never` is never predicted."""
    truth = (hashed.words(name + ".truth", rows) % np.uint32(classes)).astype(int)
    guess = (hashed.words(name + ".guess", rows) % np.uint32(classes)).astype(int)
    guess = np.where(hashed.unit(name + ".right", (rows,)) < 0.75, truth, guess)
    return truth, (guess if never is None else np.where(guess == never, (never + 1) % classes, guess))


def make():
    cases = {}
    for name, rows, classes, never in (("sleep", 1000, 12, None), ("never_predicted", 500, 12, 5), ("two", 64, 2, None)):
        truth, guess = predictions(name, rows, classes, never)
        matrix = np.zeros((classes, classes), int)
        np.add.at(matrix, (truth, guess), 1)
        cases[name] = {"confusion": matrix.tolist(), **metrics(matrix)}
    matrix = np.zeros((4, 4), int)  # class 2 is neither a label nor predicted, class 3 never predicted, class 0 never true
    matrix[1] = [3, 5, 0, 0]
    matrix[3] = [2, 1, 0, 0]
    cases["absent_class"] = {"confusion": matrix.tolist(), **metrics(matrix)}
    return cases
