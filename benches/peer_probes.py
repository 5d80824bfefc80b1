"""The peer of `probes.rs`: logistic regression of scikit-learn on the same rows, in the same folds, to the same minimum.

Reads the job (files, shape, penalty, tolerance), then fits all folds and all rows for each line on stdin, and answers
with the seconds, the objective of the fit on all rows and the file with its weights.
"""

import json
import sys
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

job = json.load(open(sys.argv[1]))
n, d, alpha = job["rows"], job["columns"], job["alpha"]
y = np.array(job["labels"])
fold = np.array(job["folds"])
parts = [np.arange(n)] + [np.flatnonzero(fold != f) for f in range(fold.max() + 1)]

for line in sys.stdin:
    site, kind = line.split()
    x = np.fromfile(job["files"][int(site)], dtype="<f4").reshape(n, d).astype(kind)
    with threadpool_limits(job["threads"]):
        began = time.perf_counter()
        fits = []
        for part in parts:
            model = LogisticRegression(C=1 / alpha, tol=job["tolerance"], max_iter=10000)
            fits.append(model.fit(x[part], y[part]))
        seconds = time.perf_counter() - began
    w, b = fits[0].coef_[0].astype(float), float(fits[0].intercept_[0])
    margin = np.where(y == 1, 1.0, -1.0) * (x.astype(float) @ w + b)
    objective = np.logaddexp(0, -margin).sum() + alpha / 2 * w @ w
    w.astype("<f8").tofile(job["weights"])
    print(seconds, objective, flush=True)
