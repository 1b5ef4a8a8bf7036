"""Makes the reference values beside this file: python make.py, with numpy 2, scipy 1.17, statsmodels 0.15,
scikit-learn 1.9, krippendorff 0.9. Inputs come from a fixed seed; each file names the library call behind it.
Closed forms without a library (CR2 degrees of freedom, Tango, empirical Bernstein) are computed here in another way
than in the program: matrices, constrained likelihood, direct sums."""

import json
import math
import pathlib
from itertools import combinations, product

import krippendorff
import numpy as np
from pandas import DataFrame
from scipy import optimize, stats
from sklearn.metrics import cohen_kappa_score, matthews_corrcoef
from statsmodels.regression.linear_model import OLS
from statsmodels.stats import contingency_tables, multitest, power, proportion, weightstats

from shared import plain

rng = np.random.default_rng(20260517)
here = pathlib.Path(__file__).parent
TOLERANCE = {"rel": 1e-9, "abs": 1e-12}


def write(method, call, cases, tolerance=TOLERANCE):
    numbered = [{"id": f"o{i + 1:02}", "input": case[0], "expected": case[1], **({"tol": case[2]} if case[2:] else {})}
                for i, case in enumerate(cases)]
    text = {"method": method, "call": call, "script": "make.py", "tolerance": tolerance, "cases": plain(numbered)}
    lines = json.dumps(text, separators=(", ", ": ")).replace('{"id"', '\n{"id"')
    (here / f"{method}.json").write_text(lines + "\n")


def proportions():
    cases = []
    for k, n, level in [(1, 3, .95), (7, 7, .9), (0, 41, .99), (61, 80, .95), (4999, 5000, .95), (80_000, 100_000, .95),
                        (13, 1000, .8)]:
        w = proportion.proportion_confint(k, n, alpha=1 - level, method="wilson")
        b = proportion.proportion_confint(k, n, alpha=1 - level, method="beta")
        low = 0.0 if k == 0 else stats.beta.ppf(1 - level, k, n - k + 1)
        cases.append(({"k": k, "n": n, "conf": level},
                      {"status": "ok", "estimate": k / n, "wilson": [max(0, w[0]) if k else 0.0, w[1] if k < n else 1.0],
                       "clopper_pearson": [b[0], b[1]], "cp_lower_onesided": low}))
    write("proportion_ci", "statsmodels proportion_confint(method='wilson'|'beta'); scipy beta.ppf", cases)


def means():
    cases = []
    for n, level in [(2, .95), (9, .9), (40, .95), (400, .99)]:
        x = np.round(rng.beta(4, 2, n), 4)
        lo, hi = stats.t.interval(level, n - 1, x.mean(), stats.sem(x))
        v, a = x.var(ddof=1), 1 - level
        h = math.sqrt(math.log(2 / a) / (2 * n))
        eb = math.sqrt(2 * v * math.log(4 / a) / n) + 7 * math.log(4 / a) / (3 * (n - 1))
        cut = lambda half: [max(0.0, x.mean() - half), min(1.0, x.mean() + half)]
        cases.append(({"x": x, "range": [0, 1], "conf": level},
                      {"status": "ok", "n": n, "mean": x.mean(), "sd": x.std(ddof=1), "se": stats.sem(x), "lo": lo,
                       "hi": hi, "bounded": {"status": "ok", "hoeffding": cut(h), "empirical_bernstein": cut(eb)}}))
    write("mean_ci", "scipy.stats.t.interval, sem; Hoeffding; Maurer-Pontil 2009 theorem 4", cases)


def cr2(x, clusters):
    """CR2 and Satterthwaite degrees of freedom by matrix square roots (Pustejovsky and Tipton 2018), not the closed form."""
    n, names = len(x), sorted(set(clusters))
    one = np.ones((n, 1))
    hat = one @ one.T / n
    residual = x - x.mean()
    meat, vectors = 0.0, []
    for name in names:
        rows = np.array([c == name for c in clusters])
        block = np.eye(rows.sum()) - hat[np.ix_(rows, rows)]
        values, vecs = np.linalg.eigh(block)
        root = vecs @ np.diag(1 / np.sqrt(values)) @ vecs.T
        meat += float(np.ones(rows.sum()) @ root @ residual[rows]) ** 2
        g = (np.eye(n) - hat)[rows].T @ root @ np.ones(rows.sum()) / n
        vectors.append(g)
    gram = np.array(vectors) @ np.array(vectors).T
    return math.sqrt(meat) / n, np.trace(gram) ** 2 / np.trace(gram @ gram)


