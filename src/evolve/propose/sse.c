/* The event stream by bytes: a line ends at LF, CRLF or CR, an event at an empty line; `data:` lines join, comments and
 * other fields are passed over. Invariant: the result does not depend on how the bytes were cut into pieces. */
#include "evolve/propose/sse.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"

enum { LINE_MAX_BYTES = 4 << 20 };

static void fail(sse_reader *r, const char *what)
{
    if (!r->failed) snprintf(r->error, sizeof r->error, "%s", what);
    r->failed = true;
}

static void read_usage(sse_reader *r, json_t *u)
{
    if (!json_is_object(u)) return;
    json_t *in = json_object_get(u, "prompt_tokens"), *out = json_object_get(u, "completion_tokens");
    r->has_usage = true;
    if (json_is_number(in)) r->tokens_in = (int64_t)json_number_value(in);
    if (json_is_number(out)) r->tokens_out = (int64_t)json_number_value(out);
}

static void read_error(sse_reader *r, json_t *e)
{
    json_t *message = json_is_object(e) ? json_object_get(e, "message") : e;
    const char *s = json_string_value(message);
    fail(r, s ? s : "the server reports an error");
}

/* One chunk of a stream, or a whole answer: they differ in "delta" and "message". */
static void read_chunk(sse_reader *r, json_t *o)
{
    json_t *error = json_object_get(o, "error"), *choices = json_object_get(o, "choices");
    if (error && !json_is_null(error)) {
        read_error(r, error);
        return;
    }
    read_usage(r, json_object_get(o, "usage"));
    json_t *choice = json_array_get(choices, 0);
    if (json_is_array(choices) && !json_array_size(choices) && !r->text.n) r->empty_choices = true;
    if (!choice) return;
    r->empty_choices = false;
    json_t *delta = json_object_get(choice, "delta");
    if (!json_is_object(delta)) delta = json_object_get(choice, "message");
    json_t *content = json_object_get(delta, "content");
    if (json_is_string(content)) {
        text_addn(&r->text, json_string_value(content), strlen(json_string_value(content))); /* \u0000 ends a piece */
        r->started |= json_string_length(content) > 0;
    }
    for (size_t i = 0; json_is_array(content) && i < json_array_size(content); i++) { /* content in parts */
        const char *part = json_string_value(json_object_get(json_array_get(content, i), "text"));
        if (part) text_add(&r->text, part), r->started = true;
    }
    static const char *const thoughts[] = {"reasoning_content", "reasoning"};
    for (int i = 0; i < ATN_COUNT(thoughts); i++) {
        size_t n = json_string_length(json_object_get(delta, thoughts[i])); /* 0 where it is no text */
        r->thoughts += n;
        r->started |= n > 0;
    }
    json_t *tools = json_object_get(delta, "tool_calls");
    if ((json_is_array(tools) && json_array_size(tools)) || json_is_object(json_object_get(delta, "function_call")))
        r->tool = true;
    const char *why = json_string_value(json_object_get(choice, "finish_reason"));
    if (!why) return;
    r->done = true;
    if (!strcmp(why, "length")) r->cut = true;
    if (!strcmp(why, "content_filter")) fail(r, "the answer was withheld by a filter");
}

/* ---- pieces of text ----
 *
 * A stream is one event after the other that differ in a piece of text and in nothing else. Where an event begins and ends as
 * an earlier one did, and what stands between is an easy JSON string, it need not be parsed. (64 streams of 50
 * events a second cost a third of what they cost with each event parsed.) */

/* Adds the piece; false, and nothing added, where it is not ASCII or has an escape other than the commonest. */
static bool add_piece(atn_text *t, const char *s, size_t n)
{
    size_t was = t->n, from = 0;
    for (size_t i = 0; i < n; i++) {
        const char *e = s[i] == '\\' && i + 1 < n ? memchr("n\"\\t/", s[i + 1], 5) : NULL;
        if (s[i] >= ' ' && s[i] < 127 && s[i] != '"' && s[i] != '\\') continue;
        if (!e) {
            t->n = was;
            if (t->s) t->s[was] = 0;
            return false;
        }
        text_addn(t, s + from, i - from);
        text_addn(t, *e == 'n' ? "\n" : *e == 't' ? "\t" : e, 1);
        from = ++i + 1;
    }
    text_addn(t, s + from, n - from);
    return true;
}

