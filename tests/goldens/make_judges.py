"""Makes the reference values about judges: python make_judges.py, with numpy 2, scipy 1.17, statsmodels 0.15,
scikit-learn 1.9, ppi-python 0.2.3. Inputs come from a fixed seed; each file names the library call behind it. What has
no library is computed here in another way than in the program: deleted labels by loops, the delta method by numerical
derivatives, Bradley-Terry as a regression."""

import json
import math
import pathlib

import numpy as np
import ppi_py
import statsmodels.api as sm
from scipy import optimize, stats
from sklearn.metrics import cohen_kappa_score, f1_score

from shared import plain

rng = np.random.default_rng(20261121)
here = pathlib.Path(__file__).parent
TOLERANCE = {"rel": 1e-9, "abs": 1e-12}


def write(method, call, cases, tolerance=TOLERANCE, name=None):
    numbered = [{"id": f"o{i + 1:02}", "input": i_, "expected": e} for i, (i_, e) in enumerate(cases)]
    text = {"method": method, "call": call, "script": "make_judges.py", "tolerance": tolerance, "cases": plain(numbered)}
    lines = json.dumps(text, separators=(", ", ": ")).replace('{"id"', '\n{"id"')
    (here / f"{name or method}.json").write_text(lines + "\n")


def ppi_weighted(y, f, fu, w, wu):
    """Point and tuning with weights of mean 1 in every moment, deleted labels by loops over arrays."""
    def fit(y, f, w):
        n, m = len(y), len(fu)
        w, u = w / w.mean(), wu / wu.mean()
        my, mf = np.average(y, weights=w), np.average(f, weights=w)
        cov = np.mean(w * (y - my) * w * (f - mf))
        both, weights = np.concatenate([f, fu]), np.concatenate([w, u])
        var = np.sum((weights * (both - np.average(both, weights=weights))) ** 2) / (n + m - 1)
        lam = min(1.0, max(0.0, cov / ((1 + n / m) * var)))
        rectifier = y - lam * f
        judge = np.sum((u * (lam * fu - lam * np.average(fu, weights=u))) ** 2) / m ** 2
        labels = np.sum((w * (rectifier - np.average(rectifier, weights=w))) ** 2) / n ** 2
        return lam, lam * np.average(fu, weights=u) + np.average(rectifier, weights=w), judge, labels

    lam, point, judge, labels = fit(y, f, w)
    n = len(y)
    left = np.array([fit(np.delete(y, i), np.delete(f, i), np.delete(w, i))[1] for i in range(n)])
    spread = (n - 1) / n * ((left - left.mean()) ** 2).sum() + judge
    half = stats.t.ppf(.975, n - 1) * math.sqrt(spread)
    return lam, point, math.sqrt(judge + labels), [point - half, point + half]


def ppis():
    cases = []
    for n, m, kind in [(20, 200, "pass"), (60, 90, "pass"), (24, 300, "score"), (40, 40, "score"), (25, 150, "weighted")]:
        truth = rng.random(n + m) < .75 if kind == "pass" else rng.integers(1, 6, n + m)
        if kind == "pass":
            judge = np.where(rng.random(n + m) < .85, truth, ~truth).astype(float)
        else:
            judge = np.round(np.clip(truth + rng.normal(.4, .8, n + m), 1, 5), 1)
        y, f, fu = truth[:n].astype(float), judge[:n], judge[n:]
        if kind == "weighted":
            w, wu = rng.choice([1.0, 4.0, 20.0], n), rng.choice([1.0, 4.0, 20.0], m)
            lam, point, se, jack = ppi_weighted(y, f, fu, w, wu)
            half = stats.norm.ppf(.975) * se
            more, low, high = {"w": w, "w_unlabeled": wu}, point - half, point + half
        else:
            ones = np.ones(n), np.ones(m)
            lam, point, se, jack = ppi_weighted(y, f, fu, *ones)
            low, high = (float(end[0]) for end in ppi_py.ppi_mean_ci(y, f, fu, alpha=.05, lam=lam))
            assert abs(float(ppi_py.ppi_mean_pointestimate(y, f, fu)[0]) - point) < 1e-12
            free = ppi_py.ppi_mean_ci(y, f, fu, alpha=.05)
            assert abs(free[0][0] - low) < 1e-12 and abs(free[1][0] - high) < 1e-12
            more, se = {}, (high - low) / 2 / stats.norm.ppf(.975)
        cases.append(({"Y": y, "F": f, "FU": fu, "lam": None, "conf": .95, **more},
                      {"status": "ok", "lam": lam, "estimate": point, "se": se, "lo": low, "hi": high, "jackknife_t": jack}))
    y, f, fu = cases[0][0]["Y"], cases[0][0]["F"], cases[0][0]["FU"]
    low, high = (float(end[0]) for end in ppi_py.ppi_mean_ci(y, f, fu, alpha=.1, lam=1))
    cases.append(({"Y": y, "F": f, "FU": fu, "lam": 1, "conf": .9},
                  {"status": "ok", "lam": 1, "estimate": float(ppi_py.ppi_mean_pointestimate(y, f, fu, lam=1)[0]),
                   "lo": low, "hi": high}))
    write("ppi", "ppi_py.ppi_mean_pointestimate, ppi_mean_ci; jackknife and weights by numpy", cases)


