-- run.db: everything that happened in one run. Rows are only ever added (meta apart). Times t are seconds since the
-- run began, not counting the time between sessions. Speedups are natural logarithms over the initial program.

CREATE TABLE IF NOT EXISTS meta(
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS blob(              -- sources, prompts, answers; sha = XXH3-128 of the text
  sha  TEXT PRIMARY KEY,
  text TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS proposal(          -- committed before its evaluation starts
  id       INTEGER PRIMARY KEY,
  island   INTEGER NOT NULL,
  parent1  INTEGER,
  parent2  INTEGER,
  proposer TEXT NOT NULL,
  origin   TEXT NOT NULL,
  note     TEXT NOT NULL,
  sha      TEXT NOT NULL REFERENCES blob(sha),
  flags    TEXT NOT NULL,
  t        REAL NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS program(           -- a proposal that has its verdict
  id              INTEGER PRIMARY KEY REFERENCES proposal(id),
  seq             INTEGER NOT NULL UNIQUE,   -- order of judgement
  generation      INTEGER NOT NULL,
  incumbent       INTEGER,                   -- raced against it
  same_as         INTEGER,                   -- identical object code was judged as that program
  object_hash     TEXT NOT NULL,
  correct         INTEGER NOT NULL,
  promoted        INTEGER NOT NULL,          -- became the incumbent
  screened        INTEGER NOT NULL,          -- score estimated from the screening cases
  state           TEXT NOT NULL CHECK (state IN ('failed', 'right', 'better', 'same')),
  stage           TEXT NOT NULL,
  reason          TEXT NOT NULL,
  evidence        TEXT NOT NULL,
  reproduce       TEXT NOT NULL,
  compiler        TEXT NOT NULL,
  score           REAL,                      -- NULL: failed, ranks below everything
  score_low       REAL,
  score_high      REAL,
  error           REAL,
  workspace_bytes INTEGER NOT NULL,
  profile         REAL,                      -- log speedup on short minus on long cases
  decode          REAL,                      -- on decode minus on prefill cases
  cell            TEXT NOT NULL,
  t               REAL NOT NULL,
  seconds_build   REAL NOT NULL,
  seconds_judge   REAL NOT NULL,
  verdict         TEXT NOT NULL,             -- JSON
  confirm         TEXT                       -- JSON
) STRICT;
CREATE INDEX IF NOT EXISTS program_score ON program(score_low DESC) WHERE score IS NOT NULL;
CREATE INDEX IF NOT EXISTS program_object ON program(object_hash);

CREATE TABLE IF NOT EXISTS case_result(
  program          INTEGER NOT NULL REFERENCES program(id),
  case_index       INTEGER NOT NULL,
  log_ratio        REAL,                     -- ln(t_incumbent / t_program): median and bounds
  log_low          REAL,
  log_high         REAL,
  log_speedup      REAL,                     -- over the initial program, through the chain of incumbents
  pairs            INTEGER NOT NULL,
  ns_min           REAL,
  incumbent_ns_min REAL,
  error            REAL,
  workspace_bytes  INTEGER NOT NULL,
  PRIMARY KEY (program, case_index)
) STRICT, WITHOUT ROWID;

-- Every pair of every race, one row per timed case. d: n IEEE float32, little-endian, in the order of time; d[i] =
-- ln(t_against / t_program) of pair i, the effect of order taken out. The program ran first in pair i where i has an
-- even number of one bits (Thue-Morse), else second; as measured it was d[i] + effect there, d[i] - effect else.
CREATE TABLE IF NOT EXISTS race(
  id         INTEGER PRIMARY KEY,
  program    INTEGER NOT NULL REFERENCES program(id),
  against    INTEGER NOT NULL REFERENCES program(id),
  kind       TEXT NOT NULL,                  -- 'screen', 'race', 'confirm', or the kind of a comparison in measurement
  case_index INTEGER NOT NULL,
  n          INTEGER NOT NULL CHECK (length(d) = 4 * n),
  effect     REAL NOT NULL,
  d          BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS race_program ON race(program, kind, case_index);

CREATE TABLE IF NOT EXISTS evidence(   -- what compiler, object code and counters say of a program
  program INTEGER PRIMARY KEY REFERENCES program(id),
  json    TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS cell(              -- how the archive changed: program took the cell at seq; NULL: the cell was given up
  n       INTEGER PRIMARY KEY,
  seq     INTEGER NOT NULL,
  island  INTEGER NOT NULL,
  key     TEXT NOT NULL,
  program INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS cell_key ON cell(island, key, n);
CREATE VIEW IF NOT EXISTS grid AS             -- owners of now
  SELECT island, key, program FROM cell
  WHERE n IN (SELECT max(n) FROM cell GROUP BY island, key) AND program IS NOT NULL;

CREATE TABLE IF NOT EXISTS migration(
  n           INTEGER PRIMARY KEY,
  seq         INTEGER NOT NULL,
  from_island INTEGER NOT NULL,
  to_island   INTEGER NOT NULL,
  program     INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS measurement(       -- controls and comparisons beside the cascade
  id      INTEGER PRIMARY KEY,
  kind    TEXT NOT NULL,
  program INTEGER,
  against INTEGER,
  t       REAL NOT NULL,
  json    TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS event(
  seq  INTEGER PRIMARY KEY,
  t    REAL NOT NULL,
  json TEXT NOT NULL
) STRICT;
