-- Claims in, timelines out. Days count from 1970-01-01, instants are microseconds since 1970.
--
-- Every row belongs to a batch (one POST, one import, one void). Batches finish in the order of
-- their ids, so "what the store held after batch L" is one comparison per row:
--     batch <= L and (superseded = 0 or superseded > L)
-- and an unfinished import, always the newest batch, is invisible as a whole.

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    recorded_at INTEGER,                       -- NULL until the batch is finished
    -- what the store holds after this batch
    patients INTEGER NOT NULL DEFAULT 0,
    claims INTEGER NOT NULL DEFAULT 0,
    diagnoses INTEGER NOT NULL DEFAULT 0,
    medications INTEGER NOT NULL DEFAULT 0,
    procedures INTEGER NOT NULL DEFAULT 0,
    labs INTEGER NOT NULL DEFAULT 0,
    encounters INTEGER NOT NULL DEFAULT 0,
    deaths INTEGER NOT NULL DEFAULT 0,
    first_day INTEGER,
    last_day INTEGER
) STRICT;
CREATE INDEX batches_recorded ON batches (recorded_at);

-- Names that repeat are stored once. Keys are dense from 1 and rows are never deleted.
CREATE TABLE facilities (
    key INTEGER PRIMARY KEY,
    system INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL,
    UNIQUE (name, system)
) STRICT;
CREATE TABLE codes (
    key INTEGER PRIMARY KEY,
    system INTEGER NOT NULL,                   -- rz_code_system
    name TEXT NOT NULL,                        -- as the system writes it, untruncated
    UNIQUE (name, system)
) STRICT;
CREATE TABLE units (
    key INTEGER PRIMARY KEY,
    system INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL,
    UNIQUE (name, system)
) STRICT;

-- AUTOINCREMENT: the key of an erased patient never names another person.
CREATE TABLE patients (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace INTEGER NOT NULL,                -- facility key; 0 when patient ids are shared
    id TEXT NOT NULL,                          -- the pseudonym where one is used
    sex INTEGER NOT NULL,                      -- rz_sex
    birth_day INTEGER,
    version INTEGER NOT NULL,                  -- the last batch that changed the history
    UNIQUE (namespace, id)
) STRICT;

-- One row per version of a claim; the current one has superseded = 0.
CREATE TABLE claims (
    key INTEGER PRIMARY KEY,
    facility INTEGER NOT NULL REFERENCES facilities (key),
    claim_id TEXT NOT NULL,
    patient INTEGER NOT NULL REFERENCES patients (key),
    setting INTEGER NOT NULL,
    start_day INTEGER NOT NULL,
    end_day INTEGER NOT NULL,
    known_day INTEGER NOT NULL,
    last_day INTEGER NOT NULL,                 -- last event day, deaths apart
    sex INTEGER NOT NULL,                      -- as this claim says it
    birth_day INTEGER,
    digest BLOB NOT NULL,
    batch INTEGER NOT NULL,
    superseded INTEGER NOT NULL DEFAULT 0,     -- the batch that replaced or voided it
    voided INTEGER NOT NULL DEFAULT 0          -- the batch that voided the claim with all versions
) STRICT;
CREATE INDEX claims_name ON claims (facility, claim_id);
CREATE INDEX claims_patient ON claims (patient);
CREATE INDEX claims_last_day ON claims (facility, last_day);

-- Clustered so that a patient's history is one range of one tree, in the order of time.
CREATE TABLE events (
    patient INTEGER NOT NULL,
    day INTEGER NOT NULL,
    kind INTEGER NOT NULL,                     -- rz_kind
    code INTEGER NOT NULL,                     -- codes.key
    claim INTEGER NOT NULL,                    -- claims.key
    known_day INTEGER NOT NULL,
    value REAL,
    unit INTEGER NOT NULL,                     -- units.key, 0 for none
    flags INTEGER NOT NULL,                    -- rz_event.flags + 256 * rz_setting
    batch INTEGER NOT NULL,
    superseded INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (patient, day, kind, code, claim)
) STRICT, WITHOUT ROWID;
