/* attune help: everything that describes the command line, made from the tables of options.def and of the config.
 *
 * Help, man page and completions never name an option themselves, so they cannot fall behind the parser. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "evolve/config.h"
#include "problem/suite.h"

/* Prints `text` in lines of at most `width` columns, each but the first after `indent` blanks. */
static void wrap(FILE *out, const char *text, int indent, int width)
{
    int column = indent;
    for (const char *p = text; *p;) {
        int n = (int)strcspn(p, " ");
        if (column > indent && column + 1 + n > width) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fwrite(p, 1, (size_t)n, out);
        column += n;
        p += n;
        while (*p == ' ') p++;
    }
    fputc('\n', out);
}

static void print_row(FILE *out, const char *left, const char *right)
{
    int pad = 30 - (int)strlen(left) - 2;
    fprintf(out, "  %s", left);
    if (pad < 2) fprintf(out, "\n%30s", "");
    else fprintf(out, "%*s", pad, "");
    wrap(out, right, 30, 100);
}

/* What the launcher of a checkout does itself. Installed, there is nothing to build or test. */
static const struct {
    const char *name, *args, *summary, *text;
} launched[] = {
    {"check", "[TEST ...]", "build, and run every test that this machine can run (a checkout only)",
     "Sets up what is missing, builds everything, runs the tests, says which were skipped and why, and counts in the last "
     "line. TEST is the name of a test; options are those of meson test: --suite NAME for one suite, --list for the names."},
    {"setup", "", "set up what is missing and build, no more (a checkout only)",
     "Installs missing packages with apt-get (as root, or through sudo), configures and builds. Every other command does "
     "the same first."},
};

static int launched_count(void)
{
    return getenv("ATTUNE_PROGRAM") ? ATN_COUNT(launched) : 0;
}

const char *help_nearest(const char *word)
{
    const char *names[64];
    int n = 0;
    for (int i = 0; i < cli_command_count && n < ATN_COUNT(names); i++) names[n++] = cli_commands[i].name;
    for (int i = 0; i < launched_count() && n < ATN_COUNT(names); i++) names[n++] = launched[i].name;
    return text_nearest(word, names, n);
}