def rogan_gladens():
    cases = []
    for passed, n, tp, m1, tn, m0, level in [(61, 90, 33, 40, 17, 25, .95), (900, 1000, 95, 100, 30, 60, .9),
                                              (3, 40, 11, 12, 18, 19, .95), (199, 200, 28, 30, 9, 10, .99)]:
        rates = np.array([passed / n, tp / m1, tn / m0])
        corrected = lambda r: (r[0] + r[2] - 1) / (r[1] + r[2] - 1)
        slope = optimize.approx_fprime(rates, corrected, 1e-7)
        se = math.sqrt(float((slope ** 2 * rates * (1 - rates) / np.array([n, m1, m0])).sum()))
        z = stats.norm.ppf(.5 + level / 2)
        # Lang and Reiczigel 2014: 1 + 1 virtual labels of each kind, z²/2 + z²/2 virtual items.
        p, se1, sp = (passed + z * z / 2) / (n + z * z), (tp + 1) / (m1 + 2), (tn + 1) / (m0 + 2)
        theta = (p + sp - 1) / (se1 + sp - 1)
        v1, v0 = se1 * (1 - se1) / (m1 + 2), sp * (1 - sp) / (m0 + 2)
        center = theta + 2 * z * z * (theta * v1 - (1 - theta) * v0)
        half = z * math.sqrt(p * (1 - p) / (n + z * z) + theta ** 2 * v1 + (1 - theta) ** 2 * v0) / (se1 + sp - 1)
        value = float(corrected(rates))
        kappa = (1 - tn / m0) / (1 - tp / m1)
        cases.append(({"judged_pass": passed, "n": n, "tp": tp, "m1": m1, "tn": tn, "m0": m0, "conf": level, "labels": 200,
                       "expected_pass": .7},
                      {"status": "ok", "naive": passed / n, "estimate": min(1.0, max(0.0, value)), "estimate_unclipped": value,
                       "se_delta": se, "lo": min(1.0, max(0.0, center - half)), "hi": min(1.0, max(0.0, center + half)),
                       "labels_of_passes": round(200 / (1 + (1 / .7 - 1) * math.sqrt(kappa)))}))
    write("rogan_gladen", "scipy approx_fprime for the delta method; Lang and Reiczigel 2014 in whole counts", cases,
          {"rel": 1e-6, "abs": 1e-9})


def bradley_terrys():
    cases = []
    for k, most, prior in [(2, 40, 0), (3, 12, 0), (5, 9, 0), (7, 30, 0), (4, 3, 1)]:
        wins = rng.integers(1 if prior == 0 else 0, most, (k, k)) * .5
        np.fill_diagonal(wins, 0)
        table = wins + prior / 2
        rows, counts = [], []
        for i in range(k):
            for j in range(i + 1, k):
                row = np.zeros(k)
                row[i], row[j] = 1, -1
                rows.append(row)
                counts.append([table[i, j], table[j, i]])
        rows, counts = np.array(rows)[:, 1:], np.array(counts)
        fit = sm.GLM(counts, rows, family=sm.families.Binomial()).fit(tol=1e-14, maxiter=200)
        beta = np.concatenate([[0.0], fit.params])
        cov = np.zeros((k, k))
        cov[1:, 1:] = fit.cov_params()
        se = np.array([[math.sqrt(max(0.0, cov[i, i] + cov[j, j] - 2 * cov[i, j])) for j in range(k)] for i in range(k)])
        beta -= beta.mean()
        z = stats.norm.ppf(.975)
        lower = lambda i, j: beta[j] - beta[i] - z * se[i, j] > 0
        upper = lambda i, j: beta[j] - beta[i] + z * se[i, j] < 0
        others = lambda i: [j for j in range(k) if j != i]
        ranks = [[1 + sum(lower(i, j) for j in others(i)), k - sum(upper(i, j) for j in others(i))] for i in range(k)]
        cases.append(({"wins": wins, "prior": prior, "conf": .95},
                      {"status": "ok", "beta": beta, "se_diff": se, "elo": 1000 + 400 / math.log(10) * beta, "ranks": ranks}))
    nothing = {"beta": None, "se_diff": None, "elo": None}
    cases.append(({"wins": [[0, 4, 2], [0, 0, 1], [0, 3, 0]], "prior": 0}, {"status": "separation", **nothing}))
    cases.append(({"wins": [[0, 4, 0], [1, 0, 0], [0, 0, 0]], "prior": 0}, {"status": "disconnected", **nothing}))
    write("bradley_terry", "statsmodels GLM([wins, losses] ~ signs, Binomial)", cases, {"rel": 1e-7, "abs": 1e-7})


