-- What the daemon adds: cached scores and the audit trail.

-- What made a score: model, tasks and calibration, by their hashes and ids.
CREATE TABLE score_contexts (
    key INTEGER PRIMARY KEY,
    model TEXT NOT NULL,                       -- SHA-256 of the model
    tasks TEXT NOT NULL,                       -- hash of the task definitions
    calibration TEXT NOT NULL,                 -- calibration id
    UNIQUE (model, tasks, calibration)
) STRICT;

-- The newest score of a patient and task. It is fresh while version equals the patient's.
CREATE TABLE scores (
    patient INTEGER NOT NULL,
    task TEXT NOT NULL,
    version INTEGER NOT NULL,                  -- patients.version that was scored
    as_of INTEGER NOT NULL,
    context INTEGER NOT NULL,
    probability REAL,                          -- NULL when there is a reason instead
    low REAL,
    high REAL,
    reason TEXT NOT NULL,                      -- "" or why there is no probability
    scored_at INTEGER NOT NULL,
    PRIMARY KEY (patient, task)
) STRICT, WITHOUT ROWID;
CREATE INDEX scores_ranked ON scores (task, probability DESC);

-- Append-only: each row's digest covers the digest before it. Holds no patient data.
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,                -- 1, 2, 3 … without gaps
    at INTEGER NOT NULL,
    request TEXT NOT NULL,
    actor TEXT NOT NULL,                       -- name of the token
    action TEXT NOT NULL,
    patient TEXT NOT NULL,                     -- hash of the pseudonym, "" for none
    model TEXT NOT NULL,                       -- SHA-256, "" for none
    details TEXT NOT NULL,                     -- JSON without patient data
    digest BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit
BEGIN
    SELECT raise(ABORT, 'the audit trail is append-only');
END;
CREATE TRIGGER audit_keeps_content BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'the audit trail is append-only');
END;
