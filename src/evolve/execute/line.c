/* Links over pipes and over growing files. */
#include "evolve/execute/line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 1 << 16, LINE_MAX_BYTES = 1 << 24 };

void link_pipes(atn_link *l, int in, int out)
{
    *l = (atn_link){.in = in, .out = out};
    fcntl(in, F_SETFL, fcntl(in, F_GETFL) | O_NONBLOCK);
    fcntl(out, F_SETFL, fcntl(out, F_GETFL) | O_NONBLOCK);
}

void link_files(atn_link *l, const char *from, const char *to)
{
    *l = (atn_link){.in = -1, .out = -1, .from = atn_strdup(from), .to = atn_strdup(to)};
}

void link_close(atn_link *l)
{
    if (l->in >= 0) close(l->in);
    if (l->out >= 0 && l->out != l->in) close(l->out);
    free(l->from);
    free(l->to);
    free(l->got);
    free(l->due);
    *l = (atn_link){.in = -1, .out = -1, .ended = true};
}

static void make_room(atn_link *l)
{
    if (l->taken) {
        memmove(l->got, l->got + l->taken, l->n_got - l->taken);
        l->n_got -= l->taken;
        l->taken = 0;
    }
    if (l->room >= l->n_got + CHUNK) return;
    l->room = l->n_got + CHUNK + l->n_got / 2;
    l->got = atn_realloc(l->got, l->room);
}

/* An idle link keeps no buffer: there may be a thousand of them. */
static void give_back(atn_link *l)
{
    if (l->n_got != l->taken) return;
    free(l->got);
    l->got = NULL;
    l->n_got = l->taken = l->room = 0;
}

bool link_read(atn_link *l)
{
    bool any = false;
    int fd = l->from ? open(l->from, O_RDONLY | O_CLOEXEC) : l->in;
    while (fd >= 0 && !l->ended) {
        make_room(l);
        ssize_t n = l->from ? pread(fd, l->got + l->n_got, CHUNK, l->read_to) : read(fd, l->got + l->n_got, CHUNK);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0 && !l->from) l->ended = true;
        if (n < 0 && errno != EAGAIN) l->ended = true;
        if (n <= 0) break;
        l->n_got += (size_t)n;
        l->read_to += n;
        any = true;
        if (n < CHUNK) break;
    }
    if (l->from && fd >= 0) close(fd);
    if (!any) give_back(l);
    return any;
}

json_t *link_next(atn_link *l)
{
    while (l->n_got > l->taken) {
        char *start = l->got + l->taken, *end = memchr(start, '\n', l->n_got - l->taken);
        if (!end) {
            if (l->n_got - l->taken > LINE_MAX_BYTES) l->ended = true;
            return NULL;
        }
        l->taken = (size_t)(end + 1 - l->got);
        json_t *o = json_loadb(start, (size_t)(end - start), 0, NULL);
        if (json_is_object(o)) return o;
        json_decref(o); /* launchers print words of their own on the same stream */
    }
    give_back(l);
    return NULL;
}

void link_flush(atn_link *l)
{
    int fd = l->to && l->n_due ? open(l->to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : l->out;
    size_t done = 0;
    while (fd >= 0 && done < l->n_due && !l->ended) {
        ssize_t n = write(fd, l->due + done, l->n_due - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) l->ended = true;
        if (n <= 0) break;
        done += (size_t)n;
    }
    if (l->to && fd >= 0) close(fd);
    if (done) memmove(l->due, l->due + done, l->n_due - done);
    l->n_due -= done;
    if (l->n_due) return;
    free(l->due);
    l->due = NULL;
    l->due_room = 0;
}

static int append(const char *bytes, size_t n, void *p)
{
    atn_link *l = p;
    if (l->n_due + n > l->due_room) {
        l->due_room = l->n_due + n + 1024 + l->n_due / 2;
        l->due = atn_realloc(l->due, l->due_room);
    }
    memcpy(l->due + l->n_due, bytes, n);
    l->n_due += n;
    return 0;
}

void link_send(atn_link *l, json_t *message)
{
    ATN_CHECK(message);
    if (!l->ended) {
        ATN_CHECK(json_dump_callback(message, append, l, JSON_COMPACT | JSON_REAL_PRECISION(17)) == 0);
        append("\n", 1, l);
        link_flush(l);
    }
    json_decref(message);
}

bool link_due(const atn_link *l)
{
    return l->n_due > 0 && !l->ended;
}

const char *field_text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

double field_real(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

int64_t field_int(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}