def clustered():
    cases = []
    for sizes in [(1, 1, 2), (5, 1, 1, 1, 1), (3, 4, 9, 2, 2, 7), tuple(rng.integers(1, 6, 30)), (20, 20)]:
        clusters = [f"k{i}" for i, size in enumerate(sizes) for _ in range(size)]
        x = np.round(np.concatenate([rng.normal(.6, .1) + rng.normal(0, .2, size) for size in sizes]), 4)
        fit = lambda correct: float(OLS(x, np.ones(len(x))).fit(
            cov_type="cluster", cov_kwds={"groups": np.unique(clusters, return_inverse=True)[1], "use_correction": correct}).bse[0])
        se, df = cr2(x, clusters)
        half = stats.t.ppf(.975, df) * se
        c, n = len(sizes), len(x)
        cases.append(({"x": x, "cluster": clusters, "conf": .95},
                      {"status": "ok", "n": n, "clusters": c, "mean": x.mean(), "se_naive": stats.sem(x),
                       "se_cr0": fit(False), "se_cr1": fit(False) * math.sqrt(c / (c - 1)), "se_cr2": se, "df_bm": df,
                       "lo": x.mean() - half, "hi": x.mean() + half, "design_effect": (se / stats.sem(x)) ** 2}))
    write("clustered_se", "statsmodels OLS(cov_type='cluster'); CR2 by matrix square roots", cases, {"rel": 1e-8, "abs": 1e-11})


def weighted():
    cases = []
    for n in (5, 30, 120):
        y, w = rng.integers(0, 2, n).astype(float), rng.choice([1.0, 4.0, 25.0], n)
        clusters = [f"c{i // 2}" for i in range(n)] if n == 30 else None
        m = np.average(y, weights=w)
        z = w * (y - m) / w.sum()
        units = np.array([z[[c == name for c in clusters]].sum() for name in sorted(set(clusters))]) if clusters else z
        k = len(units)
        se = math.sqrt(k / (k - 1) * ((units - units.mean()) ** 2).sum())
        half = stats.t.ppf(.975, k - 1) * se
        eff = w.sum() ** 2 / (w ** 2).sum()
        cases.append(({"kind": "hajek", "y": y, "w": w, "cluster": clusters, "strata": None, "sampling_fraction": None,
                       "conf": .95},
                      {"status": "ok", "mean": m, "se": se, "df": k - 1, "lo": m - half, "hi": m + half,
                       "kish_neff": eff, "kish_deff": n / eff}))
    write("weighted", "numpy.average(weights); linearised variance over cluster totals", cases)


