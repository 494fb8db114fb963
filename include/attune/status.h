/* attune/status.h - what attune's functions return when something outside of them fails.
 *
 *     atn_error err;
 *     if (atn_plan_create(&args, NULL, &plan, &err) != ATN_OK) fprintf(stderr, "%s\n", err.text);
 *
 * Every function that can fail returns an atn_status: ATN_OK (0) or a negative code, and fills the atn_error
 * that it was given (NULL: not wanted) with a sentence: what failed, which thing, what to try. On failure results
 * are untouched. */
#ifndef ATTUNE_STATUS_H
#define ATTUNE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#define ATN_STATUS_LIST(X)                                   \
    X(OK, 0, "success")                                      \
    X(USAGE, -1, "bad command line or config")               \
    X(IO, -2, "file or device error")                        \
    X(FORMAT, -3, "malformed input")                         \
    X(UNSUPPORTED, -4, "not supported here")                 \
    X(MEMORY, -5, "out of memory")                           \
    X(NOT_FOUND, -6, "not found")                            \
    X(BUSY, -7, "in use by another process")                 \
    X(MISMATCH, -8, "belongs to another machine or version") \
    X(CANCELLED, -9, "interrupted")                          \
    X(TIMEOUT, -10, "timed out")                             \
    X(PROCESS, -11, "a helper process failed")

typedef enum {
#define ATN_X(name, code, text) ATN_##name = code,
    ATN_STATUS_LIST(ATN_X)
#undef ATN_X
} atn_status;

typedef struct {
    atn_status code;
    char text[1000];
} atn_error;

#ifdef __cplusplus
}
#endif
#endif
