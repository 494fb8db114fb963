/* What the library says to its user: each message once per process. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "run/run_int.h"

static void to_stderr(void *context, const char *text)
{
    (void)context;
    fprintf(stderr, "attune: %s\n", text);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atn_log_fn sink = to_stderr;
static void *sink_context;
static uint64_t said[256]; /* when full, new messages are not remembered and may repeat: better twice than never */
static int n_said;

void atn_log_set(atn_log_fn fn, void *context)
{
    pthread_mutex_lock(&lock);
    sink = fn;
    sink_context = context;
    pthread_mutex_unlock(&lock);
}

void log_once(const char *format, ...)
{
    char text[1200];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    uint64_t hash = hash_bytes(text, strlen(text));

    pthread_mutex_lock(&lock);
    bool seen = false;
    for (int i = 0; i < n_said; i++) seen |= said[i] == hash;
    if (!seen && n_said < ATN_COUNT(said)) said[n_said++] = hash;
    atn_log_fn fn = sink;
    void *context = sink_context;
    pthread_mutex_unlock(&lock);
    if (!seen && fn) fn(context, text); /* unlocked: it may call us */
}
