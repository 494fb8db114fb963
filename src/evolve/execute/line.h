/* A link: whole lines of JSON in both directions, over two descriptors or over two files that grow.
 *
 * Files are for machines that share nothing but a folder: each has one writer, who appends, and is opened anew for every
 * read, because that is when network file systems look again. A line counts when its end has arrived and it parses; what
 * stands before the end of a broken link is dropped. */
#ifndef ATN_EVOLVE_LINE_H
#define ATN_EVOLVE_LINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct {
    int in, out;      /* -1: files */
    char *from, *to;  /* paths of the files, or NULL */
    int64_t read_to;  /* in `from` */
    char *got;        /* bytes not yet taken */
    size_t n_got, taken, room;
    char *due;        /* bytes not yet written */
    size_t n_due, due_room;
    bool ended;       /* the other side is gone, or talks nonsense */
} atn_link;

void link_pipes(atn_link *l, int in, int out); /* takes both; makes them non-blocking */
void link_files(atn_link *l, const char *from, const char *to);
void link_close(atn_link *l);

bool link_read(atn_link *l);       /* takes in what has arrived; true: something did */
json_t *link_next(atn_link *l);    /* the next whole line as an object; caller's. NULL: none, or ended */
void link_send(atn_link *l, json_t *message); /* takes it; never blocks */
void link_flush(atn_link *l);      /* writes what the other side takes now */
bool link_due(const atn_link *l);  /* something waits to be written */

/* Fields of messages; "" and 0 where absent. */
const char *field_text(const json_t *o, const char *key);
double field_real(const json_t *o, const char *key);
int64_t field_int(const json_t *o, const char *key);

#endif
