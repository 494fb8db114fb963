/* Status codes and error texts: what a function returns when the world (a file, a process, the network) fails.
 *
 * Functions that can fail return atn_status: ATN_OK or a negative code. With it they may fill an atn_error: a sentence
 * that says what failed, which thing, and what to try. A caller that does not care passes NULL. Our own bugs are not
 * statuses: they assert (ATN_ASSERT in debug builds, ATN_CHECK always). What a candidate does wrong is neither: it is
 * a verdict (judge/verdict.h). */
#ifndef ATN_BASE_STATUS_H
#define ATN_BASE_STATUS_H

#include <stddef.h>

#include "attune/status.h"

/* A short text for a code; never NULL, static. */
const char *status_text(atn_status code);

/* Fills *err (may be NULL) and returns code: `return atn_fail(err, ATN_IO, "cannot open '%s': %s; ...", ...)`. */
atn_status atn_fail(atn_error *err, atn_status code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text that err already holds. */
void atn_error_prefix(atn_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

_Noreturn void atn_check_failed(const char *expression, const char *file, int line);
#define ATN_CHECK(x) ((x) ? (void)0 : atn_check_failed(#x, __FILE__, __LINE__))
#ifdef NDEBUG
#define ATN_ASSERT(x) ((void)sizeof(x))
#else
#define ATN_ASSERT(x) ATN_CHECK(x)
#endif

/* Allocation that does not return NULL: out of memory in the controller aborts with a message. Free with free(). */
void *atn_alloc(size_t bytes);                    /* zeroed */
void *atn_realloc(void *p, size_t bytes);
char *atn_strdup(const char *s);
char *atn_strndup(const char *s, size_t n);
char *atn_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define ATN_COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define ATN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define ATN_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