def tango_z(x, y, n, d):
    """Score statistic with the nuisance rate found by maximising the constrained likelihood numerically."""
    def minus(q):
        p_improved, p_same = q + d, 1 - 2 * q - d
        terms = [(x, p_improved), (y, q), (n - x - y, p_same)]
        return -sum(c * math.log(max(p, 1e-300)) for c, p in terms if c > 0)
    low, high = max(0.0, -d), (1 - d) / 2
    q = optimize.minimize_scalar(minus, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
    return (x - y - n * d) / math.sqrt(n * (2 * q + d * (1 - d)))


def mcnemar():
    cases = []
    for both, worse, better, neither in [(20, 3, 8, 9), (140, 28, 54, 278), (0, 6, 1, 0), (55, 12, 11, 40)]:
        n = both + worse + better + neither
        table = [[both, worse], [better, neither]]
        exact = contingency_tables.mcnemar(table, exact=True).pvalue
        chi = contingency_tables.mcnemar(table, exact=False, correction=True)
        nd, m = worse + better, min(worse, better)
        mid = min(1.0, 2 * stats.binom.cdf(m, nd, .5) - stats.binom.pmf(m, nd, .5))
        less = stats.binom.cdf(better, nd, .5) - .5 * stats.binom.pmf(better, nd, .5)
        z, delta = stats.norm.ppf(.975), (better - worse) / n
        lo = optimize.brentq(lambda d: tango_z(better, worse, n, d) - z, -.999999, delta, xtol=1e-13)
        hi = optimize.brentq(lambda d: tango_z(better, worse, n, d) + z, delta, .999999, xtol=1e-13)
        cases.append(({"both_pass": both, "worsened": worse, "improved": better, "both_fail": neither, "conf": .95},
                      {"status": "ok", "delta": delta, "exact": exact, "mid_p": mid, "mid_p_less": less,
                       "chi2_cc_stat": chi.statistic, "chi2_cc_p": chi.pvalue, "tango": [lo, hi]}))
    # The numerical likelihood is good to about seven digits.
    write("mcnemar", "statsmodels mcnemar(exact=..., correction=True); scipy binom; Tango by constrained likelihood", cases,
          {"rel": 1e-6, "abs": 1e-7})


def unpaired():
    cases = []
    for n, m in [(3, 5), (40, 25)]:
        for binary in (False, True):
            a, b = (rng.integers(0, 2, n) * 1.0, rng.integers(0, 2, m) * 1.0) if binary else (
                np.round(rng.normal(3, 1, n), 3), np.round(rng.normal(3.4, 2, m), 3))
            if binary and n == 3:
                a, b = np.array([0., 1, 1]), np.array([1., 1, 0, 1, 1])
            t = stats.ttest_ind(b, a, equal_var=False)
            ci = t.confidence_interval(.95)
            nc = proportion.confint_proportions_2indep(int(b.sum()), m, int(a.sum()), n, method="newcomb", compare="diff") if binary else None
            cases.append(({"a": a, "b": b, "conf": .95},
                          {"status": "ok", "delta": b.mean() - a.mean(),
                           "se": math.sqrt(a.var(ddof=1) / n + b.var(ddof=1) / m), "df": t.df, "t": t.statistic,
                           "p_two_sided": t.pvalue, "lo": ci.low, "hi": ci.high, "newcombe": list(nc) if binary else None}))
    write("unpaired", "scipy ttest_ind(equal_var=False); statsmodels confint_proportions_2indep(method='newcomb')", cases)


def paired():
    cases, bounds = [], []
    for n in (3, 12, 90):
        a = np.round(rng.normal(.7, .15, n), 4)
        b = np.round(a + rng.normal(-.02, .1, n), 4)
        t = stats.ttest_rel(b, a)
        ci = t.confidence_interval(.95)
        cases.append(({"a": a, "b": b},
                      {"status": "ok", "n": n, "n_dropped": 0, "delta": (b - a).mean(), "se_paired": stats.sem(b - a),
                       "se_unpaired": math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / n), "corr": np.corrcoef(a, b)[0, 1],
                       "t": t.statistic, "df": n - 1, "p_two_sided": t.pvalue,
                       "p_less": stats.ttest_rel(b, a, alternative="less").pvalue, "lo": ci.low, "hi": ci.high}))
        p, lower, upper = weightstats.ttost_paired(b, a, -.05, .05)
        c90 = t.confidence_interval(.9)
        bounds.append(({"a": a, "b": b, "margin": .05, "alpha": .05},
                       {"status": "ok", "delta": (b - a).mean(), "p_lower": lower[1], "p_upper": upper[1], "p_tost": p,
                        "ci90": [c90.low, c90.high]}))
    write("paired_t", "scipy ttest_rel", cases)
    write("tost", "statsmodels ttost_paired", bounds)


