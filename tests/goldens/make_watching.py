"""Makes sequential.json, drift.json and alerts.json beside this file: python make_watching.py, with numpy 2 and scipy 1.17.
Inputs come from a fixed seed. Closed forms are reckoned here in another way than in the program: mixtures by numerical
integration over the normal prior, sums by numpy over whole prefixes, charts from their defining recursions unrolled."""

import json
import math
import pathlib

import numpy as np
from scipy import integrate, optimize, stats

from shared import plain

rng = np.random.default_rng(20261121)
here = pathlib.Path(__file__).parent


def write(method, call, cases):
    numbered = [{"id": f"o{i + 1:02}", "input": i_, "expected": e, **more} for i, (i_, e, more) in enumerate(cases)]
    text = {"method": method, "call": call, "script": "make_watching.py", "tolerance": {"rel": 1e-9, "abs": 1e-12},
            "cases": plain(numbered)}
    lines = json.dumps(text, separators=(", ", ": ")).replace('{"id"', '\n{"id"')
    (here / f"{method}.json").write_text(lines + "\n")


def mixture_radius(t, sigma, rho, alpha):
    """The s at which the mixture of exp(lam s - lam^2 v / 2) over lam ~ N(0, 1/rho) reaches 1/alpha."""
    v = t * sigma * sigma
    def log_mixture(s):
        peak = s / (v + rho)
        width = 12 / math.sqrt(v + rho)
        area, _ = integrate.quad(lambda lam: math.exp(lam * s - lam * lam * (v + rho) / 2 - peak * s / 2),
                                 peak - width, peak + width, epsabs=0, epsrel=1e-12)
        return math.log(area * math.sqrt(rho / (2 * math.pi))) + peak * s / 2
    return optimize.brentq(lambda s: log_mixture(s) - math.log(1 / alpha), 0, 1e4, xtol=1e-13, rtol=1e-13) / t