def pairs():
    cases = []
    for n in (12, 40, 90):
        verdicts = []
        for _ in range(n):
            truth, bias, fails = rng.choice(["A", "B", "B", "tie"]), rng.random() < .35, rng.random(2) < .08
            first, second = ("A", "B") if bias and truth != "tie" else (truth, truth)
            verdicts.append({"ab": None if fails[0] else str(first), "ba": None if fails[1] else str(second)})
        points = {"A": 0.0, "tie": .5, "B": 1.0}
        scores = np.array([np.mean([points[v] for v in pair.values() if v]) for pair in verdicts if any(pair.values())])
        mean, se = scores.mean(), stats.sem(scores)
        low, high = stats.t.interval(.95, len(scores) - 1, mean, se)
        both = [pair for pair in verdicts if all(pair.values())]
        agreed = [pair["ab"] if pair["ab"] == pair["ba"] else "tie" for pair in both]
        agreed += [pair["ab"] or pair["ba"] for pair in verdicts if bool(pair["ab"]) != bool(pair["ba"])]
        shown = [(pair["ab"], "A") for pair in verdicts] + [(pair["ba"], "B") for pair in verdicts]
        decided = [said == first for said, first in shown if said in ("A", "B")]
        opposite = [pair["ab"] == "A" for pair in both if {pair["ab"], pair["ba"]} == {"A", "B"}]
        cases.append(({"verdicts": verdicts, "conf": .95},
                      {"status": "ok", "n": len(scores), "n_excluded": n - len(scores), "win_rate_b": mean, "se": se,
                       "lo": max(0.0, low), "hi": min(1.0, high), "wins_a": agreed.count("A"), "wins_b": agreed.count("B"),
                       "ties": agreed.count("tie"), "net": (agreed.count("B") - agreed.count("A")) / len(agreed),
                       "position_consistency": np.mean([pair["ab"] == pair["ba"] for pair in both]),
                       "first_pick_rate": np.mean(decided),
                       "position_bias_p": stats.binomtest(sum(opposite), len(opposite)).pvalue}))
    write("pairwise", "scipy binomtest, sem, t.interval", cases)


def lengths():
    cases = []
    for n in (15, 60, 200):
        difference = rng.normal(60, 110, n).round()
        x = np.tanh(difference / difference.std(ddof=1))
        y = np.where(rng.random(n) < .15, .5, rng.random(n) < 1 / (1 + np.exp(-.2 - 1.1 * x)))
        fit = sm.GLM(y, sm.add_constant(x), family=sm.families.Binomial()).fit(tol=1e-14, maxiter=200)
        low, high = fit.conf_int(.05)[0]
        cases.append(({"y": y, "len_diff": difference, "conf": .95},
                      {"status": "ok", "raw": y.mean(), "lc_win_rate": 1 / (1 + math.exp(-fit.params[0])),
                       "coef": fit.params, "se_intercept": fit.bse[0], "lo": 1 / (1 + math.exp(-low)),
                       "hi": 1 / (1 + math.exp(-high))}))
    write("length_controlled", "statsmodels GLM(y, [1, x], Binomial)", cases, {"rel": 1e-7, "abs": 1e-8})


