-- Runs, their journals, outputs by content, baselines, claims, the audit trail.
-- Times are RFC 3339 in UTC with nine digits, so that text order is time order.

CREATE TABLE runs (
    run_id         TEXT NOT NULL PRIMARY KEY,
    suite          TEXT NOT NULL,
    created_at     TEXT NOT NULL,
    dataset        TEXT NOT NULL,             -- name@version
    dataset_digest TEXT NOT NULL,
    target         TEXT NOT NULL,             -- name of the variant
    target_kind    TEXT NOT NULL,
    examples       INTEGER NOT NULL,
    trials         INTEGER NOT NULL,
    tool_version   TEXT NOT NULL,
    git_commit     TEXT,
    header         TEXT NOT NULL              -- JSON, the whole of it
);
CREATE INDEX runs_by_suite ON runs (suite, created_at);

-- One row per event. `body` is the event; the other columns repeat what queries need, so that no view reads JSON.
CREATE TABLE journal (
    run_id         TEXT NOT NULL REFERENCES runs (run_id),
    seq            INTEGER NOT NULL,          -- 0, 1, 2, ... without gaps
    at             TEXT NOT NULL,
    kind           TEXT NOT NULL,             -- run_started, target_finished, score_finished, ...
    status         TEXT,                      -- what the event makes of the run: open, complete, stopped
    example_id     TEXT,
    trial          INTEGER,
    grader         TEXT,
    draw           INTEGER,
    value          REAL,                      -- what enters means; NULL is not zero
    label          TEXT,
    unscored       TEXT,                      -- why there is no score
    failure        TEXT,                      -- class of a target's failure
    cached         BOOLEAN,
    took_ms        INTEGER,
    latency_ms     REAL,                      -- of the output
    cost_usd       REAL,                      -- of the output, whenever it was made
    tokens_in      INTEGER,                   -- of the output, or of the judge's calls
    tokens_out     INTEGER,
    spent_usd      REAL,                      -- in this run
    unpriced_calls INTEGER,                   -- calls that `spent_usd` knows no price of
    body           TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
);
CREATE UNIQUE INDEX journal_one_target ON journal (run_id, example_id, trial) WHERE kind = 'target_finished';
CREATE UNIQUE INDEX journal_one_score ON journal (run_id, example_id, trial, grader, draw)
    WHERE kind = 'score_finished';
CREATE INDEX journal_standing ON journal (run_id, seq) WHERE status IS NOT NULL;

CREATE TABLE blobs (
    digest TEXT NOT NULL PRIMARY KEY,         -- of the content, not of its compressed form
    size   INTEGER NOT NULL,                  -- bytes of the content
    bytes  BLOB NOT NULL                      -- zstd
);

CREATE TABLE baselines (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    suite   TEXT NOT NULL,
    run_id  TEXT NOT NULL,
    actor   TEXT NOT NULL,
    at      TEXT NOT NULL,
    reason  TEXT NOT NULL
);
CREATE INDEX baselines_by_suite ON baselines (suite, seq);

-- Who may write a run just now. The one table whose rows change: it holds no finding.
CREATE TABLE claims (
    run_id   TEXT NOT NULL PRIMARY KEY,
    holder   TEXT NOT NULL,
    until_ms INTEGER NOT NULL                 -- milliseconds since 1970
);

CREATE TABLE audit (
    seq             INTEGER NOT NULL PRIMARY KEY, -- 1, 2, 3, ... without gaps
    at              TEXT NOT NULL,
    actor           TEXT NOT NULL,
    action          TEXT NOT NULL,
    subject         TEXT NOT NULL,
    detail          TEXT NOT NULL,
    previous_digest TEXT NOT NULL,                -- empty at the first
    digest          TEXT NOT NULL
);

