-- Runs, their journals, outputs by content, baselines, claims, the audit trail.
-- Times are RFC 3339 in UTC with nine digits, so that text order is time order
-- and no digit is lost; the views give them as `timestamptz`.

CREATE TABLE runs (
    run_id         TEXT NOT NULL PRIMARY KEY,
    suite          TEXT NOT NULL,
    created_at     TEXT NOT NULL,
    dataset        TEXT NOT NULL,  -- name@version
    dataset_digest TEXT NOT NULL,
    target         TEXT NOT NULL,  -- name of the variant
    target_kind    TEXT NOT NULL,
    examples       BIGINT NOT NULL,
    trials         BIGINT NOT NULL,
    tool_version   TEXT NOT NULL,
    git_commit     TEXT,
    header         TEXT NOT NULL   -- JSON, the whole of it
);
CREATE INDEX runs_by_suite ON runs (suite, created_at);

-- One row per event. `body` is the event; the other columns repeat what queries need, so that no view reads JSON.
CREATE TABLE journal (
    run_id         TEXT NOT NULL REFERENCES runs (run_id),
    seq            BIGINT NOT NULL,   -- 0, 1, 2, ... without gaps
    at             TEXT NOT NULL,
    kind           TEXT NOT NULL,     -- run_started, target_finished, score_finished, ...
    status         TEXT,              -- what the event makes of the run: open, complete, stopped
    example_id     TEXT,
    trial          BIGINT,
    grader         TEXT,
    draw           BIGINT,
    value          DOUBLE PRECISION,  -- what enters means; NULL is not zero
    label          TEXT,
    unscored       TEXT,              -- why there is no score
    failure        TEXT,              -- class of a target's failure
    cached         BOOLEAN,
    took_ms        BIGINT,
    latency_ms     DOUBLE PRECISION,  -- of the output
    cost_usd       DOUBLE PRECISION,  -- of the output, whenever it was made
    tokens_in      BIGINT,            -- of the output, or of the judge's calls
    tokens_out     BIGINT,
    spent_usd      DOUBLE PRECISION,  -- in this run
    unpriced_calls BIGINT,            -- calls that `spent_usd` knows no price of
    body           TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
);
CREATE UNIQUE INDEX journal_one_target ON journal (run_id, example_id, trial) WHERE kind = 'target_finished';
CREATE UNIQUE INDEX journal_one_score ON journal (run_id, example_id, trial, grader, draw)
    WHERE kind = 'score_finished';
CREATE INDEX journal_standing ON journal (run_id, seq) WHERE status IS NOT NULL;

CREATE TABLE blobs (
    digest TEXT NOT NULL PRIMARY KEY,  -- of the content, not of its compressed form
    size   BIGINT NOT NULL,            -- bytes of the content
    bytes  BYTEA NOT NULL              -- zstd
);

CREATE TABLE baselines (
    seq     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
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
    until_ms BIGINT NOT NULL  -- milliseconds since 1970
);

CREATE TABLE audit (
    seq             BIGINT NOT NULL PRIMARY KEY,  -- 1, 2, 3, ... without gaps
    at              TEXT NOT NULL,
    actor           TEXT NOT NULL,
    action          TEXT NOT NULL,
    subject         TEXT NOT NULL,
    detail          TEXT NOT NULL,
    previous_digest TEXT NOT NULL,                -- empty at the first
    digest          TEXT NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END;
$$;

CREATE TRIGGER runs_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON runs
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER journal_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER baselines_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON baselines
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

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
SELECT j.run_id, r.suite, r.dataset, r.target, r.created_at::timestamptz AS run_created_at,
       j.seq, j.at::timestamptz AS at, j.example_id, j.trial, j.grader, j.draw,
       j.value, j.label, j.unscored, j.cached, j.took_ms, j.tokens_in, j.tokens_out, j.spent_usd, j.unpriced_calls
FROM journal j JOIN runs r ON r.run_id = j.run_id
WHERE j.kind = 'score_finished';

-- One row per trial: how the target ended and what its output cost.
CREATE VIEW targets AS
SELECT j.run_id, r.suite, r.dataset, r.target, r.created_at::timestamptz AS run_created_at,
       j.seq, j.at::timestamptz AS at, j.example_id, j.trial,
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
SELECT r.run_id, r.suite, r.dataset, r.target, r.created_at::timestamptz AS run_created_at,
       (SELECT s.status FROM journal s WHERE s.run_id = r.run_id AND s.status IS NOT NULL
        ORDER BY s.seq DESC LIMIT 1) AS run_status,
       c.grader AS metric, m.examples, m.mean, c.cells, c.unscored, c.instrument_failures, c.spent_usd
FROM cells c JOIN means m ON m.run_id = c.run_id AND m.grader = c.grader JOIN runs r ON r.run_id = c.run_id;
