#!/usr/bin/env python3
"""Writes a run with answers (run.db) as a record in text that the replay proposer reads: record.jsonl and answers/NNN.md.

    record.py RUN_FOLDER OUT_FOLDER [--without-verdicts]

Without verdicts (and answers that were refused) a record can be judged anew by --proposer replay, not replayed to the
same archive.
One JSON object a line: "run" (what the engine was started with), "answer" (also those that were refused), "program" (in
order of proposal, with its whole verdict), "cell" (the archive at the end). Prompts are kept as hashes: they hold the
machine's figures; run.db has their text.
"""
import json
import os
import sqlite3
import sys


def main():
    run, out = sys.argv[1:3]
    bare = "--without-verdicts" in sys.argv
    db = sqlite3.connect(f"file:{run}/run.db?mode=ro", uri=True)
    db.row_factory = sqlite3.Row
    blob = dict(db.execute("select sha, text from blob"))
    meta = dict(db.execute("select key, value from meta"))
    os.makedirs(f"{out}/answers", exist_ok=True)
    islands, migrate_every, cells = meta["archive"].split()
    lines = [{"kind": "run", "suite": meta["identity.suite"], "seed": int(meta["seed"]), "islands": int(islands), "migrate_every": int(migrate_every),
              "cells": int(cells), "machine": meta["identity.machine"], "compiler": meta["identity.compiler"]}]
    question = {}
    for row in db.execute("select * from measurement where kind = 'question' order by id"):
        o = json.loads(row["json"])
        question[o["number"]] = o
    for row in db.execute("select * from measurement where kind = 'answer' order by id"):
        o = json.loads(row["json"])
        if bare and o["outcome"] != "ok":
            continue
        text = blob[o["answer"]]
        times = sum(1 for l in lines if l["kind"] == "answer" and l["number"] == o["number"])
        name = f"{o['number']:03d}{chr(ord('a') + times - 1) if times else ''}.md"
        with open(f"{out}/answers/{name}", "w") as f:
            f.write(text)
        q = question.get(o["number"], {})
        lines.append({"kind": "answer", "number": o["number"], "op": o["op"], "repairs": o["repairs"], "prompt": q.get("prompt"),
                      "on": o["on"], "answer": name, "outcome": o["outcome"],
                      **({"problem": o["problem"]} if o.get("problem") else {}), **({"source": o["source"]} if "source" in o else {})})
    for row in db.execute("select p.id, p.island, p.parent1, p.parent2, p.proposer, p.origin, p.note, p.sha, p.flags, q.seq, q.object_hash, q.same_as, q.state, q.stage, q.reason, q.cell, q.score_low, q.promoted, q.verdict, q.confirm "
                          "from proposal p join program q using (id) order by p.id"):
        o = {"kind": "program", **{k: row[k] for k in row.keys() if k not in ("t", "verdict", "confirm") and row[k] is not None}}
        o["note"] = os.path.basename(o["note"]) if o["proposer"] == "start" else o["note"]
        if bare:
            lines.append({k: v for k, v in o.items() if k not in ("object_hash", "cell", "score_low")})
            continue
        o["verdict"] = json.loads(row["verdict"])
        o["verdict"].pop("reproduce", None)  # a command with paths of that machine
        if row["confirm"]:
            o["confirm"] = json.loads(row["confirm"])
            o["confirm"].pop("reproduce", None)
        lines.append(o)
    for row in [] if bare else db.execute("select island, key, program from grid order by island, key"):
        lines.append({"kind": "cell", "island": row["island"], "key": row["key"], "program": row["program"]})
    with open(f"{out}/record.jsonl", "w") as f:
        for l in lines:
            f.write(json.dumps(l, ensure_ascii=False, separators=(",", ":")) + "\n")
    initial = next(l for l in lines if l["kind"] == "program")
    with open(f"{out}/initial_program.c", "w") as f:
        f.write(blob[initial["sha"]])
    print(f"{sum(l['kind'] == 'answer' for l in lines)} answers, {sum(l['kind'] == 'program' for l in lines)} programs, {sum(l['kind'] == 'cell' for l in lines)} cells")


main()
