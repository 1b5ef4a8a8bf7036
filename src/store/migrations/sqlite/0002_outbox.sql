-- What is to be sent elsewhere, and how far that is. It holds no finding, and its rows change.
CREATE TABLE outbox (
    sink       TEXT NOT NULL,             -- name in the configuration; of an alarm, `alarm:` and its name
    key        TEXT NOT NULL,             -- what makes an entry the same again: trace, metric and grader, or the run
    digest     TEXT NOT NULL,             -- of what it says and where it goes
    payload    TEXT NOT NULL,             -- JSON, what is sent; never a secret
    state      TEXT NOT NULL,             -- waiting, sent, rejected
    attempts   INTEGER NOT NULL,          -- since it last changed
    error      TEXT,                      -- why it was turned away or not answered
    created_at TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    sent_at    TEXT,                      -- when any form of it was last taken
    PRIMARY KEY (sink, key)
);
CREATE INDEX outbox_by_state ON outbox (sink, state, changed_at);

-- Views for BI tools, as those of version 1: see docs/database.md.

-- One row per run: what defines it, how it stands, its counts, money, tokens and time. Costs are sums of what is known:
-- `unpriced_calls` says how many calls are not in them.
CREATE VIEW run_totals AS
WITH trials AS (
    SELECT run_id, COUNT(*) AS trials, COUNT(failure) AS failed_trials, AVG(latency_ms) AS mean_latency_ms,
           SUM(cost_usd) AS target_cost_usd, COUNT(cost_usd) AS priced_trials,
           SUM(tokens_in) AS tokens_in, SUM(tokens_out) AS tokens_out
    FROM journal WHERE kind = 'target_finished' GROUP BY run_id
), cells AS (
    SELECT run_id, COUNT(*) AS cells, COUNT(unscored) AS unscored,
           SUM(CASE WHEN unscored NOT IN ('not_applicable', 'target_failed') THEN 1 ELSE 0 END) AS instrument_failures
    FROM journal WHERE kind = 'score_finished' GROUP BY run_id
), money AS (
    SELECT run_id, SUM(spent_usd) AS spent_usd, SUM(unpriced_calls) AS unpriced_calls
    FROM journal WHERE kind IN ('target_finished', 'score_finished') GROUP BY run_id
)
SELECT r.run_id, r.suite, r.dataset, r.target, r.created_at AS run_created_at,
       (SELECT s.status FROM journal s WHERE s.run_id = r.run_id AND s.status IS NOT NULL
        ORDER BY s.seq DESC LIMIT 1) AS run_status,
       r.target_kind, r.examples, r.tool_version, r.git_commit,
       t.trials, t.failed_trials, t.mean_latency_ms, t.target_cost_usd, t.priced_trials, t.tokens_in, t.tokens_out,
       c.cells, c.unscored, c.instrument_failures, m.spent_usd, m.unpriced_calls
FROM runs r LEFT JOIN trials t ON t.run_id = r.run_id LEFT JOIN cells c ON c.run_id = r.run_id
LEFT JOIN money m ON m.run_id = r.run_id;

-- One row per run, grader and reason: why cells have no score.
CREATE VIEW unscored_reasons AS
SELECT j.run_id, r.suite, r.dataset, r.target, r.created_at AS run_created_at,
       j.grader AS metric, j.unscored AS reason, COUNT(*) AS cells
FROM journal j JOIN runs r ON r.run_id = j.run_id
WHERE j.kind = 'score_finished' AND j.unscored IS NOT NULL
GROUP BY j.run_id, r.suite, r.dataset, r.target, r.created_at, j.grader, j.unscored;

-- One row per entry of the outbox.
CREATE VIEW deliveries AS
SELECT sink, key, state, attempts, error, created_at, changed_at, sent_at FROM outbox;
