-- run.db: everything that happened in one run. Rows are only ever added (meta apart). Times t are seconds since the
-- run began, not counting the time between sessions. Speedups are natural logarithms over the initial program.

CREATE TABLE meta(
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE blob(              -- sources, prompts, answers; sha = XXH3-128 of the text
  sha  TEXT PRIMARY KEY,
  text TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE proposal(          -- committed before its evaluation starts
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

CREATE TABLE program(           -- a proposal that has its verdict
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
CREATE INDEX program_score ON program(score_low DESC) WHERE score IS NOT NULL;
CREATE INDEX program_object ON program(object_hash);

CREATE TABLE case_result(
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

CREATE TABLE cell(              -- how the archive changed: program took the cell at seq; NULL: the cell was given up
  n       INTEGER PRIMARY KEY,
  seq     INTEGER NOT NULL,
  island  INTEGER NOT NULL,
  key     TEXT NOT NULL,
  program INTEGER
) STRICT;
CREATE INDEX cell_key ON cell(island, key, n);
CREATE VIEW grid AS             -- owners of now
  SELECT island, key, program FROM cell
  WHERE n IN (SELECT max(n) FROM cell GROUP BY island, key) AND program IS NOT NULL;

CREATE TABLE migration(
  n           INTEGER PRIMARY KEY,
  seq         INTEGER NOT NULL,
  from_island INTEGER NOT NULL,
  to_island   INTEGER NOT NULL,
  program     INTEGER NOT NULL
) STRICT;

CREATE TABLE measurement(       -- controls and comparisons beside the cascade
  id      INTEGER PRIMARY KEY,
  kind    TEXT NOT NULL,
  program INTEGER,
  against INTEGER,
  t       REAL NOT NULL,
  json    TEXT NOT NULL
) STRICT;

CREATE TABLE event(
  seq  INTEGER PRIMARY KEY,
  t    REAL NOT NULL,
  json TEXT NOT NULL
) STRICT;