CREATE TRIGGER runs_no_update BEFORE UPDATE ON runs
BEGIN SELECT RAISE(ABORT, 'runs are append-only'); END;
CREATE TRIGGER runs_no_delete BEFORE DELETE ON runs
BEGIN SELECT RAISE(ABORT, 'runs are append-only'); END;
CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;
CREATE TRIGGER baselines_no_update BEFORE UPDATE ON baselines
BEGIN SELECT RAISE(ABORT, 'baselines are append-only'); END;
CREATE TRIGGER baselines_no_delete BEFORE DELETE ON baselines
BEGIN SELECT RAISE(ABORT, 'baselines are append-only'); END;
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;

-- Views for BI tools. Their columns are kept from version to version; new ones are added at the end.
--
--   run_id, suite, dataset, target, run_created_at   the run; `dataset` is name@version, `target` the variant's name
--   seq, at                                          place in the run's journal, and when
--   example_id, trial                                what was tried; trials count from 0
--   grader, draw                                     who graded; draws count from 0
--   value                                            1 or 0, a number, or a label's declared number; NULL is not zero
--   label                                            the label, of graders that give labels
--   unscored                                         why there is no score; NULL where there is one
--   failure                                          class of the target's failure; NULL where it gave an output
--   cached, took_ms                                  whether the answer came from the cache; milliseconds it took
--   latency_ms, cost_usd                             of the target's output, whenever it was made
--   tokens_in, tokens_out                            of the target's output (targets), of the judge's calls (scores)
--   spent_usd, unpriced_calls                        spent in this run; calls whose price is not in that sum

-- One row per cell: a score, or the reason why there is none.
CREATE VIEW scores AS
SELECT j.run_id, r.suite, r.dataset, r.target, r.created_at AS run_created_at,
       j.seq, j.at AS at, j.example_id, j.trial, j.grader, j.draw,
       j.value, j.label, j.unscored, j.cached, j.took_ms, j.tokens_in, j.tokens_out, j.spent_usd, j.unpriced_calls
FROM journal j JOIN runs r ON r.run_id = j.run_id
WHERE j.kind = 'score_finished';

-- One row per trial: how the target ended and what its output cost.
CREATE VIEW targets AS
SELECT j.run_id, r.suite, r.dataset, r.target, r.created_at AS run_created_at,
       j.seq, j.at AS at, j.example_id, j.trial,
       j.failure, j.latency_ms, j.cost_usd, j.tokens_in, j.tokens_out, j.spent_usd, j.unpriced_calls
FROM journal j JOIN runs r ON r.run_id = j.run_id
WHERE j.kind = 'target_finished';

-- One row per run and grader. `mean` is the plain mean over examples of the mean over trials of the mean over draws:
-- no weights, no interval; those are in the reports. `examples` have a value, `instrument_failures` are those unscored
-- cells where the measuring failed, `run_status` is open, complete or stopped.
CREATE VIEW run_metrics AS
WITH by_trial AS (
    SELECT run_id, grader, example_id, trial, AVG(value) AS value
    FROM journal WHERE kind = 'score_finished' GROUP BY run_id, grader, example_id, trial
), by_example AS (
    SELECT run_id, grader, example_id, AVG(value) AS value FROM by_trial GROUP BY run_id, grader, example_id
), means AS (
    SELECT run_id, grader, COUNT(value) AS examples, AVG(value) AS mean FROM by_example GROUP BY run_id, grader
), cells AS (
    SELECT run_id, grader, COUNT(*) AS cells, COUNT(unscored) AS unscored,
           SUM(CASE WHEN unscored NOT IN ('not_applicable', 'target_failed') THEN 1 ELSE 0 END) AS instrument_failures,
           SUM(spent_usd) AS spent_usd
    FROM journal WHERE kind = 'score_finished' GROUP BY run_id, grader
)
SELECT r.run_id, r.suite, r.dataset, r.target, r.created_at AS run_created_at,
       (SELECT s.status FROM journal s WHERE s.run_id = r.run_id AND s.status IS NOT NULL
        ORDER BY s.seq DESC LIMIT 1) AS run_status,
       c.grader AS metric, m.examples, m.mean, c.cells, c.unscored, c.instrument_failures, c.spent_usd
FROM cells c JOIN means m ON m.run_id = c.run_id AND m.grader = c.grader JOIN runs r ON r.run_id = c.run_id;