def masses():
    cases = []
    for most, left in [(5, .1), (10, .3), (3, .02)]:
        labels = {str(i): i for i in range(1, most + 1)}
        p = rng.dirichlet(np.ones(most)) * (1 - left)
        logs = np.round(np.log(p), 4)
        tokens = [[f" {i + 1}" if i % 2 else str(i + 1), float(log)] for i, log in enumerate(logs)] + [["x", math.log(left)]]
        p = np.exp(logs)
        mean = np.average(np.arange(1, most + 1), weights=p)
        cases.append(({"tokens": tokens, "labels": labels, "min_mass": .5},
                      {"status": "ok", "mass": p.sum(), "expected": mean, "normalised": (mean - 1) / (most - 1),
                       "entropy": stats.entropy(p), "argmax": int(np.argmax(p)) + 1}))
    cases.append(({"tokens": [["pass", -1.5], ["well", -.3]], "labels": {"pass": 1, "fail": 0}, "min_mass": .5},
                  {"status": "low_mass", "mass": math.exp(-1.5), "expected": None, "normalised": None, "entropy": None,
                   "argmax": None}))
    cases.append(({"tokens": [["passed", -.5]], "labels": {"pass": 1, "fail": 0}, "min_mass": .5},
                  {"status": "missing", "mass": 0, "expected": None}))
    write("judge_scores", "numpy.average, scipy.stats.entropy", cases)


def attributions():
    cases, names = [], ["loop", "tool", "goal", "format"]
    for n in (3, 12):
        marks = lambda most: [[f"s{rng.integers(0, 5)}", str(rng.choice(names))] for _ in range(rng.integers(0, most))]
        traces = [{"gt": marks(4), "pred": marks(5)} for _ in range(n)]
        table = lambda key: np.array([[int(any(c == name for _, c in trace[key])) for name in names] for trace in traces])
        spans = lambda trace, key: {span for span, _ in trace[key]}
        both = lambda trace, key: {tuple(mark) for mark in trace[key]}
        recall = lambda of: np.mean([len(of(t, "gt") & of(t, "pred")) / len(of(t, "gt")) for t in traces if t["gt"]])
        truth, found = table("gt"), table("pred")
        cases.append(({"kind": "trail", "traces": traces},
                      {"location_accuracy": recall(spans), "joint_accuracy": recall(both),
                       "mean_category_f1": f1_score(truth, found, average="samples", zero_division=0),
                       "weighted_f1": f1_score(truth, found, average="weighted", zero_division=0)}))
    for n in (8, 30):
        agents = np.array(["planner", "coder", "browser"])
        truth = [(str(rng.choice(agents)), int(rng.integers(0, 20))) for _ in range(n)]
        found = [None if rng.random() < .1 else (a if rng.random() < .6 else "coder", s + int(rng.integers(-4, 5)))
                 for a, s in truth]
        right = lambda test: np.mean([f is not None and test(t, f) for t, f in zip(truth, found)])
        say = lambda pair: None if pair is None else {"agent": pair[0], "step": pair[1]}
        cases.append(({"kind": "who_when", "items": [{"gt": say(t), "pred": say(f)} for t, f in zip(truth, found)]},
                      {"agent_accuracy": right(lambda t, f: t[0] == f[0]), "step_accuracy": right(lambda t, f: t[1] == f[1]),
                       "joint_accuracy": right(lambda t, f: t == f),
                       "step_tol": {str(d): right(lambda t, f: abs(t[1] - f[1]) <= d) for d in (1, 3, 5)}}))
    write("attribution", "sklearn f1_score(average='samples'|'weighted', zero_division=0); sets", cases)


def agreement_intervals():
    cases = []
    for n, per, rounds in [(40, 1, 200), (24, 3, 150)]:
        a = rng.integers(0, 2, n * per)
        b = np.where(rng.random(n * per) < .8, a, 1 - a)
        names = [f"s{i // per:03}" for i in range(n * per)]
        index = rng.integers(0, n, (rounds, n))
        kappas = []
        for drawn in index:
            items = np.concatenate([np.arange(c * per, c * per + per) for c in drawn])
            kappas.append(cohen_kappa_score(a[items], b[items]))
        cases.append(({"kind": "interval", "a": a, "b": b, "cats": [0, 1], "cluster": names, "indices": index, "conf": .9},
                      {"kappa": cohen_kappa_score(a, b), "se": np.std(kappas, ddof=1),
                       "percentile": [np.percentile(kappas, 5), np.percentile(kappas, 95)], "n_undefined": 0}))
    write("agreement", "sklearn cohen_kappa_score over given resamples; numpy.percentile", cases, name="agreement_interval")


for make in (ppis, rogan_gladens, bradley_terrys, pairs, lengths, masses, attributions, agreement_intervals):
    make()
