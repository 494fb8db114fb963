/* The memory and the words shared by the supervisor (attune) and its worker (attune-worker): layout only, no code.
 *
 * Invariant: the supervisor trusts nothing that it reads back from here. `config`, the job tables and `go` are written
 * by the supervisor before the worker may act on them; everything after `done` is written by the worker and is at best
 * a hint.
 *
 * One reservation of address space in the worker holds all that a kernel may touch. Each region (one tensor of one
 * slot) has an inaccessible page before it and behind it:   guard | region | guard | region | guard ... | workspace |
 * guard */
#ifndef ATN_JUDGE_WIRE_H
#define ATN_JUDGE_WIRE_H

#include <stdint.h>

#include "attune/kernel.h"

#define WIRE_MAGIC 0x61746e31u

/* File descriptors of a run worker. */
enum { WIRE_FD_CTL = 3, WIRE_FD_IN = 4, WIRE_FD_OUT = 5, WIRE_FD_SO = 6, WIRE_FD_COUNT = 7 };
/* File descriptors of a compile worker: 0 /dev/null, 1 and 2 the compiler's messages. */
enum { BUILD_FD_RESULT = 3, BUILD_FD_LIFE = 4, BUILD_FD_SO = 5, BUILD_FD_COUNT = 6 };

/* Layers of isolation; what the probe found is handed to each worker, which fails if one of them then does not work. */
enum {
    LAYER_SECCOMP = 1,
    LAYER_LANDLOCK = 2,
    LAYER_NAMESPACES = 4, /* network, IPC, mounts; through a user namespace where not root */
    LAYER_UID = 8,        /* root only: a private uid */
    LAYER_MSEAL = 16,
    LAYER_SCOPE = 32, /* Landlock >= 6: no signals or abstract sockets to the outside */
};

typedef enum { WIRE_NULL = 1, WIRE_PLAN, WIRE_PREPARE, WIRE_CALL } wire_command;

/* How far the worker has come. Up to WIRE_LOCKED only our own code ran. */
typedef enum {
    WIRE_STARTED = 1,
    WIRE_MAPPED,
    WIRE_LOCKED,
    WIRE_LOADED,
    WIRE_READY,
    WIRE_BAD_OBJECT,
    WIRE_BAD_TABLE
} wire_progress;

typedef struct {
    int64_t va;    /* offset in the reservation, a page multiple */
    int64_t file;  /* offset in the memory file */
    int64_t bytes; /* whole pages */
    int32_t out;   /* 1: in the worker's output file, writable; 0: in the arena, read-only */
    int32_t reserved;
} wire_region;

typedef struct {
    int32_t slots, first_slot;     /* index into the table of atn_args */
    int32_t regions, first_region; /* of all its slots */
} wire_job;

typedef struct {
    uint32_t magic;
    int32_t threads, uid; /* uid 0: stay */
    int32_t layers;
    int32_t parent; /* the supervisor's pid */
    int32_t jobs, slots, regions;
    int32_t null_worker;     /* 1: no kernel, for measuring the hand-shake */
    int64_t va_bytes;        /* of all regions and guards; the workspace follows */
    int64_t workspace_bytes; /* largest that a plan may ask for */
    int64_t cpu_seconds;
    int64_t ctl_bytes; /* of this whole file */
    int64_t jobs_at, slots_at,
        regions_at; /* offsets of wire_job[], atn_args[] (pointers are reservation offsets), wire_region[] */
    int64_t cpus_at; /* of int32_t[threads], the CPU of each thread, -1: any; locked down, a worker cannot ask for them */
} wire_config;

typedef struct {
    int32_t signal;  /* 0: none */
    int32_t syscall; /* for SIGSYS */
    int32_t inside;  /* address is an offset in the reservation */
    int32_t write;   /* 1: the access was a write, 0: a read, -1: unknown */
    int32_t stack;   /* the address is near the stack pointer */
    int32_t clock;   /* the instruction read the time-stamp counter */
    int64_t address;
} wire_fault;

typedef struct {
    wire_config config;
    _Alignas(64) uint32_t go; /* futex: sequence number of the last command */
    uint32_t command;         /* wire_command */
    int32_t job, first, count;
    int32_t reserved;
    atn_plan plan;                  /* for PREPARE: the plan as the supervisor checked it */
    _Alignas(64) uint32_t done;     /* futex: sequence number of the last command that ended */
    _Alignas(64) uint32_t progress; /* wire_progress */
    int32_t error;                  /* errno where set-up failed, or of PREPARE */
    uint32_t fp_changed;            /* bits of the floating-point control word that a task left changed */
    int32_t amx;                    /* permission for AMX tiles was given */
    int32_t can_run, plan_rc;
    atn_plan planned;
    wire_fault fault;
    char text[512]; /* of the loader, or the step of the set-up that failed */
} wire_ctl;

/* What a compile worker writes to BUILD_FD_RESULT at its end. */
typedef struct {
    uint32_t magic;
    int32_t status; /* as of waitpid for the compiler, -1: it could not be started */
    int32_t timed_out;
    int32_t error; /* errno where the object could not be read; EFBIG: too large */
    int64_t so_bytes;
    int64_t cpu_us; /* of the compiler and its children */
    int64_t peak_kib;
    char text[200]; /* the step of the set-up that failed */
} build_report;

#endif
