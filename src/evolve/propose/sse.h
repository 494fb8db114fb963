/* Server-sent events of a chat completion, fed in pieces of any size, and plain JSON answers of servers that do not stream.
 *
 *     sse_reader r = {0};
 *     sse_feed(&r, data, n);   ...   sse_end(&r);
 *     if (r.done && !r.failed) use(r.text.s, r.tokens_in, r.tokens_out);
 */
#ifndef ATN_EVOLVE_SSE_H
#define ATN_EVOLVE_SSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

typedef struct {
    bool json;                 /* the body is one JSON document (content type, or it begins with '{') */
    atn_text body, line, data; /* body: of a JSON answer */
    bool skip_lf, begun;
    atn_text text; /* content so far */
    bool done;     /* [DONE] or a finish_reason */
    bool cut;      /* finish_reason "length" */
    bool tool;     /* it called a tool instead of answering */
    bool empty_choices;
    bool started; /* a first token came, thoughts included */
    size_t thoughts; /* bytes of them: they are paid for, and are no part of the text */
    bool failed;  /* an error object, or what is no JSON at all */
    bool has_usage;
    int64_t tokens_in, tokens_out;
    int events;
    atn_text like; /* an event that was read as JSON and held nothing but a piece of text, */
    size_t before, after; /* with so many bytes before and after the piece. Empty: none came */
    char error[300];
} sse_reader;

void sse_feed(sse_reader *r, const char *s, size_t n);
void sse_end(sse_reader *r);
void sse_free(sse_reader *r);

#endif
