/* The page, embedded in the program. Internal to src/serve. */
#ifndef ATN_SERVE_WEB_H
#define ATN_SERVE_WEB_H

#include <stddef.h>

typedef struct {
    const char *name; /* "index.html" */
    const char *type;
    const unsigned char *data;
    size_t n;
} web_file;

extern const web_file web_files[];
extern const int web_file_count;
extern const char web_policy[]; /* Content-Security-Policy */

#endif
