#!/usr/bin/env python3
"""Writes the Grafana dashboards of this folder: `python3 dashboards/make.py`. The JSON is what is shipped; a test
holds the names in it to those of the program."""
import json
import pathlib

HERE = pathlib.Path(__file__).parent
RUN = '{suite=~"$suite",side="run"}'


class Board:
    """One dashboard; panels are put side by side, 24 columns to a row."""

    def __init__(self, kind, name, title, variables):
        self.kind, self.name, self.panels = kind, name, []
        self.x, self.y, self.high = 0, 0, 0
        self.source = {"type": kind, "uid": "${datasource}"}
        query_kind = "Prometheus" if kind == "prometheus" else "PostgreSQL"
        chosen = [{"name": "datasource", "type": "datasource", "label": query_kind, "query": kind, "current": {},
                   "hide": 0, "refresh": 1, "regex": "", "multi": False, "includeAll": False, "options": []}]
        for variable, query in variables:
            chosen.append({"name": variable, "type": "query", "label": variable, "datasource": self.source,
                           "query": {"query": query, "refId": "A"} if kind == "prometheus" else query,
                           "refresh": 2, "sort": 1, "multi": True, "includeAll": True, "hide": 0, "regex": "",
                           "allValue": ".*" if kind == "prometheus" else None,
                           "current": {"text": ["All"], "value": ["$__all"]}, "options": []})
        self.document = {
            "uid": f"assize-{'sql-' if kind != 'prometheus' else ''}{name}", "title": f"assize: {title}",
            "tags": ["assize", kind], "timezone": "utc", "editable": True, "graphTooltip": 1, "schemaVersion": 39,
            "version": 1, "refresh": "1m", "time": {"from": "now-30d" if kind != "prometheus" else "now-7d", "to": "now"},
            "templating": {"list": chosen}, "annotations": {"list": []},
            "links": [{"type": "dashboards", "title": "assize", "tags": ["assize", kind], "asDropdown": True,
                       "includeVars": True, "keepTime": True, "icon": "external link", "targetBlank": False,
                       "tooltip": "", "url": ""}],
            "panels": self.panels,
        }

    def panel(self, what, title, targets, unit="short", width=12, height=8, describe="", options=None, custom=None,
              thresholds=None, minimum=None, maximum=None, decimals=None, mappings=None, transformations=None):
        if self.x + width > 24:
            self.x, self.y, self.high = 0, self.y + self.high, 0
        defaults = {"unit": unit, "custom": custom or {}, "mappings": mappings or [],
                    "thresholds": {"mode": "absolute", "steps": thresholds or [{"color": "green", "value": None}]}}
        for key, value in (("min", minimum), ("max", maximum), ("decimals", decimals)):
            if value is not None:
                defaults[key] = value
        made = []
        for number, target in enumerate(targets):
            one = {"refId": chr(ord("A") + number), "datasource": self.source}
            if self.kind == "prometheus":
                expr, legend = target
                table = what == "table"
                one |= {"expr": expr, "legendFormat": legend, "editorMode": "code", "range": not table,
                        "instant": table, "format": "table" if table else "time_series"}
            else:
                one |= {"rawSql": target, "rawQuery": True, "editorMode": "code",
                        "format": "table" if what in ("table", "stat", "bargauge") else "time_series"}
            made.append(one)
        self.panels.append({
            "id": len(self.panels) + 1, "type": what, "title": title, "description": describe,
            "datasource": self.source, "gridPos": {"x": self.x, "y": self.y, "w": width, "h": height},
            "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options or {}, "targets": made,
            "transformations": transformations or [],
        })
        self.x, self.high = self.x + width, max(self.high, height)

    def lines(self, title, *targets, **more):
        more.setdefault("options", {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"],
                                               "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}})
        # Points far apart are runs: a line between them says that nothing was measured there, not zero.
        more.setdefault("custom", {"drawStyle": "line", "lineWidth": 2, "fillOpacity": 5, "showPoints": "auto",
                                   "spanNulls": False})
        self.panel("timeseries", title, targets, **more)

    def stat(self, title, *targets, **more):
        more.setdefault("options", {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                                    "colorMode": "value", "graphMode": "area", "textMode": "auto",
                                    "justifyMode": "auto", "orientation": "auto"})
        more.setdefault("height", 5)
        self.panel("stat", title, targets, **more)

    def table(self, title, *targets, **more):
        more.setdefault("options", {"showHeader": True, "cellHeight": "sm"})
        self.panel("table", title, targets, **more)

    def write(self):
        folder = HERE / ("prometheus" if self.kind == "prometheus" else "postgres")
        folder.mkdir(exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(self.document, indent=2) + "\n")


SUITE = [("suite", "label_values(assize_run_timestamp_seconds, suite)")]
METRIC = SUITE + [("metric", 'label_values(assize_score_mean{suite=~"$suite"}, metric)')]
SHARE = dict(unit="percentunit", minimum=0, maximum=1)
WORSE = [{"color": "green", "value": None}, {"color": "orange", "value": 0.05}, {"color": "red", "value": 0.15}]


def prometheus():
    b = Board("prometheus", "overview", "overview", SUITE)
    b.table("Verdicts", (f'max by (suite, target, verdict) (assize_verdict{RUN}) == 1', ""), width=12,
            describe="The word that holds for the latest complete run of each suite.")
    b.stat("Age of the latest run", (f"time() - max by (suite) (assize_run_timestamp_seconds{RUN})", "{{suite}}"),
           unit="s", width=12, height=8)
    b.lines("Mean scores", (f"assize_score_mean{RUN}", "{{suite}} {{metric}}"), width=24,
            describe="Means over examples; their intervals are on the page about quality.")
    b.stat("Traces, last 24 h", ("assize_live_traces", ""), width=6)
    b.stat("Traces with a failure", ("assize_live_trace_errors / assize_live_traces", ""), width=6, thresholds=WORSE, **SHARE)
    b.stat("Latency p95", ('assize_live_latency_seconds{stat="p95"}', ""), unit="s", width=6)
    b.stat("Cost, last 24 h", ("assize_live_cost_usd", ""), unit="currencyUSD", width=6,
           describe="A lower bound where prices are unknown.")
    b.lines("Unscored cells by reason", (f"sum by (suite, reason) (assize_run_unscored_cells{RUN})", "{{suite}} {{reason}}"))
    b.lines("Failed trials", (f'sum by (suite) (assize_run_trials{{suite=~"$suite",side="run",outcome="failed"}})', "{{suite}}"))
    b.write()

    b = Board("prometheus", "quality", "quality", METRIC)
    which = '{suite=~"$suite",metric=~"$metric",side="run"}'
    b.lines("Mean with its interval", (f"assize_score_mean{which}", "{{suite}} {{metric}}"),
            (f"assize_score_ci_lower{which}", "{{suite}} {{metric}} lower"),
            (f"assize_score_ci_upper{which}", "{{suite}} {{metric}} upper"), width=24, height=10,
            describe="Two runs whose intervals overlap may still differ: `assize compare` pairs their examples.")
    b.lines("Examples behind the mean", (f"assize_score_examples{which}", "{{suite}} {{metric}}"))
    b.lines("Cells without a score", (f"sum by (suite, metric, reason) (assize_score_unscored_cells{which})",
                                      "{{suite}} {{metric}} {{reason}}"),
            describe="Unscored is no value: these cells are in no mean.")
    b.lines("Difference to the baseline", ('assize_difference{suite=~"$suite",metric=~"$metric"}', "{{suite}} {{metric}}"),
            ('assize_difference_ci_lower{suite=~"$suite",metric=~"$metric"}', "{{suite}} {{metric}} lower"),
            ('assize_difference_ci_upper{suite=~"$suite",metric=~"$metric"}', "{{suite}} {{metric}} upper"),
            describe="From the text file of a comparison (`--report prometheus=FILE`).")
    b.table("How metrics moved", ('assize_change{suite=~"$suite",metric=~"$metric"} == 1', ""),
            describe="From the text file of a comparison.")
    b.lines("Scores that others gave, last 24 h", ("assize_live_score_mean", "{{score}}"))
    b.lines("How many", ("assize_live_scores", "{{score}}"))
    b.write()

    b = Board("prometheus", "cost", "cost", SUITE)
    b.stat("Cost of traces, last 24 h", ("assize_live_cost_usd", ""), unit="currencyUSD", width=8)
    b.stat("Cost per trace", ("assize_live_cost_usd / assize_live_traces", ""), unit="currencyUSD", width=8, decimals=4)
    b.stat("Calls without a known price", ("sum(assize_live_model_unpriced_calls)", ""), width=8,
           describe="Not in any sum on this page.", thresholds=[{"color": "green", "value": None}, {"color": "orange", "value": 1}])
    b.lines("Cost by model, last 24 h", ("assize_live_model_cost_usd", "{{model}}"), unit="currencyUSD")
    b.lines("Tokens by model, last 24 h", ("sum by (model, direction) (assize_live_model_tokens)", "{{model}} {{direction}}"))
    b.lines("Money spent by runs", (f"sum by (suite, spender) (assize_run_cost_usd{RUN})", "{{suite}} {{spender}}"),
            unit="currencyUSD")
    b.lines("Cost of the target per trial", (f"assize_cost_usd{RUN}", "{{suite}} {{stat}}"), unit="currencyUSD", decimals=4)
    b.write()

    for name, title, calls, noun in (("models", "models", "assize_live_model_calls", "model"),
                                     ("tools", "tools", "assize_live_tool_calls", "tool"),
                                     ("agents", "agents", "assize_live_agent_spans", "agent")):
        b = Board("prometheus", name, title, [(noun, f"label_values({calls}, {noun})")])
        which = f'{{{noun}=~"${noun}"}}'
        errors, latency = f"assize_live_{noun}_errors", f"assize_live_{noun}_latency_seconds"
        b.lines("Calls, last 24 h" if noun != "agent" else "Steps, last 24 h", (calls + which, f"{{{{{noun}}}}}"))
        b.lines("Share that failed", (f"{errors}{which} / {calls}{which}", f"{{{{{noun}}}}}"), thresholds=WORSE, **SHARE)
        b.lines("Latency", (f'{latency}{{{noun}=~"${noun}",stat="p50"}}', f"{{{{{noun}}}}} p50"),
                (f'{latency}{{{noun}=~"${noun}",stat="p95"}}', f"{{{{{noun}}}}} p95"), unit="s")
        if noun == "model":
            b.lines("Tokens per call", (f"assize_live_model_tokens{which} / on (model) group_left () {calls}{which}",
                                        "{{model}} {{direction}}"))
            b.lines("Cost per call", (f"assize_live_model_cost_usd{which} / {calls}{which}", "{{model}}"),
                    unit="currencyUSD", decimals=5)
            b.lines("Calls without a known price", (f"assize_live_model_unpriced_calls{which}", "{{model}}"))
        else:
            b.table("Latest", (calls + which, ""))
        b.stat("Left out", (f'assize_live_groups_left_out{{group="{noun}"}}', ""), width=24, height=4,
               describe="Beyond the commonest 20, which have no series of their own.")
        b.write()


def postgres():
    suite = [("suite", "SELECT DISTINCT suite FROM run_totals ORDER BY suite")]
    metric = suite + [("metric", "SELECT DISTINCT metric FROM run_metrics WHERE suite IN ($suite) ORDER BY metric")]
    when = "$__timeFilter(run_created_at) AND suite IN ($suite)"
    b = Board("grafana-postgresql-datasource", "overview", "overview (SQL)", suite)
    b.table("Latest runs", "SELECT run_created_at, suite, target, dataset, run_status, trials, failed_trials, cells, unscored, "
            f"instrument_failures, spent_usd, run_id FROM run_totals WHERE {when} ORDER BY run_created_at DESC LIMIT 100",
            width=24, height=10)
    b.lines("Mean scores", "SELECT run_created_at AS time, mean AS value, suite || ' ' || target || ' ' || metric AS metric "
            f"FROM run_metrics WHERE {when} AND run_status = 'complete' ORDER BY run_created_at")
    b.lines("Failed trials", "SELECT run_created_at AS time, failed_trials AS value, suite || ' ' || target AS metric "
            f"FROM run_totals WHERE {when} ORDER BY run_created_at")
    b.lines("Mean latency", "SELECT run_created_at AS time, mean_latency_ms AS value, suite || ' ' || target AS metric "
            f"FROM run_totals WHERE {when} ORDER BY run_created_at", unit="ms")
    b.table("Sent elsewhere", "SELECT sink, state, COUNT(*) AS entries, MAX(changed_at) AS latest FROM deliveries "
            "GROUP BY sink, state ORDER BY sink, state", describe="The outbox of `assize push`.")
    b.write()

    b = Board("grafana-postgresql-datasource", "quality", "quality (SQL)", metric)
    chosen = f"{when} AND metric IN ($metric)"
    b.lines("Mean scores", "SELECT run_created_at AS time, mean AS value, suite || ' ' || target || ' ' || metric AS metric "
            f"FROM run_metrics WHERE {chosen} ORDER BY run_created_at", width=24,
            describe="Plain means: weights and intervals are in the reports.")
    b.lines("Examples behind the mean", "SELECT run_created_at AS time, examples AS value, suite || ' ' || target || ' ' || metric "
            f"AS metric FROM run_metrics WHERE {chosen} ORDER BY run_created_at")
    b.lines("Cells without a score", "SELECT run_created_at AS time, cells AS value, suite || ' ' || metric || ' ' || reason AS metric "
            f"FROM unscored_reasons WHERE {chosen} ORDER BY run_created_at",
            describe="Unscored is no value: these cells are in no mean.")
    b.table("Lowest examples", "SELECT suite, target, grader AS metric, example_id, AVG(value) AS mean, COUNT(value) AS numbers, "
            f"COUNT(unscored) AS unscored FROM scores WHERE {when} AND grader IN ($metric) "
            "GROUP BY suite, target, grader, example_id HAVING COUNT(value) > 0 ORDER BY AVG(value), example_id LIMIT 100", width=24)
    b.write()

    b = Board("grafana-postgresql-datasource", "cost", "cost (SQL)", suite)
    b.lines("Money spent by runs", "SELECT run_created_at AS time, spent_usd AS value, suite || ' ' || target AS metric "
            f"FROM run_totals WHERE {when} ORDER BY run_created_at", unit="currencyUSD")
    b.lines("Calls without a known price", "SELECT run_created_at AS time, unpriced_calls AS value, suite || ' ' || target AS metric "
            f"FROM run_totals WHERE {when} ORDER BY run_created_at", describe="Not in any sum on this page.")
    b.lines("Cost of the target per priced trial", "SELECT run_created_at AS time, target_cost_usd / priced_trials AS value, "
            f"suite || ' ' || target AS metric FROM run_totals WHERE {when} AND priced_trials > 0 ORDER BY run_created_at",
            unit="currencyUSD", decimals=4)
    b.lines("Tokens of the target", "SELECT run_created_at AS time, tokens_in + tokens_out AS value, suite || ' ' || target AS metric "
            f"FROM run_totals WHERE {when} ORDER BY run_created_at")
    b.table("Dearest graders", "SELECT suite, metric, SUM(spent_usd) AS spent_usd, SUM(cells) AS cells FROM run_metrics "
            f"WHERE {when} GROUP BY suite, metric ORDER BY SUM(spent_usd) DESC LIMIT 50", width=24)
    b.write()


prometheus()
postgres()