def permutation():
    cases = []
    for k in (3, 8, 11):
        d = np.round(rng.normal(.1, .5, k), 3)
        p = lambda side: stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative=side).pvalue
        flips = np.array(list(product([1, -1], repeat=k))) * d
        t = np.abs(flips.sum(1)) / flips.std(axis=1, ddof=1)
        seen = abs(d.sum()) / d.std(ddof=1)
        cases.append(({"d": d, "cluster": None, "shift": 0},
                      {"status": "ok", "two_sided": p("two-sided"), "less": p("less"), "greater": p("greater"),
                       "studentized_two_sided": float(np.mean(t >= seen * (1 - 1e-9)))}))
    write("permutation", "scipy permutation_test(permutation_type='samples', n_resamples=inf)", cases)


def multiple():
    cases = []
    for n in (1, 4, 15):
        p = np.round(rng.beta(.6, 3, n), 5)
        out = {}
        for name, method in [("holm", "holm"), ("bh", "fdr_bh"), ("by", "fdr_by"), ("bonferroni", "bonferroni")]:
            reject, adjusted, _, _ = multitest.multipletests(p, alpha=.05, method=method)
            out[name] = {"adjusted": adjusted, "reject": reject}
        cases.append(({"p": p, "alpha": .05}, out))
    write("multiple_testing", "statsmodels multipletests", cases)


def gates():
    cases = []
    for est, se, df, m in [(-.03, .012, 17.4, .05), (.0, .02, 300, .05), (.09, .02, 6.5, .05), (-.01, .05, 3.1, 0)]:
        half = stats.t.ppf(.95, df) * se
        at = lambda d: (est - d) / se
        worse, better = stats.t.cdf(at(0), df), stats.t.sf(at(0), df)
        low, up = stats.t.sf(at(-m), df), stats.t.cdf(at(m), df)
        tost = max(low, up)
        verdict = ("equivalent" if m > 0 and tost <= .05 else "regressed" if worse <= .05 else
                   "improved" if better <= .05 else "inconclusive")
        cases.append(({"kind": "t", "est": est, "se": se, "df": df, "margin": m, "alpha": .05},
                      {"verdict": verdict, "lower": est - half, "upper": est + half, "p_worse": worse, "p_better": better,
                       "p_noninf": low, "p_tost": tost, "non_inferior": low <= .05,
                       "material_regression": stats.t.cdf(at(-m), df) <= .05,
                       "material_improvement": stats.t.sf(at(m), df) <= .05}))
    write("gate", "scipy.stats.t", cases)


def powers():
    cases = []
    for effect, n, side in [(.5, 12, "two-sided"), (.25, 90, "two-sided"), (.3, 40, "larger")]:
        cases.append(({"kind": "t_power", "effect_size": effect, "n": n, "alpha": .05, "alternative": side},
                      {"power": power.TTestPower().power(effect, n, .05, alternative=side)}))
    for var, delta, n, one in [(.2, .05, 300, True), (.09, .1, 50, False)]:
        z = stats.norm.ppf(1 - .05 if one else 1 - .025) + stats.norm.ppf(.8)
        cases.append(({"kind": "normal", "omega2": var, "sigma2_a": 0, "sigma2_b": 0, "k_a": 1, "k_b": 1, "alpha": .05,
                       "power": .8, "delta": delta, "n": n, "deff": 1, "one_sided": one},
                      {"n_required": math.ceil(z * z * var / delta ** 2), "mde": z * math.sqrt(var / n)}))
    for better, worse, n in [(.03, .12, 60), (.2, .1, 90)]:
        total = 0.0
        for nd in range(1, n + 1):
            for x in range(nd + 1):
                if stats.binomtest(x, nd, .5).pvalue <= .05:
                    total += stats.binom.pmf(nd, n, better + worse) * stats.binom.pmf(x, nd, better / (better + worse))
        cases.append(({"kind": "mcnemar_exact_power", "p_improved": better, "p_worsened": worse, "n": n, "alpha": .05},
                      {"power": total}))
    write("power", "statsmodels TTestPower; scipy norm.ppf; scipy binomtest enumerated", cases, {"rel": 1e-7, "abs": 1e-9})


