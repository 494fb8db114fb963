/* Names of stages and reasons, and the one place where untrusted text becomes evidence: printable, and capped. */
#include "judge/verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "judge/sandbox.h"

const char *stage_name(atn_stage s)
{
    static const char *const names[] = {
#define ATN_X(name, text) text,
        ATN_STAGE_LIST(ATN_X)
#undef ATN_X
    };
    return (unsigned)s < ATN_STAGE_COUNT ? names[s] : "?";
}

const char *reason_word(atn_reason r)
{
    static const char *const words[] = {
#define ATN_X(name, word, text) word,
        ATN_REASON_LIST(ATN_X)
#undef ATN_X
    };
    return (unsigned)r < ATN_REASON_COUNT ? words[r] : "?";
}

const char *reason_text(atn_reason r)
{
    static const char *const texts[] = {
#define ATN_X(name, word, text) text,
        ATN_REASON_LIST(ATN_X)
#undef ATN_X
    };
    return (unsigned)r < ATN_REASON_COUNT ? texts[r] : "?";
}

void evidence_clean(char *out, size_t room, const char *text, size_t n)
{
    ATN_ASSERT(room > 0);
    size_t used = 0;
    bool blank = true; /* no blank lines */
    for (size_t i = 0; i < n && text[i] && used + 1 < room; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n') {
            if (!blank) out[used++] = '\n';
            blank = true;
        } else {
            out[used++] = c == '\t' ? ' ' : c < 32 || c >= 127 ? '?' : (char)c;
            blank = false;
        }
    }
    while (used && out[used - 1] == '\n') used--;
    out[used] = 0;
}

void verdict_fail(atn_verdict *v, atn_reason reason, const char *format, ...)
{
    v->reason = reason;
    char text[sizeof v->evidence];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    evidence_clean(v->evidence, sizeof v->evidence, text, strlen(text));
}
