/* Status texts, error formatting and the allocators that abort. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *status_text(atn_status code)
{
    switch (code) {
#define ATN_X(name, number, text) case ATN_##name: return text;
        ATN_STATUS_LIST(ATN_X)
#undef ATN_X
    }
    return "unknown status";
}

atn_status atn_fail(atn_error *err, atn_status code, const char *format, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, format);
        err->code = code;
        vsnprintf(err->text, sizeof err->text, format, ap);
        va_end(ap);
    }
    return code;
}

void atn_error_prefix(atn_error *err, const char *format, ...)
{
    if (!err) return;
    char old[sizeof err->text], head[sizeof err->text];
    memcpy(old, err->text, sizeof old);
    va_list ap;
    va_start(ap, format);
    vsnprintf(head, sizeof head, format, ap);
    va_end(ap);
    size_t n = strnlen(head, sizeof head - 3);
    memcpy(err->text, head, n);
    snprintf(err->text + n, sizeof err->text - n, ": %s", old);
}

_Noreturn void atn_check_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "attune: %s:%d: broken invariant: %s\nThis is a bug in attune; please report it with the command.\n",
            file, line, expression);
    abort();
}

static void *checked(void *p, size_t bytes)
{
    if (!p && bytes) {
        fprintf(stderr, "attune: out of memory (%zu bytes)\n", bytes);
        abort();
    }
    return p;
}

void *atn_alloc(size_t bytes) { return checked(calloc(1, bytes ? bytes : 1), bytes); }
void *atn_realloc(void *p, size_t bytes) { return checked(realloc(p, bytes ? bytes : 1), bytes); }
char *atn_strdup(const char *s) { return checked(strdup(s), strlen(s) + 1); }
char *atn_strndup(const char *s, size_t n) { return checked(strndup(s, n), n + 1); }

char *atn_format(const char *format, ...)
{
    va_list ap;
    char *s = NULL;
    va_start(ap, format);
    int n = vasprintf(&s, format, ap);
    va_end(ap);
    return n < 0 ? checked(NULL, 1) : s;
}
