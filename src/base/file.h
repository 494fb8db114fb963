/* Files: whole reads, atomic writes, folders, locks, and where attune's own files are. */
#ifndef ATN_BASE_FILE_H
#define ATN_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* Reads the whole file; *data is NUL-terminated and the caller's to free; *n (may be NULL) excludes the NUL. */
atn_status file_read(const char *path, size_t bytes_max, char **data, size_t *n, atn_error *err);
/* The same for text: FORMAT where it holds a zero byte, behind which a reader of strings would see nothing. */
atn_status file_read_text(const char *path, size_t bytes_max, char **text, atn_error *err);

/* Writes to a temporary name in the same folder, fsyncs, renames: readers see the old file or the new one, never half.
 * A link is followed; a device or a pipe is written to as it is. */
atn_status file_write(const char *path, const void *data, size_t n, atn_error *err);

atn_status file_mkdirs(const char *path, atn_error *err);       /* like mkdir -p */
bool file_exists(const char *path);
/* Removes a folder and all in it; missing is fine. Never follows links. */
atn_status file_remove_tree(const char *path, atn_error *err);

/* Takes an advisory lock that the kernel frees when the process ends. *fd stays open while held; close(fd) releases.
 * ATN_BUSY where another process holds it and wait_ms (< 0: for ever) has passed. */
atn_status file_lock(const char *path, int wait_ms, int *fd, atn_error *err);

/* Folder that holds include/, kernels/, champions/, examples/: $ATTUNE_HOME, else the checkout that this program was
 * built in, else PREFIX/share/attune. Static; never NULL. */
const char *file_home(void);
/* A file of file_home() as a user may type it here: "examples/x.c" in a checkout, with its folder elsewhere; caller frees. */
char *file_shipped(const char *name);
/* "<folder of the running program>/<name>", caller frees: helpers such as attune-worker lie beside it, or in libexec. */
char *file_beside_program(const char *name);
char *file_join(const char *folder, const char *name);          /* caller frees */

#endif
