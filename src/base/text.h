/* Growable text, and the small string helpers that parsers share.
 *
 * An atn_text is zero-initialised by its owner ({0}) and always NUL-terminated once anything was appended.
 * Free with text_free; text_take hands the buffer over. */
#ifndef ATN_BASE_TEXT_H
#define ATN_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    char *s;
    size_t n, room;
} atn_text;

void text_add(atn_text *t, const char *s);
void text_add_word(atn_text *t, const char *s);   /* as a shell reads it: quoted where it must be */
void text_addn(atn_text *t, const char *s, size_t n);
void text_addf(atn_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *text_take(atn_text *t);       /* caller frees; "" if empty; *t is empty afterwards */
void text_free(atn_text *t);

/* Escapes for a place in HTML text or attribute. */
void text_add_html(atn_text *t, const char *s);
/* A field of a CSV, quoted where it must be, on one line. A spreadsheet runs what begins with = + - @ as a formula, so that
 * gets an apostrophe. */
void text_add_csv(atn_text *t, const char *s);
/* Bytes of the valid UTF-8 sequence at s[0..n), 0 where there is none. */
size_t text_utf8(const char *s, size_t n);
/* Text of strangers for a terminal or a page: what moves a cursor, turns the direction of text around or shows as
 * nothing comes out as \u202e, what is not UTF-8 as U+FFFD. With `lines`, ends of lines and tabs stay; else they become
 * spaces. */
void text_add_visible(atn_text *t, const char *s, bool lines);

/* Levenshtein distance with transpositions; small strings only. */
int text_distance(const char *a, const char *b);
/* The nearest of names[0..n) to s, or NULL where nothing is near enough to suggest. */
const char *text_nearest(const char *s, const char *const *names, int n);

bool text_starts(const char *s, const char *prefix);
/* Whole-string numbers: false where anything is left over or out of range. */
bool text_to_i64(const char *s, long long *out);
bool text_to_f64(const char *s, double *out);

#endif