def quantiles():
    cases = []
    for n, p in [(7, .5), (59, .95), (500, .95), (500, .5), (4000, .99)]:
        x = np.round(rng.lognormal(6, 1, n), 2)
        s = np.sort(x)
        lower = max((l for l in range(1, n + 1) if stats.binom.cdf(l - 1, n, p) <= .025), default=None)
        upper = min((u for u in range(1, n + 1) if stats.binom.sf(u - 1, n, p) <= .025), default=None)
        cases.append(({"x": x, "p": p, "conf": .95},
                      {"status": "ok", "estimate": np.percentile(x, 100 * p), "lo": s[lower - 1] if lower else None,
                       "hi": s[upper - 1] if upper else None, "lo_rank": lower, "hi_rank": upper}))
    write("quantile", "numpy.percentile; scipy binom.cdf", cases)


def passes():
    cases = []
    for k in (1, 2, 4):
        counts = [(5, int(c)) for c in rng.integers(0, 6, 9)] + [(4, 4), (4, 1)]
        at = [1 - np.mean([all(i >= c for i in pick) for pick in combinations(range(n), k)]) for n, c in counts]
        hat = [np.mean([all(i < c for i in pick) for pick in combinations(range(n), k)]) for n, c in counts]
        one = np.mean([c / n for n, c in counts])
        suite = lambda v: dict(zip(("status", "mean", "se", "lo", "hi"), (
            "ok", np.mean(v), stats.sem(v), max(0.0, stats.t.interval(.95, len(v) - 1, np.mean(v), stats.sem(v))[0]),
            min(1.0, stats.t.interval(.95, len(v) - 1, np.mean(v), stats.sem(v))[1]))))
        cases.append(({"trials": [{"n": n, "c": c} for n, c in counts], "k": k},
                      {"per_task_pass_at_k": at, "per_task_pass_hat_k": hat, "n_excluded": 0, "pass_at_k": suite(at),
                       "pass_hat_k": suite(hat), "pass_1": one, "consistency": np.mean(hat) / one}))
    write("pass_at_k", "all subsets of k trials, counted", cases)


def wilcoxons():
    cases = []
    for d in [np.round(rng.normal(.2, 1, 14), 3), np.array([0, 1, 1, -1, 2, 0, -2, 1, 3, 1]), np.array([-1, -2, -2, 0, 1])]:
        both = {}
        for name, zero in (("wilcox", "wilcox"), ("pratt", "pratt")):
            run = lambda side: stats.wilcoxon(d, zero_method=zero, correction=False, alternative=side, method="asymptotic")
            both[name] = {"statistic": run("two-sided").statistic, "p_two_sided": run("two-sided").pvalue, "p_less": run("less").pvalue}
        kept = d[d != 0]
        ranks = stats.rankdata(abs(kept))
        plus, minus = ranks[kept > 0].sum(), ranks[kept < 0].sum()
        free = len(kept) == len(d) and len(set(abs(d))) == len(d)
        exact = {"p_two_sided": stats.wilcoxon(d, method="exact").pvalue,
                 "p_less": stats.wilcoxon(d, method="exact", alternative="less").pvalue} if free else None
        net = np.sign(d).mean()
        cases.append(({"d": d}, {"status": "ok", "n": len(d), "n_nonzero": len(kept), "net_sign": net,
                                 "superiority": (net + 1) / 2, "rank_biserial": (plus - minus) / (plus + minus),
                                 "w_plus": plus, "w_minus": minus, **both, "exact": exact}))
    write("wilcoxon", "scipy wilcoxon(correction=False, method='asymptotic'|'exact')", cases)


def effects():
    cases = []
    for n, m in [(6, 6), (30, 18)]:
        a, b = np.round(rng.normal(2, 1, n), 2), np.round(rng.normal(2.5, 1.4, m), 2)
        pooled = math.sqrt(((n - 1) * a.var(ddof=1) + (m - 1) * b.var(ddof=1)) / (n + m - 2))
        d = (b.mean() - a.mean()) / pooled
        u = stats.mannwhitneyu(b, a).statistic
        delta = 2 * u / (n * m) - 1
        size = abs(delta)
        cases.append(({"a": a, "b": b},
                      {"status": "ok", "cohen_d": d, "hedges_g": d * (1 - 3 / (4 * (n + m) - 9)),
                       "cohen_dz": (b - a).mean() / (b - a).std(ddof=1) if n == m else None, "cliffs_delta": delta,
                       "a12": (delta + 1) / 2,
                       "magnitude": "negligible" if size < .147 else "small" if size < .33 else "medium" if size < .474 else "large",
                       "risk_difference": None, "cohen_h": None, "odds_ratio_haldane": None}))
    write("effect_size", "numpy; scipy mannwhitneyu for Cliff's delta", cases)


