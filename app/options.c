/* The command line: getopt_long under the table of options.def.
 *
 * getopt does the splitting and the abbreviations; ranges, types, nearest names and messages are ours, so that an option
 * exists in exactly one place and every message says what would have been right. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "evolve/config.h"
#include "problem/suite.h"

const atn_command cli_commands[] = {
#define worker_bundle worker-bundle /* a name with a dash */
#define WORD(name) #name
#define COMMAND(name, args, low, high, summary, text) {WORD(name), args, low, high, summary, text},
#define OPTION(...)
#include "options.def"
#undef COMMAND
#undef OPTION
};
const int cli_command_count = ATN_COUNT(cli_commands);

const atn_option cli_options[] = {
#define COMMAND(...)
#define OPTION(command, name, letter, type, arg, low, high, values, config, help)                                      \
    {WORD(command), name, letter, OPT_##type, arg, low, high, values, config, help},
#include "options.def"
#undef COMMAND
#undef OPTION
};
const int cli_option_count = ATN_COUNT(cli_options);

struct atn_cli_value {
    const atn_option *option;
    const char *text; /* NULL for flags */
};

const atn_command *cli_command_find(const char *name)
{
    for (int i = 0; i < cli_command_count; i++)
        if (!strcmp(cli_commands[i].name, name)) return &cli_commands[i];
    return NULL;
}

bool cli_option_of(const atn_option *o, const char *command)
{
    return !strcmp(o->command, command);
}

static const atn_option *option_find(const char *command, const char *name)
{
    for (int i = 0; i < cli_option_count; i++)
        if (cli_option_of(&cli_options[i], command) && !strcmp(cli_options[i].name, name)) return &cli_options[i];
    return NULL;
}

/* --- what commands ask --------------------------------------------------------------------------------------------- */

static const atn_cli_value *last_value(const atn_cli *c, const char *name)
{
    ATN_CHECK(option_find(c->command->name, name));
    for (int i = c->n_values - 1; i >= 0; i--)
        if (!strcmp(c->values[i].option->name, name)) return &c->values[i];
    return NULL;
}

bool cli_has(const atn_cli *c, const char *name)
{
    return last_value(c, name) != NULL;
}

const char *cli_text(const atn_cli *c, const char *name, const char *otherwise)
{
    const atn_cli_value *v = last_value(c, name);
    return v ? v->text : otherwise;
}

long long cli_int(const atn_cli *c, const char *name, long long otherwise)
{
    const atn_cli_value *v = last_value(c, name);
    long long n = otherwise;
    if (v) ATN_CHECK(text_to_i64(v->text, &n)); /* cli_parse has read it once */
    return n;
}

double cli_real(const atn_cli *c, const char *name, double otherwise)
{
    const atn_cli_value *v = last_value(c, name);
    double x = otherwise;
    if (v) ATN_CHECK(text_to_f64(v->text, &x));
    return x;
}

int cli_count(const atn_cli *c, const char *name)
{
    int n = 0;
    for (int i = 0; i < c->n_values; i++) n += !strcmp(c->values[i].option->name, name);
    if (!n) (void)last_value(c, name);
    return n;
}

const char *cli_item(const atn_cli *c, const char *name, int index)
{
    for (int i = 0; i < c->n_values; i++)
        if (!strcmp(c->values[i].option->name, name) && index-- == 0) return c->values[i].text;
    ATN_CHECK(!"no such item");
    return NULL;
}

atn_status cli_config(const atn_cli *c, atn_config *config, atn_error *err)
{
    for (int i = 0; i < c->n_values; i++) {
        const atn_option *o = c->values[i].option;
        if (!o->config) continue;
        char origin[80];
        snprintf(origin, sizeof origin, "--%s", o->name);
        bool names = o->type == OPT_LIST && strcmp(o->name, "case") != 0;
        for (const char *p = c->values[i].text; p;) {
            size_t n = names ? strcspn(p, ",") : strlen(p);
            char *item = atn_strndup(p, n);
            atn_status st = config_put(config, o->config, item, origin, err);
            free(item);
            if (st) return st;
            p = p[n] ? p + n + 1 : NULL;
        }
    }
    return ATN_OK;
}

/* --- parsing ------------------------------------------------------------------------------------------------------- */

static atn_status check_value(const atn_option *o, const char *text, atn_error *err)
{
    if (o->type == OPT_INT) {
        long long v;
        if (!text_to_i64(text, &v))
            return atn_fail(err, ATN_USAGE, "--%s: expected a whole number, got '%s'", o->name, text);
        if (!((double)v >= o->low && (double)v <= o->high))
            return atn_fail(err, ATN_USAGE, "--%s: %s is outside %g .. %g", o->name, text, o->low, o->high);
    }
    if (o->type == OPT_REAL) {
        double v;
        if (!text_to_f64(text, &v)) return atn_fail(err, ATN_USAGE, "--%s: expected a number, got '%s'", o->name, text);
        if (!(v >= o->low && v <= o->high))
            return atn_fail(err, ATN_USAGE, "--%s: %s is outside %g .. %g", o->name, text, o->low, o->high);
    }
    if (o->type == OPT_TEXT && !*text)
        return atn_fail(err, ATN_USAGE, "--%s: expected %s, got nothing", o->name, o->arg);
    if (o->values && o->values[0] != '@') {
        size_t n = strlen(text);
        for (const char *v = o->values; v; v = strchr(v, '|') ? strchr(v, '|') + 1 : NULL)
            if (n && strcspn(v, "|") == n && !memcmp(v, text, n)) return ATN_OK;
        return atn_fail(err, ATN_USAGE, "--%s: '%s' is none of %s", o->name, text, o->values);
    }
    return ATN_OK;
}

/* getopt said '?': unknown, ambiguous, or a value where none belongs. Says which, and what is near. */
static atn_status unknown_option(const atn_command *command, const char *word, int letter, atn_error *err)
{
    if (letter && word[1] != '-')
        return atn_fail(err, ATN_USAGE, "unknown option '-%c'; see '%s help %s'", letter, cli_program(), command->name);
    size_t n = strcspn(word + 2, "=");
    char *name = atn_strndup(word + 2, n);
    const char *names[64];
    int count = 0, matches = 0;
    atn_text near = {0};
    for (int i = 0; i < cli_option_count; i++) {
        if (!cli_option_of(&cli_options[i], command->name) || count == ATN_COUNT(names)) continue;
        names[count++] = cli_options[i].name;
        if (n && text_starts(cli_options[i].name, name))
            text_addf(&near, "%s--%s", matches++ ? ", " : "", cli_options[i].name);
    }
    names[count++] = "help";
    const atn_option *whole = option_find(command->name, name);
    const char *guess = text_nearest(name, names, count);
    if (whole || (matches == 1 && word[2 + n] == '=')) atn_fail(err, ATN_USAGE, "option '--%s' takes no value", name);
    else if (matches > 1) atn_fail(err, ATN_USAGE, "option '--%s' could be any of %s", name, near.s);
    else if (guess) atn_fail(err, ATN_USAGE, "unknown option '--%s'; did you mean '--%s'?", name, guess);
    else atn_fail(err, ATN_USAGE, "unknown option '--%s'; see '%s help %s'", name, cli_program(), command->name);
    text_free(&near);
    free(name);
    return ATN_USAGE;
}

atn_status cli_parse(const atn_command *command, int argc, char **argv, atn_cli *out, bool *help, atn_error *err)
{
    *out = (atn_cli){.command = command, .values = atn_alloc(sizeof(atn_cli_value) * (size_t)argc)};
    *help = false;
    struct option table[66] = {{0}};
    const atn_option *mine[64];
    char letters[160] = ":";
    int n = 0;
    for (int i = 0; i < cli_option_count; i++) {
        const atn_option *o = &cli_options[i];
        if (!cli_option_of(o, command->name)) continue;
        ATN_CHECK(n < ATN_COUNT(mine));
        mine[n] = o;
        table[n] = (struct option){o->name, o->type == OPT_FLAG ? no_argument : required_argument, NULL, 1000 + n};
        if (o->letter) {
            size_t at = strlen(letters);
            letters[at] = o->letter;
            if (o->type != OPT_FLAG) letters[at + 1] = ':';
        }
        n++;
    }
    table[n] = (struct option){"help", no_argument, NULL, 'h'};
    strcat(letters, "h");
    for (int i = 1; i < argc && option_find(command->name, "json"); i++) out->json |= !strcmp(argv[i], "--json"); /* for errors, too */
    opterr = 0;
    optind = 1;
    for (int got; (got = getopt_long(argc, argv, letters, table, NULL)) != -1;) {
        if (got == 'h') {
            *help = true;
            return ATN_OK;
        }
        if (got == '?') return unknown_option(command, argv[optind - 1], optopt < 1000 ? optopt : 0, err);
        const atn_option *o = got >= 1000 ? mine[got - 1000] : NULL;
        if (got == ':') o = optopt >= 1000 ? mine[optopt - 1000] : NULL;
        for (int i = 0; !o && i < n; i++)
            if (mine[i]->letter == (got == ':' ? optopt : got)) o = mine[i];
        ATN_CHECK(o);
        if (got == ':')
            return atn_fail(err, ATN_USAGE, "option '--%s' needs a value: --%s %s", o->name, o->name, o->arg);
        if (o->type != OPT_FLAG && check_value(o, optarg, err)) return ATN_USAGE;
        out->values[out->n_values++] = (atn_cli_value){o, o->type == OPT_FLAG ? NULL : optarg};
        if (!strcmp(o->name, "json")) out->json = true;
        if (!strcmp(o->name, "quiet")) out->quiet = true;
    }
    out->args = argv + optind;
    out->n_args = argc - optind;
    if (out->n_args < command->args_min)
        return atn_fail(err, ATN_USAGE, "%s is missing: %s %s %s", command->args, cli_program(), command->name,
                        command->args);
    if (out->n_args > command->args_max)
        return atn_fail(err, ATN_USAGE, "unexpected argument '%s'; see '%s help %s'", out->args[command->args_max],
                        cli_program(), command->name);
    return ATN_OK;
}

void cli_free(atn_cli *c)
{
    free(c->values);
    *c = (atn_cli){0};
}
