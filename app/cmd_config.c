/* attune config: reads a config file without running anything, and shows what it comes to. */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "evolve/config.h"

static void print_keys(void)
{
    static const char *const types[] = {"int", "real", "bool", "text", "choice", "texts", "reals", "cases", "any"};
    for (int effect = CONFIG_ACTS; effect <= CONFIG_INERT; effect++) {
        static const char *const titles[] = {"have an effect", "have an effect with the llm proposer",
                                             "are accepted, without effect"};
        printf("%s# these keys %s\n", effect ? "\n" : "", titles[effect]);
        for (int i = 0; i < config_key_count; i++) {
            const config_key *k = &config_keys[i];
            if ((int)k->effect != effect) continue;
            printf("%-46s %-6s %-8s %s\n", k->path, types[k->type], k->otherwise ? k->otherwise : "-", k->help);
        }
    }
}

int cmd_config(const atn_cli *c)
{
    atn_error err = {0};
    atn_config *config = config_create();
    const char *file = c->n_args ? c->args[0] : NULL;
    int code = EXIT_VALID;
    if (cli_has(c, "keys")) {
        print_keys();
        goto out;
    }
    atn_status st = file ? config_read(config, file, &err) : ATN_OK;
    for (int i = 0; !st && i < cli_count(c, "set"); i++) st = config_set(config, cli_item(c, "set", i), &err);
    if (!st) st = config_check(config, &err);
    if (st) {
        code = cli_fail(c, &err);
        goto out;
    }
    atn_text text = {0};
    config_notes(config, false, &text);
    term_notes(text.s);
    text_free(&text);
    if (cli_has(c, "show") || !file) {
        config_show(config, &text);
        fputs(text.s, stdout);
        text_free(&text);
    } else {
        printf("%s: valid\n", file);
    }
out:
    config_free(config);
    return code;
}