def bootstraps():
    cases = []
    for n, b in [(11, 400), (25, 300)]:
        x = np.round(rng.gamma(2, 1, n), 3)
        index = rng.integers(0, n, (b, n))
        means = np.sort(x[index].mean(1))
        q = lambda p: np.percentile(means, 100 * p)
        z0 = stats.norm.ppf((np.sum(means < x.mean()) + .5 * np.sum(means == x.mean())) / b)
        jack = np.array([np.delete(x, i).mean() for i in range(n)])
        dev = jack.mean() - jack
        a = (dev ** 3).sum() / (6 * ((dev ** 2).sum()) ** 1.5)
        adj = lambda p: stats.norm.cdf(z0 + (z0 + stats.norm.ppf(p)) / (1 - a * (z0 + stats.norm.ppf(p))))
        cases.append(({"x": x, "cluster": None, "conf": .95, "enumerate": False, "indices": index},
                      {"theta": x.mean(), "se": means.std(ddof=1), "percentile": [q(.025), q(.975)],
                       "basic": [2 * x.mean() - q(.975), 2 * x.mean() - q(.025)], "z0": z0, "a": a,
                       "bca": [q(adj(.025)), q(adj(.975))]}))
    write("bootstrap", "numpy.percentile; BCa as in scipy.stats.bootstrap", cases, {"rel": 1e-8, "abs": 1e-10})


def agreements():
    cases = []
    for cats, n in [([0, 1], 60), ([1, 2, 3, 4, 5], 45)]:
        a = rng.choice(cats, n)
        b = np.where(rng.random(n) < .7, a, rng.choice(cats, n))
        kappa = lambda w: cohen_kappa_score(a, b, labels=cats, weights=w)
        cases.append(({"kind": "two", "a": a, "b": b, "cats": cats},
                      {"status": "ok", "n": n, "percent": (a == b).mean(), "kappa": kappa(None), "kappa_linear": kappa("linear"),
                       "kappa_quadratic": kappa("quadratic"), "spearman": stats.spearmanr(a, b).statistic,
                       "kendall_tau_b": stats.kendalltau(a, b).statistic, "pearson": stats.pearsonr(a, b).statistic}))
        m = np.array([a, b, rng.choice(cats, n)], dtype=float)
        m[rng.random(m.shape) < .15] = np.nan
        level = lambda name: krippendorff.alpha(reliability_data=m, value_domain=cats, level_of_measurement=name)
        rows = [[None if np.isnan(v) else int(v) for v in item] for item in m.T]
        cases.append(({"kind": "multi", "ratings": rows, "cats": cats},
                      {"alpha_nominal": level("nominal"), "alpha_ordinal": level("ordinal"), "alpha_interval": level("interval")}))
    write("agreement", "sklearn cohen_kappa_score; scipy spearmanr, kendalltau, pearsonr; krippendorff.alpha", cases)


def calibrations():
    cases = []
    for tp, fn, tn, fp in [(40, 5, 12, 3), (7, 0, 1, 2), (500, 61, 90, 44)]:
        person = [1] * (tp + fn) + [0] * (tn + fp)
        judge = [1] * tp + [0] * fn + [0] * tn + [1] * fp
        ci = lambda k, n: list(proportion.proportion_confint(k, n, method="wilson"))
        tpr, tnr, n = tp / (tp + fn), tn / (tn + fp), tp + fn + tn + fp
        top = ci(tp, tp + fn)
        cases.append(({"tp": tp, "fn": fn, "tn": tn, "fp": fp},
                      {"status": "ok", "tpr": tpr, "tnr": tnr, "tpr_ci": [top[0], 1.0 if fn == 0 else top[1]],
                       "tnr_ci": ci(tn, tn + fp), "ppv": tp / (tp + fp), "npv": tn / (tn + fn), "accuracy": (tp + tn) / n,
                       "balanced_accuracy": (tpr + tnr) / 2, "f1": 2 * tp / (2 * tp + fn + fp),
                       "f1_fail": 2 * tn / (2 * tn + fn + fp), "youden": tpr + tnr - 1,
                       "mcc": matthews_corrcoef(person, judge), "kappa": cohen_kappa_score(person, judge)}))
    write("judge_calibration", "statsmodels proportion_confint; sklearn matthews_corrcoef, cohen_kappa_score", cases)


