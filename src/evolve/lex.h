/* A lexer for C text that nobody vouches for: comments, strings, line splices, any bytes. Never fails, never reads past
 * the NUL; what is no token of C becomes a one-byte punctuation token. Tokens point into the source. */
#ifndef ATN_EVOLVE_LEX_H
#define ATN_EVOLVE_LEX_H

#include <stdbool.h>
#include <stddef.h>

typedef enum { LEX_END, LEX_NEWLINE, LEX_NAME, LEX_NUMBER, LEX_STRING, LEX_CHAR, LEX_COMMENT, LEX_PUNCT } lex_kind;

typedef struct {
    lex_kind kind;
    size_t at, end;      /* bytes [at, end) of the source, with any splices inside */
    int line;            /* 1-based, of its first byte */
} lex_token;

typedef struct {
    const char *s;
    size_t i;
    int line;
} lex_state;

lex_state lex_start(const char *source);
lex_token lex_next(lex_state *l);
/* The spelling of a token, splices taken out, cut at room - 1; the whole length is returned. */
size_t lex_spell(const char *source, lex_token t, char *out, size_t room);
bool lex_is(const char *source, lex_token t, const char *word);

#endif