/* Keeps a chunk as an example: exactly one "content" in it, no backslash anywhere, so that what was read is what stands there. */
static void keep_like(sse_reader *r, const char *s, size_t n, const json_t *o)
{
    static const char key[] = "\"content\"";
    const json_t *choices = json_object_get(o, "choices"), *choice = json_array_get(choices, 0);
    const json_t *content = json_object_get(json_object_get(choice, "delta"), "content");
    const char *at = strstr(s, key);
    if (!json_is_string(content) || r->done || r->failed || r->tool || r->has_usage || !at ||
        json_array_size(choices) != 1 || strstr(at + 1, key) || memchr(s, '\\', n) || strlen(s) != n)
        return;
    at += sizeof key - 1;
    at += strspn(at, " :");
    size_t length = json_string_length(content);
    if (*at++ != '"' || strncmp(at, json_string_value(content), length) || at[length] != '"') return;
    r->like.n = 0;
    r->before = (size_t)(at - s);
    r->after = n - r->before - length;
    text_addn(&r->like, s, n);
}

static bool read_like(sse_reader *r, const char *s, size_t n)
{
    size_t fixed = r->before + r->after;
    if (!r->like.n || n <= fixed || memcmp(s, r->like.s, r->before) ||
        memcmp(s + n - r->after, r->like.s + r->like.n - r->after, r->after))
        return false;
    bool easy = add_piece(&r->text, s + r->before, n - fixed);
    r->started |= easy;
    return easy;
}

static void read_json(sse_reader *r, const char *s, size_t n)
{
    json_error_t e;
    json_t *o = json_loadb(s, n, JSON_ALLOW_NUL, &e);
    if (json_is_array(o) && json_array_size(o) == 1) { /* some gateways wrap errors in an array */
        json_t *first = json_incref(json_array_get(o, 0));
        json_decref(o);
        o = first;
    }
    if (json_is_object(o)) read_chunk(r, o), keep_like(r, s, n, o);
    else fail(r, "what the server sent is no JSON");
    json_decref(o);
}

static void end_event(sse_reader *r)
{
    if (!r->data.n) return;
    r->data.s[--r->data.n] = 0; /* the last newline */
    r->events++;
    if (!strcmp(r->data.s, "[DONE]")) r->done = true;
    else if (!read_like(r, r->data.s, r->data.n)) read_json(r, r->data.s, r->data.n);
    r->data.n = 0;
}

static void end_line(sse_reader *r)
{
    const char *s = r->line.n ? r->line.s : "";
    if (!*s) {
        end_event(r);
    } else if (text_starts(s, "data:")) {
        s += 5 + (s[5] == ' ');
        if (!strcmp(s, "[DONE]") && r->data.n) end_event(r); /* servers that forget the empty line */
        text_add(&r->data, s);
        text_addn(&r->data, "\n", 1);
    } else if (*s == '{' && !r->events) {
        fail(r, "what the server sent is no event stream");
    }
    r->line.n = 0;
    if (r->line.s) *r->line.s = 0;
}

void sse_feed(sse_reader *r, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!r->begun) {
            if (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t' || (unsigned char)s[i] == 0xef ||
                (unsigned char)s[i] == 0xbb || (unsigned char)s[i] == 0xbf)
                continue;
            r->begun = true;
            r->json |= s[i] == '{' || s[i] == '[';
        }
        if (r->json) {
            text_addn(&r->body, s + i, n - i);
            return;
        }
        bool lf = s[i] == '\n', cr = s[i] == '\r';
        if (lf && r->skip_lf) {
            r->skip_lf = false;
            continue;
        }
        r->skip_lf = cr;
        if (lf || cr) {
            end_line(r);
            continue;
        }
        size_t run = 1; /* the rest of the line, as far as it has come */
        while (i + run < n && s[i + run] != '\n' && s[i + run] != '\r') run++;
        if (r->line.n + run > LINE_MAX_BYTES) fail(r, "a line of the stream is too long");
        else text_addn(&r->line, s + i, run);
        i += run - 1;
    }
}

void sse_end(sse_reader *r)
{
    if (r->json) {
        read_json(r, r->body.n ? r->body.s : "", r->body.n);
        return;
    }
    if (r->line.n) end_line(r);
    if (!r->events && !r->data.n && !r->failed) fail(r, "the server sent no events");
    if (r->data.n && !r->done) { /* an event without its end: whole if it is JSON, else cut off */
        json_t *o = json_loadb(r->data.s, r->data.n, JSON_ALLOW_NUL, NULL);
        bool whole = o || !strcmp(r->data.s, "[DONE]\n");
        json_decref(o);
        if (whole) end_event(r);
    } else if (r->data.n) {
        end_event(r);
    }
}

void sse_free(sse_reader *r)
{
    text_free(&r->body);
    text_free(&r->line);
    text_free(&r->data);
    text_free(&r->text);
    text_free(&r->like);
}