def components():
    cases = []
    groups = [list(np.round(rng.normal(.5, .2) + rng.normal(0, .1, size), 3)) for size in (4, 2, 5, 3, 3)]
    values = np.concatenate(groups)
    f = stats.f_oneway(*groups).statistic
    within = sum(((np.array(g) - np.mean(g)) ** 2).sum() for g in groups) / (len(values) - len(groups))
    between = f * within
    n0 = (len(values) - sum(len(g) ** 2 for g in groups) / len(values)) / (len(groups) - 1)
    var = max(0.0, (between - within) / n0)
    cases.append(({"kind": "one_way", "groups": groups},
                  {"status": "ok", "ms_between": between, "ms_within": within, "n0": n0, "var_between": var,
                   "var_within": within, "icc": var / (var + within)}))
    for n, k, j in [(6, 3, 2), (9, 2, 4)]:
        x = np.round(rng.normal(.6, .25, (n, 1, 1)) + rng.normal(0, .1, (n, k, 1)) + rng.normal(0, .05, (n, k, j)), 4)
        place = np.indices(x.shape).reshape(3, -1)
        table = DataFrame({"y": x.ravel(), "example": place[0], "trial": place[0] * k + place[1]})
        squares = [OLS.from_formula(f"y ~ C({name})", table).fit().ess for name in ("example", "trial")]
        left = ((table.y - table.groupby("trial").y.transform("mean")) ** 2).sum()
        ms = squares[0] / (n - 1), (squares[1] - squares[0]) / (n * (k - 1)), left / (n * k * (j - 1))
        draw, trial, example = ms[2], max(0, (ms[1] - ms[2]) / j), max(0, (ms[0] - ms[1]) / (k * j))
        cases.append(({"kind": "nested", "x": x},
                      {"status": "ok", "var_judge": draw, "var_trial": trial, "var_example": example, "ms_example": ms[0],
                       "ms_trial": ms[1], "predicted_var_mean": example / n + trial / (n * k) + draw / (n * k * j)}))
    for v, c in [((.02, .1, .2), (1., .5, .05)), ((.01, .08, .06), (4., 1., .1))]:
        # What a budget buys: the least variance times cost over trials and draws that need not be whole.
        cost = lambda q: (v[0] + (v[1] + v[2] / q[1]) / q[0]) * (c[0] + q[0] * (c[1] + q[1] * c[2]))
        best = optimize.minimize(lambda q: math.log(cost(np.exp(q))), [0, 0], method="Nelder-Mead",
                                 options={"xatol": 1e-10, "fatol": 1e-15, "maxiter": 4000})
        j = max(1, round(math.exp(best.x[1])))
        k = optimize.minimize_scalar(lambda q: math.log(cost([math.exp(q), j])), bracket=(-3, 3), tol=1e-14)
        case = dict(zip(("var_example", "var_trial", "var_judge", "cost_example", "cost_trial", "cost_judge"), v + c))
        cases.append(({"kind": "optimal", **case},
                      {"j_star": math.exp(best.x[1]), "k_star": math.exp(k.x), "j": j, "k": max(1, round(math.exp(k.x)))},
                      {"rel": 1e-5, "abs": 1e-6}))
    write("variance_components", "scipy f_oneway; statsmodels OLS sums of squares; scipy minimize", cases)


for make in (proportions, means, clustered, weighted, mcnemar, unpaired, paired, permutation, multiple, gates, powers,
             quantiles, passes, wilcoxons, effects, bootstraps, agreements, calibrations, components):
    make()
