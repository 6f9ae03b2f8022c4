-- What clinicians' lists need: the average beside a score, what scores were in earlier months, and
-- what was said of them.

-- The risk of people of this age and sex, and how far the score lies above it. Scores from before
-- have no average: they are of no version, so that the background makes all of them again.
ALTER TABLE scores ADD COLUMN average REAL;
ALTER TABLE scores ADD COLUMN excess REAL GENERATED ALWAYS AS (probability - average) VIRTUAL;
UPDATE scores SET version = 0;

-- Each order of a worklist, of one task and of all, is a walk along an index.
CREATE INDEX scores_excess ON scores (task, excess DESC);
CREATE INDEX scores_all_excess ON scores (excess DESC);
CREATE INDEX scores_all_ranked ON scores (probability DESC);

-- The newest score of each calendar month (of as_of) and of each context: what could be shown then.
-- Months count from the year 0; those five years back are removed when a newer one is kept.
CREATE TABLE score_months (
    patient INTEGER NOT NULL,
    task TEXT NOT NULL,
    month INTEGER NOT NULL,                    -- 12 * year + month - 1
    context INTEGER NOT NULL,
    as_of INTEGER NOT NULL,
    probability REAL,                          -- NULL when there is a reason instead
    low REAL,
    high REAL,
    average REAL,
    reason TEXT NOT NULL,
    scored_at INTEGER NOT NULL,
    PRIMARY KEY (patient, task, month, context)
) STRICT, WITHOUT ROWID;
INSERT INTO score_months (patient, task, month, context, as_of, probability, low, high, reason,
    scored_at)
SELECT patient, task, 12 * CAST(strftime('%Y', as_of * 86400, 'unixepoch') AS INTEGER)
    + CAST(strftime('%m', as_of * 86400, 'unixepoch') AS INTEGER) - 1, context, as_of, probability,
    low, high, reason, scored_at FROM scores;

-- What clinicians say of risks: one row each time, no free text.
CREATE TABLE feedback (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    patient INTEGER NOT NULL,
    task TEXT NOT NULL,
    verdict TEXT NOT NULL,                     -- agree, dismiss
    reason TEXT NOT NULL,                      -- "" or why
    as_of INTEGER NOT NULL,                    -- of the risk that was shown …
    probability REAL NOT NULL,
    model TEXT NOT NULL,                       -- … and the SHA-256 of the model that made it
    actor TEXT NOT NULL,                       -- name of the token
    recorded_at INTEGER NOT NULL
) STRICT;
CREATE INDEX feedback_patient ON feedback (patient);