def sequentials():
    cases = []
    for n, alpha, v_opt in [(6, .05, 25), (14, .2, 3)]:
        x = np.round(rng.beta(4, 2, n), 4)
        r = 2 * math.log(1 / alpha)
        rho = v_opt / (r + math.log(1 + r))
        cs = []
        for t in range(1, n + 1):
            radius = mixture_radius(t, .5, rho, alpha)
            cs.append([x[:t].mean() - radius, x[:t].mean() + radius])
        cases.append(({"kind": "normal_mixture", "x": x, "sigma": .5, "alpha": alpha, "v_opt": v_opt},
                      {"rho": rho, "cs": cs}, {}))
    for n, alpha, t_star in [(9, .05, 50), (25, .1, 300)]:
        x = np.round(rng.lognormal(0, 1, n), 4)
        rho = math.sqrt((-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / t_star)
        cs = [None]
        for t in range(2, n + 1):
            # The normal mixture for unit variance with prior variance rho^2, scaled by the standard deviation.
            radius = x[:t].std() * mixture_radius(t, 1, 1 / rho**2, alpha)
            cs.append([x[:t].mean() - radius, x[:t].mean() + radius])
        cases.append(({"kind": "asymptotic", "x": x, "alpha": alpha, "t_star": t_star}, {"rho": rho, "cs": cs}, {}))
    for n, theta0, sigma, tau in [(8, .5, 1.5, .4), (20, 0, .3, 1)]:
        x = np.round(rng.normal(theta0 + .3, sigma, n), 4)
        p, least = [], 1.0
        for t in range(1, n + 1):
            s = x[:t].mean() - theta0
            # Marginal density of the mean under the mixture against its density under the hypothesis.
            ratio = (stats.norm.pdf(s, 0, math.sqrt(tau**2 + sigma**2 / t)) / stats.norm.pdf(s, 0, sigma / math.sqrt(t)))
            least = min(least, 1 / ratio)
            p.append(least)
        cases.append(({"kind": "msprt", "x": x, "theta0": theta0, "sigma": sigma, "tau": tau}, {"p": p}, {}))
    for n, m0, lambdas, threshold in [(30, .9, [.5, 3, 8], 20), (12, .4, [0, 1], 5)]:
        x = (rng.random(n) < m0 - .25).astype(int)
        e = np.mean([np.cumprod(1 + lam * (m0 - x)) for lam in lambdas], axis=0)
        first = np.flatnonzero(e >= threshold)
        cases.append(({"kind": "e_process", "x": x, "m0": m0, "lambdas": lambdas, "threshold": threshold},
                      {"e": e, "alarm": int(first[0]) if len(first) else None}, {}))
    for n, m0, lam, threshold in [(40, .9, 2.5, 100), (25, .6, .9, 1000)]:
        x = np.where(np.arange(n) < n // 2, rng.random(n) < m0, rng.random(n) < m0 - .4).astype(int)
        factor = 1 + lam * (m0 - x)
        # Shiryaev-Roberts as the sum over all starts; the cumulative one as the best start.
        starts = [[np.prod(factor[s:t + 1]) for s in range(t + 1)] for t in range(n)]
        sr, cusum = [sum(row) for row in starts], [max(row) for row in starts]
        first = lambda path: next((i for i, m in enumerate(path) if m >= threshold), None)
        cases.append(({"kind": "e_detector", "x": x, "m0": m0, "lam": lam, "threshold": threshold},
                      {"e_sr": sr, "e_sr_alarm": first(sr), "e_cusum": cusum, "e_cusum_alarm": first(cusum)}, {}))
    for n, alpha in [(40, .05), (15, .2)]:
        x = np.round(rng.beta(6, 3, n), 4)
        t = np.arange(1, n + 1)
        mu = (.5 + np.cumsum(x)) / (t + 1)
        sig2 = (.25 + np.cumsum((x - mu) ** 2)) / (t + 1)
        mu_before, sig2_before = np.r_[.5, mu[:-1]], np.r_[.25, sig2[:-1]]
        lam = np.minimum(np.sqrt(2 * np.log(2 / alpha) / (sig2_before * t * np.log(t + 1))), .5)
        psi = (-np.log(1 - lam) - lam) / 4
        centre = np.cumsum(lam * x) / np.cumsum(lam)
        radius = (np.log(2 / alpha) + np.cumsum(4 * (x - mu_before) ** 2 * psi)) / np.cumsum(lam)
        lo = np.maximum.accumulate(np.maximum(0, centre - radius))
        hi = np.minimum.accumulate(np.minimum(1, centre + radius))
        cases.append(({"kind": "predmix_eb", "x": x, "alpha": alpha}, {"cs": np.c_[lo, hi]}, {}))
    write("sequential", "scipy integrate.quad, norm.pdf; numpy cumsum, cumprod", cases)


def drifts():
    cases = []
    for n, k, h in [(30, .5, 4), (12, .25, 8)]:
        x = np.round(rng.normal(.8, .05, n) - .04 * (np.arange(n) > n / 2), 4)
        z = (x - .8) / .05
        # A one-sided sum is the walk above its least value so far.
        def arm(steps):
            walk = np.r_[0, np.cumsum(steps)]
            return (walk - np.minimum.accumulate(walk))[1:]
        high, low = arm(z - k), arm(-z - k)
        over = np.flatnonzero(np.maximum(high, low) > h)
        cases.append(({"kind": "cusum", "x": x, "mu": .8, "sd": .05, "k": k, "h": h},
                      {"high": high, "low": low, "alarm": int(over[0]) if len(over) else None}, {"tol": {"abs": 1e-9}}))
    for n, lam, width in [(20, .3, 2), (9, 1, 3)]:
        x = np.round(rng.normal(10.5, 1, n), 3)
        z, limits = [], []
        for i in range(1, n + 1):
            weights = lam * (1 - lam) ** np.arange(i)
            z.append((1 - lam) ** i * 10 + (weights * x[:i][::-1]).sum())
            half = width * math.sqrt((weights**2).sum())
            limits.append([10 - half, 10 + half])
        out = [i for i in range(n) if not limits[i][0] <= z[i] <= limits[i][1]]
        cases.append(({"kind": "ewma", "x": x, "mu": 10, "sd": 1, "lam": lam, "L": width},
                      {"z": z, "limits": limits, "alarm": out[0] if out else None}, {}))
    for n, at, step in [(15, 6, 2), (40, 30, .5), (4, 2, 1)]:
        x = np.round(rng.normal(0, 1, n) + step * (np.arange(n) >= at), 4)
        t = {k: stats.ttest_ind(x[k:], x[:k]).statistic for k in range(2, n - 1)}
        k = max(t, key=lambda k: abs(t[k]))
        cases.append(({"kind": "changepoint", "x": x},
                      {"split": k, "t": t[k], "mean_left": x[:k].mean(), "mean_right": x[k:].mean()}, {}))
    cases.append(({"kind": "changepoint", "x": [4.0, 2.0]}, None, {}))
    write("drift", "numpy minimum.accumulate; scipy ttest_ind", cases)


def alerts():
    cases = []
    for before, now, alpha in [(.9, .55, .01), (.9, .8, .05)]:
        b, c = (rng.random(80) < before).astype(int), (rng.random(50) < now).astype(int)
        test = stats.ttest_ind(c, b, equal_var=False, alternative="less")
        lower = -100 * test.confidence_interval(1 - alpha).high
        drop = 100 * (b.mean() - c.mean())
        cases.append(({"kind": "quality_drop", "baseline": b, "current": c, "n_min": 30, "alpha": alpha},
                      {"warn": drop >= 10 and test.pvalue <= alpha, "critical": lower >= 10, "drop": drop,
                       "p": test.pvalue, "lower": lower}, {}))
    for n, threshold, alpha in [(70, 2, .01), (35, 4, .1), (10, 4, .1)]:
        x = np.round(rng.lognormal(0, .8, n), 3)
        ranks = [r for r in range(1, n + 1) if stats.binom.cdf(r - 1, n, .95) <= alpha]
        lower = np.sort(x)[max(ranks) - 1] if ranks else None
        p95 = np.percentile(x, 95)
        known = n >= 20
        answer = {"warn": bool(p95 > threshold) if known else None,
                  "critical": (lower is not None and bool(lower > threshold)) if known else None, "p95": p95, "lower": lower}
        cases.append(({"kind": "p95_threshold", "x": x, "threshold": threshold, "n_min": 20, "alpha": alpha}, answer, {}))
        b = rng.poisson(1, 90)
        own = 2 * max(.5, np.percentile(b, 95))
        answer = {"threshold": own, "p95": p95, "lower": lower, "warn": bool(p95 > own) if known else None,
                  "critical": (lower is not None and bool(lower > own)) if known else None}
        cases.append(({"kind": "p95_ratio", "baseline": b, "current": x, "ratio": 2, "floor": .5, "n_min": 20,
                       "alpha": alpha}, answer, {}))
    for n, p, threshold in [(30, .4, .2), (15, .1, .1)]:
        calls = rng.integers(1, 9, n)
        errors = rng.binomial(calls, p)
        rate = errors.sum() / calls.sum()
        # The delete-nothing linearisation: residuals of the ratio as one sample, their standard error over the mean.
        se = stats.sem(errors - rate * calls) / calls.mean()
        lower = rate - stats.t.isf(.01, n - 1) * se
        cases.append(({"kind": "rate", "errors": errors, "calls": calls, "threshold": threshold, "min_traces": 10,
                       "min_calls": 20, "alpha": .01},
                      {"rate": rate, "se": se, "lower": lower, "warn": bool(rate > threshold),
                       "critical": bool(lower > threshold)}, {}))
    for n, factor, min_spend in [(40, 3.5, 1), (40, 1.1, 1), (25, 4, 1000)]:
        b, c = np.round(rng.lognormal(-3, .6, 200), 5), np.round(factor * rng.lognormal(-3, .6, n), 5)
        ratio = c.mean() / b.mean()
        spread = math.hypot(stats.sem(c) / c.mean(), stats.sem(b) / b.mean())
        lower = math.exp(math.log(ratio) - stats.norm.isf(.01) * spread)
        ignored = bool(c.sum() < min_spend)
        cases.append(({"kind": "cost_ratio", "baseline": b, "current": c, "ratio": 2, "min_spend": min_spend, "n_min": 20,
                       "alpha": .01},
                      {"ratio": ratio, "lower": lower, "ignored": ignored,
                       "warn": bool(not ignored and ratio > 2 and lower > 1), "critical": bool(not ignored and lower > 2)},
                      {}))
    # Written by hand from the rules.
    T, F, N = True, False, None
    for breach, m, n, clear_n, cooldown, states, events in [
        ([F, T, F, T, F, F, F], 2, 3, 3, 0, "0001110", [[3, "fire"], [6, "resolve"]]),
        ([T, N, F, N, N, F, T, T], 1, 1, 2, 7, "11111011", [[0, "fire"], [5, "resolve"]]),
        ([N, T, T, F, F, T, T], 2, 2, 1, 4, "0010001", [[2, "fire"], [3, "resolve"], [6, "fire"]]),
    ]:
        cases.append(({"kind": "machine", "breach": breach, "m": m, "n": n, "clear_n": clear_n, "cooldown": cooldown},
                      {"states": ["firing" if s == "1" else "ok" for s in states], "events": events}, {}))
    write("alerts", "scipy ttest_ind, binom.cdf, sem; numpy percentile; the alarm by hand", cases)


for make in (sequentials, drifts, alerts):
    make()
