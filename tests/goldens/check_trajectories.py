"""An independent check of the scorers of tool calls: reads rows of tau-bench, prints what each mode should give.

    python3 tests/goldens/check_trajectories.py rows.jsonl > expected.json

Standard library only, and slow textbook definitions: subsets by bit masks in place of any clever pairing. Each row holds
`key`, `actions` (name, kwargs) and `traj` (messages in the chat format).
"""

import json
import sys
from functools import lru_cache


def same(a, b):
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def contained(wanted, given):
    if isinstance(wanted, dict) and isinstance(given, dict):
        return all(key in given and contained(value, given[key]) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(given, list):
        return len(wanted) == len(given) and all(map(contained, wanted, given))
    return same(wanted, given)


def fit(mode, wanted, given):
    """(met, all) of the arguments, or None for another tool."""
    if wanted["name"] != given["name"]:
        return None
    if mode == "ignore":
        return 0, 0
    wanted, given = wanted["kwargs"], given["kwargs"]
    if mode == "partial":
        return sum(key in given and contained(value, given[key]) for key, value in wanted.items()), len(wanted)
    keys = wanted.keys() | given.keys()
    return sum(key in wanted and key in given and same(wanted[key], given[key]) for key in keys), len(keys)


def best(wanted, made, gain, ordered):
    """The greatest sum of gains over pairs, each call used once."""
    columns = len(made)
    if ordered:
        @lru_cache(maxsize=None)
        def most(row, column):
            if row == len(wanted) or column == columns:
                return 0.0
            pair = gain(row, column)
            both = pair + most(row + 1, column + 1) if pair > 0 else 0.0
            return max(both, most(row + 1, column), most(row, column + 1))

        return most(0, 0)
    # Over masks of the expected calls that are used up; those no made call fits cannot be used.
    sums = {0: 0.0}
    for column in range(columns):
        pairs = [(row, gain(row, column)) for row in range(len(wanted))]
        pairs = [(row, value) for row, value in pairs if value > 0]
        grown = dict(sums)
        for mask, total in sums.items():
            for row, value in pairs:
                if not mask >> row & 1:
                    key = mask | 1 << row
                    grown[key] = max(grown.get(key, 0.0), total + value)
        sums = grown
    return max(sums.values())


def calls(messages):
    for message in messages:
        for call in message.get("tool_calls") or []:
            yield {"name": call["function"]["name"], "kwargs": json.loads(call["function"]["arguments"])}


def main():
    found = {}
    for line in open(sys.argv[1]):
        row = json.loads(line)
        wanted, made = row["actions"], list(calls(row["traj"]))
        values = {}
        for mode in ("partial", "exact", "ignore"):
            def share(i, j):
                pair = fit(mode, wanted[i], made[j])
                return 0.0 if pair is None else (1 + pair[0]) / (1 + pair[1])

            def full(i, j):
                pair = fit(mode, wanted[i], made[j])
                return float(pair is not None and pair[0] == pair[1])

            n, m = len(wanted), len(made)
            in_order, any_order = best(wanted, made, full, True), best(wanted, made, full, False)
            none = n == 0
            values[f"{mode}_exact"] = float(in_order == max(n, m))
            values[f"{mode}_in_order"] = None if none else float(in_order == n)
            values[f"{mode}_any_order"] = None if none else float(any_order == n)
            values[f"{mode}_same_calls"] = float(any_order == max(n, m))
            values[f"{mode}_subset"] = float(any_order == m)
            values[f"{mode}_share"] = None if none else any_order / n
            values[f"{mode}_f1"] = None if none else 2 * best(wanted, made, share, False) / (n + m)
            values[f"{mode}_ordered_f1"] = None if none else 2 * best(wanted, made, share, True) / (n + m)
        found[row["key"]] = values
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