void help_print(FILE *out, const atn_command *command)
{
    if (!command) {
        fprintf(out,
                "attune evolves attention kernels for the machine in front of it.\n\nUsage: %s COMMAND "
                "[options]\n\nCommands\n",
                cli_program());
        for (int i = 0; i < cli_command_count; i++) {
            char *left = atn_format("%s %s", cli_commands[i].name, cli_commands[i].args);
            print_row(out, left, cli_commands[i].summary);
            free(left);
        }
        for (int i = 0; i < launched_count(); i++) {
            char *left = atn_format("%s %s", launched[i].name, launched[i].args);
            print_row(out, left, launched[i].summary);
            free(left);
        }
        fputs("\nOptions\n", out);
        print_row(out, "-h, --help", "this help; after a command, its own");
        print_row(out, "-V, --version", "the version");
        fprintf(out,
                "\nExit codes: 0 done, 1 failed or not valid, 2 usage or environment, 130 interrupted.\n"
                "Start with '%s evolve'.\n",
                cli_program());
        return;
    }
    fprintf(out, "Usage: %s %s%s%s [options]\n\n", cli_program(), command->name, *command->args ? " " : "",
            command->args);
    wrap(out, command->text, 0, 100);
    fputs("\nOptions\n", out);
    for (int i = 0; i < cli_option_count; i++) {
        const atn_option *o = &cli_options[i];
        if (!cli_option_of(o, command->name)) continue;
        char letter[8] = "    ";
        if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
        char *left = atn_format("%s--%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        print_row(out, left, o->help);
        free(left);
    }
    print_row(out, "-h, --help", "this help");
}

/* --- man page ------------------------------------------------------------------------------------------------------ */

/* Text for roff: no line begins with a control character, backslashes and dashes are themselves. */
static void roff(const char *s)
{
    bool start = true;
    for (; *s; s++) {
        if (start && (*s == '.' || *s == '\'')) fputs("\\&", stdout);
        if (*s == '\\') fputs("\\e", stdout);
        else if (*s == '-') fputs("\\-", stdout);
        else putchar(*s);
        start = *s == '\n';
    }
}

static void roff_line(const char *macro, const char *s)
{
    fputs(macro, stdout);
    roff(s);
    putchar('\n');
}

static const char *effect_words(const config_key *k)
{
    return k->effect == CONFIG_LLM ? " (with the llm proposer)" : "";
}

static const struct {
    const char *name, *text;
} variables[] = {
    {"NO_COLOR", "No colours when set and not empty."},
    {"ATTUNE_HOME", "Folder that holds include/, the shipped kernels and the examples."},
    {"ATTUNE_MINUTES", "No run takes more minutes than that, whatever file and command line say; for scripts."},
    {"ATTUNE_LOCK", "The lock of those that time on this machine (/tmp/attune-timing.lock)."},
    {"ATTUNE_WISDOM", "The wisdom file that libattune reads (~/.cache/attune/wisdom.txt); empty: none."},
    {"ATTUNE_PEERS", "The virtual environment of bench and workloads (~/.cache/attune/peers)."},
    {"ATTUNE_PEERS_VERBOSE", "What the peers of bench write on stderr is shown when set."},
    {"ATTUNE_MODELS", "Folder of models; the demo takes the smallest ($ATTUNE_PEERS/models)."},
    {"ATTUNE_SCRATCH", "Folder for builds of candidates; else /dev/shm, $TMPDIR or /tmp, the first with 48 MiB free."},
};

static void print_man(void)
{
    puts(".\\\" made by: attune help --man\n.TH ATTUNE 1 \"\" \"attune " ATTUNE_VERSION
         "\" \"User Commands\"\n.SH NAME\n"
         "attune \\- evolve attention kernels for the machine in front of you\n.SH SYNOPSIS\n.nf");
    for (int i = 0; i < cli_command_count; i++)
        printf("\\fBattune %s\\fR [\\fIoptions\\fR] %s\n", cli_commands[i].name, cli_commands[i].args);
    puts(".fi\n.SH DESCRIPTION");
    roff("attune evolves the core of attention, softmax(Q K^T scale + mask) V, for the machine that it runs on. It "
         "starts "
         "from a plain C kernel, lets proposers rewrite it, judges every candidate for accuracy, speed, memory, "
         "stability "
         "and robustness in separate, limited processes, and keeps what is better beyond the noise.\n");
    puts(".SH COMMANDS");
    for (int i = 0; i < cli_command_count; i++) {
        const atn_command *c = &cli_commands[i];
        printf(".SS attune %s %s\n", c->name, c->args);
        roff_line("", c->text);
        for (int j = 0; j < cli_option_count; j++) {
            const atn_option *o = &cli_options[j];
            if (!cli_option_of(o, c->name)) continue;
            fputs(".TP\n", stdout);
            if (o->letter) printf("\\fB\\-%c\\fR, ", o->letter);
            fputs("\\fB\\-\\-", stdout);
            roff(o->name);
            fputs("\\fR", stdout);
            if (o->arg) {
                fputs(" \\fI", stdout);
                roff(o->arg);
                fputs("\\fR", stdout);
            }
            putchar('\n');
            roff(o->help);
            if (o->config) {
                fputs(" (config: ", stdout);
                roff(o->config);
                fputs(")", stdout);
            }
            putchar('\n');
        }
    }
    puts(".SH CONFIG\nThe file of \\-\\-config is YAML. These keys have an effect:");
    for (int i = 0; i < config_key_count; i++) {
        const config_key *k = &config_keys[i];
        if (k->effect == CONFIG_INERT) continue;
        fputs(".TP\n\\fB", stdout);
        roff(k->path);
        fputs("\\fR", stdout);
        if (k->otherwise) {
            fputs(" = ", stdout);
            roff(k->otherwise);
        }
        putchar('\n');
        roff(k->help);
        roff(effect_words(k));
        putchar('\n');
    }
    puts("These keys of OpenEvolve are accepted and have no effect; a note says so:");
    for (int i = 0, n = 0; i < config_key_count; i++) {
        if (config_keys[i].effect != CONFIG_INERT) continue;
        if (n++) fputs(",\n", stdout);
        roff(config_keys[i].path);
    }
    puts(".\n.SH EXIT STATUS\n.TP\n0\nDone; the candidate is valid.\n.TP\n1\nThe candidate is not valid, or the work "
         "failed.\n"
         ".TP\n2\nBad command line, config or environment.\n.TP\n130\nInterrupted by SIGINT; everything that was "
         "judged is kept.");
    puts(".SH ENVIRONMENT");
    for (int i = 0; i < ATN_COUNT(variables); i++) {
        fputs(".TP\n", stdout);
        roff(variables[i].name);
        putchar('\n');
        roff(variables[i].text);
        putchar('\n');
    }
    puts(".SH FILES\n.TP\nattune_output/best/best_program.c\nThe winner, with best_program_info.json beside it.\n.TP\n"
         "attune_output/run.db\nEverything that happened, as an SQLite database.\n.TP\nattune_output/report.html\nThe "
         "report.");
}

/* --- completion ---------------------------------------------------------------------------------------------------- */

static const char *words_after(const atn_option *o, atn_text *t)
{
    text_free(t);
    if (o->values && !strcmp(o->values, "@suite")) {
        int n;
        const char *const *names = suite_names(&n);
        for (int i = 0; i < n; i++) text_addf(t, "%s%s", i ? " " : "", names[i]);
    } else if (o->values && !strcmp(o->values, "@key")) {
        for (int i = 0; i < config_key_count; i++)
            if (config_keys[i].effect != CONFIG_INERT && !strchr(config_keys[i].path, '['))
                text_addf(t, "%s= ", config_keys[i].path);
    } else if (o->values && o->values[0] != '@') {
        for (const char *p = o->values; *p; p++) text_addf(t, "%c", *p == '|' ? ' ' : *p);
    }
    return t->s ? t->s : "";
}

static bool wants_file(const char *args)
{
    return strstr(args, ".c") || strstr(args, "FILE");
}

static void print_bash(void)
{
    atn_text t = {0};
    puts("# bash completion of attune; made by: attune help --completion bash\n"
         "_attune_path() {\n" /* one name a line: names may hold blanks and wildcards */
         "    local IFS=$'\\n' restore=$(shopt -po noglob)\n    set -o noglob\n    COMPREPLY=($(compgen \"$1\" -- \"$cur\"))\n"
         "    eval \"$restore\"\n    compopt -o filenames 2>/dev/null\n}\n"
         "_attune_key() {\n" /* a value follows: no blank after the '=' */
         "    COMPREPLY=($(compgen -W \"$1\" -- \"$cur\"))\n    compopt -o nospace 2>/dev/null\n}\n_attune() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[1]}\n    "
         "COMPREPLY=()\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    fputs("        COMPREPLY=($(compgen -W \"", stdout);
    for (int i = 0; i < cli_command_count; i++) printf("%s ", cli_commands[i].name);
    puts("--help --version\" -- \"$cur\"))\n        return\n    fi\n    case $cmd:$prev in");
    for (int i = 0; i < cli_option_count; i++) {
        const atn_option *o = &cli_options[i];
        if (o->type == OPT_FLAG) continue;
        printf("    %s:--%s", o->command, o->name);
        if (o->letter) printf("|%s:-%c", o->command, o->letter);
        const char *words = words_after(o, &t);
        if (*words && !strcmp(o->values, "@key")) printf(") _attune_key \"%s\"; return ;;\n", words);
        else if (*words) printf(") COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n", words);
        else if (o->values) printf(") _attune_path -%c; return ;;\n", !strcmp(o->values, "@dir") ? 'd' : 'f');
        else puts(") return ;;");
    }
    puts("    esac\n    case $cmd in");
    for (int i = 0; i < cli_command_count; i++) {
        const atn_command *c = &cli_commands[i];
        printf("    %s)\n        if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W \"", c->name);
        for (int j = 0; j < cli_option_count; j++)
            if (cli_option_of(&cli_options[j], c->name)) printf("--%s ", cli_options[j].name);
        fputs("--help\" -- \"$cur\"))", stdout);
        if (!strcmp(c->name, "help")) {
            fputs("; else COMPREPLY=($(compgen -W \"", stdout);
            for (int j = 0; j < cli_command_count; j++) printf("%s ", cli_commands[j].name);
            fputs("\" -- \"$cur\"))", stdout);
        } else if (*c->args) {
            printf("; else _attune_path -%c", wants_file(c->args) ? 'f' : 'd');
        }
        puts("; fi ;;");
    }
    puts("    esac\n}\ncomplete -F _attune attune ./attune");
    text_free(&t);
}

/* Text inside '...' of zsh's _arguments and of fish. */
static void quoted(const char *s, bool zsh)
{
    for (; *s; s++) {
        if (*s == '\'') fputs(zsh ? "'\\''" : "\\'", stdout);
        else if (zsh && strchr("[]:", *s)) printf("\\%c", *s);
        else putchar(*s);
    }
}

static void print_zsh(void)
{
    atn_text t = {0};
    puts("#compdef attune\n# zsh completion of attune; made by: attune help --completion zsh\n_attune() {\n    if (( "
         "CURRENT == 2 )); then\n"
         "        local -a commands=(");
    for (int i = 0; i < cli_command_count; i++) {
        printf("            '%s:", cli_commands[i].name);
        quoted(cli_commands[i].summary, true);
        puts("'");
    }
    puts("        )\n        _describe command commands\n        return\n    fi\n    local cmd=$words[2]\n"
         "    shift words; (( CURRENT-- ))\n    case $cmd in");
    for (int i = 0; i < cli_command_count; i++) {
        const atn_command *c = &cli_commands[i];
        printf("    %s)\n        _arguments \\\n", c->name);
        for (int j = 0; j < cli_option_count; j++) {
            const atn_option *o = &cli_options[j];
            if (!cli_option_of(o, c->name)) continue;
            for (int k = 0; k < (o->letter ? 2 : 1); k++) {
                fputs("            '", stdout);
                if (o->type == OPT_LIST) putchar('*');
                if (k) printf("-%c[", o->letter);
                else printf("--%s%s[", o->name, o->arg ? "=" : "");
                quoted(o->help, true);
                putchar(']');
                if (o->arg) {
                    putchar(':');
                    quoted(o->arg, true);
                    putchar(':');
                    const char *words = words_after(o, &t);
                    if (*words) printf("(%s)", words);
                    else if (o->values) fputs(!strcmp(o->values, "@dir") ? "_files -/" : "_files", stdout);
                }
                puts("' \\");
            }
        }
        if (!strcmp(c->name, "help")) {
            fputs("            '1:command:(", stdout);
            for (int j = 0; j < cli_command_count; j++) printf("%s ", cli_commands[j].name);
            puts(")' \\");
        } else if (*c->args) {
            printf("            '1:%s:_files%s' \\\n", wants_file(c->args) ? "file" : "folder",
                   wants_file(c->args) ? "" : " -/");
        }
        puts("            '--help[help]' ;;");
    }
    puts("    esac\n}\n_attune \"$@\"");
    text_free(&t);
}

static void print_fish(void)
{
    atn_text t = {0};
    puts("# fish completion of attune; made by: attune help --completion fish\ncomplete -c attune -n "
         "__fish_use_subcommand -f");
    for (int i = 0; i < cli_command_count; i++) {
        printf("complete -c attune -n __fish_use_subcommand -f -a %s -d '", cli_commands[i].name);
        quoted(cli_commands[i].summary, false);
        puts("'");
    }
    for (int i = 0; i < cli_option_count; i++) {
        const atn_option *o = &cli_options[i];
        printf("complete -c attune -n '__fish_seen_subcommand_from %s' -l %s", o->command, o->name);
        if (o->letter) printf(" -s %c", o->letter);
        if (o->arg) fputs(" -r", stdout);
        const char *words = words_after(o, &t);
        if (*words) printf(" -f -a '%s'", words);
        else if (o->arg && !o->values) fputs(" -f", stdout);
        fputs(" -d '", stdout);
        quoted(o->help, false);
        puts("'");
    }
    text_free(&t);
}

int cmd_help(const atn_cli *c)
{
    const char *shell = cli_text(c, "completion", NULL);
    if (cli_has(c, "man")) {
        print_man();
    } else if (shell) {
        if (!strcmp(shell, "bash")) print_bash();
        else if (!strcmp(shell, "zsh")) print_zsh();
        else print_fish();
    } else if (c->n_args == 0) {
        help_print(stdout, NULL);
    } else {
        const atn_command *command = cli_command_find(c->args[0]);
        for (int i = 0; i < launched_count(); i++) {
            if (strcmp(launched[i].name, c->args[0]) != 0) continue;
            printf("Usage: %s %s%s%s\n\n", cli_program(), launched[i].name, *launched[i].args ? " " : "", launched[i].args);
            wrap(stdout, launched[i].text, 0, 100);
            return EXIT_VALID;
        }
        if (!command) {
            const char *near = help_nearest(c->args[0]);
            atn_error err = {0};
            atn_fail(&err, ATN_USAGE, "there is no command '%s'%s%s%s", c->args[0], near ? "; did you mean '" : "",
                     near ? near : "", near ? "'?" : "");
            return cli_fail(c, &err);
        }
        help_print(stdout, command);
    }
    return EXIT_VALID;
}
