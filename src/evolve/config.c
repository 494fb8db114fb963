/* The config file: libyaml's document tree checked against one table of keys.
 *
 * Invariant: every entry of a config has passed the type and range of its key, so getters cannot fail. Entries keep the
 * place that they came from until the end, because later checks (a case that does not parse) must name it too. */
#include "evolve/config.h"

#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>
#include <yaml.h>

#include "base/file.h"
#include "judge/verdict.h"

#define NO 0, 0, NULL
#define RANGE(low, high) low, high, NULL
#define OF(choices) 0, 0, choices
#define UNIT RANGE(0, 1)

/* Sections stand together; within a section the keys that act come first. */
/* clang-format off: a table, one key a line */
const config_key config_keys[] = {
    {"max_iterations", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_ACTS,
     "stop after that many evolved candidates; 0: no limit"},
    {"random_seed", CONFIG_INT, RANGE(0, 9e15), "42", CONFIG_ACTS, "seed of every random choice of the search"},
    {"proposers", CONFIG_TEXTS, NO, "knobs", CONFIG_ACTS, "who proposes candidates"},
    {"early_stopping_patience", CONFIG_INT, RANGE(-1e9, 1e9), NULL, CONFIG_ACTS, "as evolve.plateau, when above 0"},
    {"diff_based_evolution", CONFIG_BOOL, NO, "true", CONFIG_LLM, "ask for SEARCH/REPLACE edits"},
    {"allow_full_rewrites", CONFIG_BOOL, NO, "false", CONFIG_LLM, "ask for whole programs as well"},
    {"max_code_length", CONFIG_INT, RANGE(1, 1e9), "60000", CONFIG_LLM, "longest program, in characters"},
    {"diff_pattern", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "the SEARCH/REPLACE form is fixed"},
    {"checkpoint_interval", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT, "every candidate is saved at once"},
    {"log_level", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "everything is kept in run.db"},
    {"log_dir", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "everything is kept in run.db"},
    {"language", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "programs are C"},
    {"file_suffix", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "programs are C"},
    {"enforce_evolve_blocks", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "edits outside the markers are always refused"},
    {"convergence_threshold", CONFIG_REAL, RANGE(-1e9, 1e9), NULL, CONFIG_INERT, "only wins beyond the noise count"},
    {"early_stopping_metric", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "it is always the speedup of valid programs"},
    {"max_tasks_per_child", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT, "every candidate has a fresh process"},

    {"evolve.minutes", CONFIG_REAL, RANGE(0, 1e6), NULL, CONFIG_ACTS,
     "stop after that many minutes of evolving; 0: no limit"},
    {"evolve.target_speedup", CONFIG_REAL, RANGE(0, 1e6), "0", CONFIG_ACTS,
     "stop when the speedup's lower bound reaches it; 0: none"},
    {"evolve.plateau", CONFIG_INT, RANGE(0, 1e9), "0", CONFIG_ACTS,
     "stop after that many candidates without a new best; 0: never"},
    {"evolve.final_seconds", CONFIG_REAL, RANGE(0, 1e5), "40", CONFIG_ACTS, "time for the comparison at the end"},
    {"evolve.control_races", CONFIG_INT, RANGE(0, 1000), "3", CONFIG_ACTS,
     "A-against-A races before and after the run"},
    {"evolve.shipped", CONFIG_BOOL, NO, "true", CONFIG_ACTS, "start from the kernels that come with attune as well"},

    {"judge.suites", CONFIG_TEXTS, NO, NULL, CONFIG_ACTS,
     "cases to be fast at; seed and readme where neither suites nor cases are given"},
    {"judge.cases", CONFIG_CASES, NO, NULL, CONFIG_ACTS, "custom cases: \"f32 h32/8 s4096 d128 causal\""},
    {"judge.threads", CONFIG_INT, RANGE(1, 1024), "1", CONFIG_ACTS, "threads that a kernel runs on"},
    {"judge.tolerance", CONFIG_REAL, RANGE(1e-3, 1e6), "1", CONFIG_ACTS, "factor on the tolerances"},
    {"judge.compiler", CONFIG_TEXT, NO, NULL, CONFIG_ACTS, "gcc, clang or a path; gcc if present where none is given"},
    {"judge.unsafe", CONFIG_BOOL, NO, "false", CONFIG_ACTS,
     "run candidates even where this machine can isolate nothing"},

    {"executor.kind", CONFIG_CHOICE, 0, 0, "local|slurm|ssh|spool|exec", "local", CONFIG_ACTS,
     "where candidates are built and judged: on this machine, or by pilots that srun, ssh or a command of yours starts, or "
     "that are found in a folder"},
    {"executor.slots", CONFIG_INT, RANGE(1, 4096), "4", CONFIG_ACTS, "pilots to keep alive (ssh: as hosts says)"},
    {"executor.options", CONFIG_TEXT, NO, NULL, CONFIG_ACTS,
     "more words for srun or ssh, as a shell reads them; with exec the whole command"},
    {"executor.hosts", CONFIG_TEXTS, NO, NULL, CONFIG_ACTS, "machines for ssh: node1, user@node2, node3*4 for four pilots"},
    {"executor.worker", CONFIG_TEXT, NO, NULL, CONFIG_ACTS,
     "attune as the other machine calls it (slurm: the path of this one; ssh: attune)"},
    {"executor.spool", CONFIG_TEXT, NO, NULL, CONFIG_ACTS, "folder that all machines share, where `attune worker --spool` is met"},
    {"executor.window", CONFIG_INT, RANGE(1, 8192), NULL, CONFIG_ACTS,
     "candidates under way at once; kept for the life of a run (twice the slots and one, at most 33 more)"},
    {"executor.heartbeat", CONFIG_REAL, RANGE(0.05, 600), "2", CONFIG_ACTS,
     "seconds between signs of life; six of them missed, and a pilot is lost"},

    {"database.num_islands", CONFIG_INT, RANGE(1, 16), "4", CONFIG_ACTS, "islands that evolve side by side"},
    {"database.archive_size", CONFIG_INT, RANGE(1, 1e6), "64", CONFIG_ACTS, "cells of one island's archive"},
    {"database.migration_interval", CONFIG_INT, RANGE(1, 1e6), "24", CONFIG_ACTS, "candidates between two migrations"},
    {"database.population_size", CONFIG_INT, RANGE(1, 1e9), NULL, CONFIG_INERT, "no candidate is ever deleted"},
    {"database.db_path", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "the run is kept in run.db of the output folder"},
    {"database.in_memory", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "the run is kept in run.db of the output folder"},
    {"database.log_prompts", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "prompts are always kept"},
    {"database.elite_selection_ratio", CONFIG_REAL, UNIT, NULL, CONFIG_INERT, "a proposer chooses its parents"},
    {"database.exploration_ratio", CONFIG_REAL, UNIT, NULL, CONFIG_INERT, "a proposer chooses its parents"},
    {"database.exploitation_ratio", CONFIG_REAL, UNIT, NULL, CONFIG_INERT, "a proposer chooses its parents"},
    {"database.diversity_metric", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "diversity is measured behaviour"},
    {"database.feature_dimensions", CONFIG_TEXTS, NO, NULL, CONFIG_INERT, "the axes are measured behaviour"},
    {"database.feature_bins", CONFIG_ANY, NO, NULL, CONFIG_INERT, "the axes are measured behaviour"},
    {"database.diversity_reference_size", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT,
     "diversity is measured behaviour"},
    {"database.migration_rate", CONFIG_REAL, UNIT, NULL, CONFIG_INERT, "an island sends its best program"},
    {"database.random_seed", CONFIG_INT, RANGE(0, 9e15), NULL, CONFIG_INERT, "there is one seed: random_seed"},
    {"database.artifacts_base_path", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "evidence is kept in run.db"},
    {"database.artifact_size_threshold", CONFIG_INT, RANGE(0, 1e12), NULL, CONFIG_INERT, "evidence is kept in run.db"},
    {"database.cleanup_old_artifacts", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "evidence is kept in run.db"},
    {"database.artifact_retention_days", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT, "evidence is kept in run.db"},
    {"database.max_snapshot_artifacts", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT, "evidence is kept in run.db"},
    {"database.novelty_llm", CONFIG_ANY, NO, NULL, CONFIG_INERT, "equal code is found by its hash"},
    {"database.embedding_model", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "equal code is found by its hash"},
    {"database.embedding_api_base", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "equal code is found by its hash"},
    {"database.similarity_threshold", CONFIG_REAL, UNIT, NULL, CONFIG_INERT, "equal code is found by its hash"},

    {"evaluator.parallel_evaluations", CONFIG_INT, RANGE(1, 1024), NULL, CONFIG_ACTS,
     "builds at the same time; timing is always one at a time"},
    {"evaluator.timeout", CONFIG_REAL, RANGE(0, 1e6), NULL, CONFIG_INERT, "each stage has its own limit"},
    {"evaluator.max_retries", CONFIG_INT, RANGE(0, 1e6), NULL, CONFIG_INERT, "a verdict is final"},
    {"evaluator.memory_limit_mb", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT, "memory is always limited"},
    {"evaluator.cpu_limit", CONFIG_REAL, RANGE(0, 1e6), NULL, CONFIG_INERT, "time is always limited"},
    {"evaluator.distributed", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "times of two machines do not compare"},
    {"evaluator.cascade_evaluation", CONFIG_BOOL, NO, "true", CONFIG_INERT, "the cascade is always on"},
    {"evaluator.cascade_thresholds", CONFIG_REALS, RANGE(-1e9, 1e9), NULL, CONFIG_INERT, "a stage is passed or not"},
    {"evaluator.use_llm_feedback", CONFIG_BOOL, NO, "false", CONFIG_LLM, "ask a model for its opinion of right programs; shown in prompts, in no score"},
    {"evaluator.llm_feedback_weight", CONFIG_REAL, RANGE(0, 1e6), NULL, CONFIG_INERT, "the judge measures"},
    {"evaluator.enable_artifacts", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "evidence is always kept"},
    {"evaluator.max_artifact_storage", CONFIG_INT, RANGE(0, 1e15), NULL, CONFIG_INERT, "evidence is always kept"},

    {"mailbox.open", CONFIG_INT, RANGE(1, 256), "4", CONFIG_ACTS, "questions that the mailbox proposer keeps open"},
    {"mailbox.folder", CONFIG_TEXT, NO, NULL, CONFIG_ACTS, "its folder; mailbox/ in the output folder where none is given"},
    {"exec.command", CONFIG_TEXT, NO, NULL, CONFIG_ACTS, "command of the exec proposer: prompt on stdin, answer on stdout"},
    {"exec.timeout", CONFIG_REAL, RANGE(0.1, 1e6), "600", CONFIG_ACTS, "seconds until it is killed"},
    {"exec.parallel", CONFIG_INT, RANGE(1, 64), "1", CONFIG_ACTS, "how many of it run at the same time"},
    {"replay.run", CONFIG_TEXT, NO, NULL, CONFIG_ACTS, "earlier run whose proposals the replay proposer repeats"},
    {"replay.only_answers", CONFIG_BOOL, NO, "false", CONFIG_ACTS, "only those that came from answers"},

    {"llm.api_base", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "OpenAI-compatible endpoint"},
    {"llm.api_key", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "its key, best as ${VARIABLE}"},
    {"llm.primary_model", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "model that is asked most"},
    {"llm.primary_model_weight", CONFIG_REAL, RANGE(0, 1e6), "1", CONFIG_LLM, "its share"},
    {"llm.secondary_model", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "second model"},
    {"llm.secondary_model_weight", CONFIG_REAL, RANGE(0, 1e6), "0.2", CONFIG_LLM, "its share"},
    {"llm.temperature", CONFIG_REAL, RANGE(0, 2), "0.7", CONFIG_LLM, "sampling temperature"},
    {"llm.top_p", CONFIG_REAL, UNIT, NULL, CONFIG_LLM, "nucleus sampling"},
    {"llm.max_tokens", CONFIG_INT, RANGE(1, 1e8), "8192", CONFIG_LLM, "longest answer"},
    {"llm.timeout", CONFIG_REAL, RANGE(0.1, 1e6), "60", CONFIG_LLM, "seconds for an answer"},
    {"llm.retries", CONFIG_INT, RANGE(0, 1000), "3", CONFIG_LLM, "tries after a failure"},
    {"llm.retry_delay", CONFIG_REAL, RANGE(0, 1e5), "5", CONFIG_LLM, "seconds between tries"},
    {"llm.random_seed", CONFIG_INT, RANGE(0, 9e15), NULL, CONFIG_LLM, "seed sent with requests"},
    {"llm.reasoning_effort", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "sent where given"},
    {"llm.system_message", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "system prompt"},
    {"llm.max_budget_usd", CONFIG_REAL, RANGE(0, 1e9), NULL, CONFIG_LLM, "stop asking beyond that"},
    {"llm.provider", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "openai: the only one"},
    {"llm.name", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "model where no list is given"},
    {"llm.weight", CONFIG_REAL, RANGE(0, 1e6), NULL, CONFIG_LLM, "share where a model has none"},
    {"llm.manual_mode", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "prompts to a person are a proposer of its own"},
    {"llm.init_client", CONFIG_ANY, NO, NULL, CONFIG_INERT, "there is one client"},
    {"llm.max_ai_credits", CONFIG_REAL, RANGE(0, 1e9), NULL, CONFIG_INERT, "only of another provider"},
    {"llm.allow_all_tools", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "models get no tools"},
    {"llm.parallel", CONFIG_INT, RANGE(1, 256), "4", CONFIG_LLM, "requests in flight"},
    {"llm.api_key_file", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "file that holds the key"},
    {"llm.first_token_timeout", CONFIG_REAL, RANGE(0.1, 1e6), "300", CONFIG_LLM, "seconds of silence before the first token"},
    {"llm.stall_timeout", CONFIG_REAL, RANGE(0.1, 1e6), "60", CONFIG_LLM, "seconds of silence after it"},
    {"llm.requests_per_minute", CONFIG_REAL, RANGE(0, 1e9), "0", CONFIG_LLM, "rate limit of a model; 0: none"},
    {"llm.tokens_per_minute", CONFIG_REAL, RANGE(0, 1e12), "0", CONFIG_LLM, "rate limit of a model; 0: none"},
    {"llm.price_in", CONFIG_REAL, RANGE(0, 1e6), "0", CONFIG_LLM, "US dollars for a million prompt tokens"},
    {"llm.price_out", CONFIG_REAL, RANGE(0, 1e6), "0", CONFIG_LLM, "US dollars for a million answer tokens"},
    {"llm.proxy", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "proxy; else http_proxy, https_proxy, ALL_PROXY, no_proxy"},
    {"llm.http_version", CONFIG_CHOICE, 0, 0, "auto|1.1|2", "auto", CONFIG_LLM, "HTTP version"},
#define MODEL(list, effect)                                                                                            \
    {list ".name", CONFIG_TEXT, NO, NULL, effect, "model"},                                                            \
        {list ".weight", CONFIG_REAL, RANGE(0, 1e6), "1", effect, "its share"},                                        \
        {list ".api_base", CONFIG_TEXT, NO, NULL, effect, "its endpoint; else that of llm"},                           \
        {list ".api_key", CONFIG_TEXT, NO, NULL, effect, "its key; else that of llm"},                                 \
        {list ".temperature", CONFIG_REAL, RANGE(0, 2), NULL, effect, "else that of llm"},                             \
        {list ".top_p", CONFIG_REAL, UNIT, NULL, effect, "else that of llm"},                                          \
        {list ".max_tokens", CONFIG_INT, RANGE(1, 1e8), NULL, effect, "else that of llm"},                             \
        {list ".timeout", CONFIG_REAL, RANGE(0.1, 1e6), NULL, effect, "else that of llm"},                             \
        {list ".retries", CONFIG_INT, RANGE(0, 1000), NULL, effect, "else that of llm"},                               \
        {list ".retry_delay", CONFIG_REAL, RANGE(0, 1e5), NULL, effect, "else that of llm"},                           \
        {list ".random_seed", CONFIG_INT, RANGE(0, 9e15), NULL, effect, "else that of llm"},                           \
        {list ".reasoning_effort", CONFIG_TEXT, NO, NULL, effect, "else that of llm"},                                 \
        {list ".system_message", CONFIG_TEXT, NO, NULL, effect, "else that of llm"},                                   \
        {list ".provider", CONFIG_TEXT, NO, NULL, effect, "openai: the only one"},                                     \
        {list ".max_budget_usd", CONFIG_REAL, RANGE(0, 1e9), NULL, effect, "else that of llm"},                        \
        {list ".price_in", CONFIG_REAL, RANGE(0, 1e6), NULL, effect, "else that of llm"},                              \
        {list ".price_out", CONFIG_REAL, RANGE(0, 1e6), NULL, effect, "else that of llm"},                             \
        {list ".requests_per_minute", CONFIG_REAL, RANGE(0, 1e9), NULL, effect, "else that of llm"},                   \
        {list ".tokens_per_minute", CONFIG_REAL, RANGE(0, 1e12), NULL, effect, "else that of llm"},                        \
        {list ".manual_mode", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "see llm.manual_mode"},                             \
    {                                                                                                                  \
        list ".init_client", CONFIG_ANY, NO, NULL, CONFIG_INERT, "there is one client"                                 \
    }
    MODEL("llm.models[]", CONFIG_LLM),
    MODEL("llm.evaluator_models[]", CONFIG_INERT),

    {"prompt.system_message", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "system prompt"},
    {"prompt.template_dir", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "folder of prompt templates"},
    {"prompt.num_top_programs", CONFIG_INT, RANGE(0, 100), "3", CONFIG_LLM, "best programs shown"},
    {"prompt.num_diverse_programs", CONFIG_INT, RANGE(0, 100), "2", CONFIG_LLM, "other programs shown"},
    {"prompt.use_template_stochasticity", CONFIG_BOOL, NO, "true", CONFIG_LLM, "vary the wording"},
    {"prompt.include_artifacts", CONFIG_BOOL, NO, "true", CONFIG_LLM, "show the judge's evidence"},
    {"prompt.max_artifact_bytes", CONFIG_INT, RANGE(0, 1e9), "20480", CONFIG_LLM, "longest evidence shown"},
    {"prompt.template_variations", CONFIG_ANY, NO, NULL, CONFIG_INERT, "the wordings are built in"},
    {"prompt.evaluator_system_message", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "no model judges"},
    {"prompt.programs_as_changes_description", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "programs are shown as they are"},
    {"prompt.system_message_changes_description", CONFIG_TEXT, NO, NULL, CONFIG_INERT,
     "programs are shown as they are"},
    {"prompt.initial_changes_description", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "programs are shown as they are"},
    {"prompt.use_meta_prompting", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "no such thing here"},
    {"prompt.meta_prompt_weight", CONFIG_REAL, RANGE(0, 1e6), NULL, CONFIG_INERT, "no such thing here"},
    {"prompt.artifact_security_filter", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "evidence is always cleaned"},
    {"prompt.suggest_simplification_after_chars", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT,
     "the prompt says what is too long"},
    {"prompt.include_changes_under_chars", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT, "the prompt's own rule"},
    {"prompt.concise_implementation_max_lines", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT, "the prompt's own rule"},
    {"prompt.comprehensive_implementation_min_lines", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT,
     "the prompt's own rule"},
    {"prompt.diff_summary_max_line_len", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT, "the prompt's own rule"},
    {"prompt.diff_summary_max_lines", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT, "the prompt's own rule"},
    {"prompt.code_length_threshold", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT, "the prompt's own rule"},

    {"evolution_trace.enabled", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "run.db holds it all"},
    {"evolution_trace.format", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "run.db holds it all"},
    {"evolution_trace.include_code", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "run.db holds it all"},
    {"evolution_trace.include_prompts", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "run.db holds it all"},
    {"evolution_trace.output_path", CONFIG_TEXT, NO, NULL, CONFIG_INERT, "run.db holds it all"},
    {"evolution_trace.buffer_size", CONFIG_INT, RANGE(0, 1e9), NULL, CONFIG_INERT, "run.db holds it all"},
    {"evolution_trace.compress", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "run.db holds it all"},
};
/* clang-format on */
const int config_key_count = ATN_COUNT(config_keys);

enum { CASES_MAX = ATN_CASES_MAX };

/* One scalar that was given. Lists have one entry per item, "judge.suites[0]"; an empty list has one with text NULL. */
typedef struct {
    const config_key *key;
    char *path; /* concrete: "llm.models[1].name" */
    char *raw;  /* as written; NULL: null or an empty list */
    char *text; /* ${VAR} replaced; NULL where the variable is not set (llm keys only) */
    char *where;
} entry;

struct atn_config {
    entry *entries;
    int n, room;
    atn_text twice; /* notes on keys that a file gives twice */
};

/* --- entries ------------------------------------------------------------------------------------------------------- */

atn_config *config_create(void)
{
    return atn_alloc(sizeof(atn_config));
}

static void entry_free(entry *e)
{
    free(e->path);
    free(e->raw);
    free(e->text);
    free(e->where);
}

void config_free(atn_config *c)
{
    if (!c) return;
    for (int i = 0; i < c->n; i++) entry_free(&c->entries[i]);
    free(c->entries);
    text_free(&c->twice);
    free(c);
}

/* "llm.models[3].name" -> "llm.models[].name" */
static void pattern_of(const char *path, char *out, size_t room)
{
    size_t n = 0;
    bool inside = false;
    for (; *path && n + 1 < room; path++) {
        if (*path == ']') inside = false;
        if (!inside) out[n++] = *path;
        if (*path == '[') inside = true;
    }
    out[n] = 0;
}

static const config_key *key_find(const char *path)
{
    char pattern[160];
    pattern_of(path, pattern, sizeof pattern);
    for (int i = 0; i < config_key_count; i++)
        if (!strcmp(config_keys[i].path, pattern)) return &config_keys[i];
    return NULL;
}

static bool is_list(const config_key *k)
{
    return k->type == CONFIG_TEXTS || k->type == CONFIG_REALS || k->type == CONFIG_CASES;
}

/* True for the path itself and for items of it: "judge.suites", "judge.suites[0]". */
static bool covers(const char *path, const char *concrete)
{
    size_t n = strlen(path);
    return !strncmp(path, concrete, n) && (concrete[n] == 0 || concrete[n] == '[');
}

void config_clear(atn_config *c, const char *path)
{
    int kept = 0;
    for (int i = 0; i < c->n; i++) {
        if (covers(path, c->entries[i].path)) entry_free(&c->entries[i]);
        else c->entries[kept++] = c->entries[i];
    }
    c->n = kept;
}

static void add(atn_config *c, const config_key *key, const char *path, const char *raw, const char *text,
                const char *where)
{
    if (c->n == c->room)
        c->entries = atn_realloc(c->entries, sizeof(entry) * (size_t)(c->room = c->room ? 2 * c->room : 32));
    c->entries[c->n++] =
        (entry){key, atn_strdup(path), raw ? atn_strdup(raw) : NULL, text ? atn_strdup(text) : NULL, atn_strdup(where)};
}

static const entry *entry_find(const atn_config *c, const char *path)
{
    for (int i = c->n - 1; i >= 0; i--)
        if (!strcmp(c->entries[i].path, path)) return &c->entries[i];
    return NULL;
}

/* --- scalars, as YAML 1.1 reads them ------------------------------------------------------------------------------- */

static bool is_null(const char *s)
{
    return !*s || !strcmp(s, "~") || !strcasecmp(s, "null");
}

static bool read_bool(const char *s, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    for (int i = 0; i < 3; i++) {
        if (!strcasecmp(s, yes[i])) return *out = true;
        if (!strcasecmp(s, no[i])) return *out = false, true;
    }
    return false;
}

/* Without the underscores that may stand between digits; false where one stands elsewhere. */
static bool strip_underscores(const char *s, char out[64])
{
    size_t n = 0;
    for (const char *p = s; *p; p++) {
        if (*p == '_') {
            if (p == s || !isalnum((unsigned char)p[-1]) || !isalnum((unsigned char)p[1])) return false;
            continue;
        }
        if (n == 63) return false;
        out[n++] = *p;
    }
    out[n] = 0;
    return n > 0;
}

static bool read_real(const char *s, double *out)
{
    char plain[64];
    if (!strip_underscores(s, plain) || strpbrk(plain, "xXpPnN")) return false; /* no hex floats, no nan, no inf */
    return text_to_f64(plain, out);
}

static bool read_int(const char *s, long long *out)
{
    char plain[64], *end;
    if (!strip_underscores(s, plain)) return false;
    const char *digits = plain + (plain[0] == '-' || plain[0] == '+');
    if (!isdigit((unsigned char)*digits)) return false;
    int base = digits[0] != '0' || !digits[1]      ? 10
               : digits[1] == 'x'                  ? 16
               : digits[1] == 'o'                  ? -1
               : isdigit((unsigned char)digits[1]) ? 8
                                                   : 10;
    if (base > 0) {
        *out = strtoll(plain, &end, base);
        if (!*end) return true;
    }
    double v; /* 1e3 is a whole number too */
    if (!text_to_f64(plain, &v) || v != floor(v) || !(fabs(v) < 9.1e15)) return false;
    *out = (long long)v;
    return true;
}

static bool is_choice(const char *choices, const char *s)
{
    size_t n = strlen(s);
    for (const char *v = choices; v; v = strchr(v, '|') ? strchr(v, '|') + 1 : NULL)
        if (n && strcspn(v, "|") == n && !memcmp(v, s, n)) return true;
    return false;
}

static const char *type_words(const config_key *k)
{
    static const char *const words[] = {"a whole number", "a number", "true or false", "a text",  "one of the choices",
                                        "a text",         "a number", "a problem",     "anything"};
    return words[k->type];
}

/* --- errors -------------------------------------------------------------------------------------------------------- */

typedef struct {
    atn_config *config;
    const char *name; /* of the file, or "--set key" */
    const char *text; /* whole text, for the line that an error shows */
    bool places;      /* whether line and column mean something to the user */
    yaml_document_t *document;
    atn_error *err;
} reader;

static char *place(const reader *r, yaml_mark_t m)
{
    return r->places ? atn_format("%s:%zu:%zu", r->name, m.line + 1, m.column + 1) : atn_strdup(r->name);
}

/* "name:3:7: text" and, for files, the line with a caret under the column. */
static atn_status fail_at(const reader *r, yaml_mark_t m, const char *format, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    char *at = place(r, m);
    atn_text out = {0};
    text_addf(&out, "%s: %s", at, text);
    if (r->places) {
        const char *line = r->text;
        for (size_t i = 0; i < m.line && line; i++) line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
        size_t n = line ? strcspn(line, "\n") : 0;
        if (n && n < 200) text_addf(&out, "\n  %.*s\n  %*s^", (int)n, line, (int)m.column, "");
    }
    atn_fail(r->err, ATN_USAGE, "%s", out.s);
    text_free(&out);
    free(at);
    return ATN_USAGE;
}

/* --- ${VAR} -------------------------------------------------------------------------------------------------------- */

/* Replaces each ${NAME} by the environment's value. *missing names the first that is not set (caller frees), and then
 * the result is NULL. */
static char *expand(const char *s, char **missing)
{
    atn_text out = {0};
    *missing = NULL;
    while (*s) {
        const char *open = strstr(s, "${"), *close = open ? strchr(open, '}') : NULL;
        if (!close) break;
        text_addn(&out, s, (size_t)(open - s));
        char *name = atn_strndup(open + 2, (size_t)(close - open - 2));
        const char *value = getenv(name);
        if (!value || !*value) {
            *missing = name;
            text_free(&out);
            return NULL;
        }
        text_add(&out, value);
        free(name);
        s = close + 1;
    }
    text_add(&out, s);
    return text_take(&out);
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

static const char *node_words(const yaml_node_t *n)
{
    return n->type == YAML_MAPPING_NODE ? "a section" : n->type == YAML_SEQUENCE_NODE ? "a list" : "a value";
}

/* Checks one scalar against its key and adds it. */
static atn_status read_scalar(const reader *r, const config_key *k, const char *path, const char *raw, bool plain,
                              yaml_mark_t m)
{
    char *missing, *text = expand(raw, &missing), *where = place(r, m);
    atn_status st = ATN_OK;
    long long i;
    double x = 0;
    bool b, ok = true, in_range = true;
    if (!text) {
        /* The llm section may name keys of a service that this run does not use. */
        if (k->effect != CONFIG_LLM && k->effect != CONFIG_INERT)
            st = fail_at(r, m, "%s: the environment variable %s is not set", path, missing);
        goto out;
    }
    switch (k->type) {
    case CONFIG_INT:
        ok = plain && read_int(text, &i);
        x = ok ? (double)i : 0;
        in_range = !ok || (x >= k->low && x <= k->high);
        break;
    case CONFIG_REAL:
    case CONFIG_REALS:
        ok = plain && read_real(text, &x);
        in_range = !ok || (x >= k->low && x <= k->high);
        break;
    case CONFIG_BOOL: ok = plain && read_bool(text, &b); break;
    case CONFIG_CHOICE:
        if (!is_choice(k->choices, text)) st = fail_at(r, m, "%s: '%s' is none of %s", path, text, k->choices);
        break;
    default: break;
    }
    if (!ok) st = fail_at(r, m, "%s: expected %s, got '%s'", path, type_words(k), text);
    else if (!in_range) st = fail_at(r, m, "%s: %s is outside %g .. %g", path, text, k->low, k->high);
out:
    if (st == ATN_OK) add(r->config, k, path, raw, text, where);
    free(text);
    free(missing);
    free(where);
    return st;
}

/* The seed's way to write a case: {batch_size: 1, seq_len: 4096, hidden_size: 2048, num_heads: 32, num_kv_heads: 8}. */
static atn_status read_case_map(const reader *r, const config_key *k, const char *path, const yaml_node_t *n)
{
    enum { BATCH, SEQ, HIDDEN, HEADS, KV_HEADS, FIELDS };
    static const char *const names[FIELDS] = {"batch_size", "seq_len", "hidden_size", "num_heads", "num_kv_heads"};
    long long v[FIELDS] = {1, 0, 0, 0, 0};
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, p->key),
                          *value = yaml_document_get_node(r->document, p->value);
        const char *name = key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : "";
        int f = 0;
        while (f < FIELDS && strcmp(names[f], name) != 0) f++;
        if (f == FIELDS) {
            const char *near = text_nearest(name, names, FIELDS);
            return fail_at(r, key->start_mark, "unknown key '%s' in a case; %s%s%s", name,
                           near ? "did you mean '"
                                : "valid: batch_size, seq_len, "
                                  "hidden_size, num_heads, num_kv_heads, or the case as text",
                           near ? near : "", near ? "'?" : "");
        }
        if (value->type != YAML_SCALAR_NODE || !read_int((const char *)value->data.scalar.value, &v[f]) || v[f] < 1 ||
            v[f] > 1 << 24)
            return fail_at(r, value->start_mark, "%s.%s: expected a whole number from 1 to %d", path, name, 1 << 24);
    }
    if (!v[KV_HEADS]) v[KV_HEADS] = v[HEADS];
    if (!v[SEQ] || !v[HIDDEN] || !v[HEADS])
        return fail_at(r, n->start_mark, "%s: seq_len, hidden_size and num_heads are needed", path);
    if (v[HIDDEN] % v[HEADS])
        return fail_at(r, n->start_mark, "%s: hidden_size %lld is not a multiple of num_heads %lld", path, v[HIDDEN],
                       v[HEADS]);
    char text[160];
    snprintf(text, sizeof text, "f32 b%lld h%lld/%lld s%lld d%lld causal", v[BATCH], v[HEADS], v[KV_HEADS], v[SEQ],
             v[HIDDEN] / v[HEADS]);
    char *where = place(r, n->start_mark);
    add(r->config, k, path, text, text, where);
    free(where);
    return ATN_OK;
}

static atn_status read_value(const reader *r, const config_key *k, const char *path, const yaml_node_t *n)
{
    config_clear(r->config, path);
    bool plain = n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    const char *scalar = n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
    if (plain && is_null(scalar)) return ATN_OK; /* null: the default */
    if (k->type == CONFIG_ANY) {
        char *where = place(r, n->start_mark);
        add(r->config, k, path, scalar ? scalar : "...", "", where);
        free(where);
        return ATN_OK;
    }
    if (!is_list(k)) {
        if (!scalar) return fail_at(r, n->start_mark, "%s: expected %s, got %s", path, type_words(k), node_words(n));
        return read_scalar(r, k, path, scalar, plain, n->start_mark);
    }
    if (n->type == YAML_MAPPING_NODE && k->type != CONFIG_CASES)
        return fail_at(r, n->start_mark, "%s: expected a list, got a section", path);
    int count = n->type == YAML_SEQUENCE_NODE ? (int)(n->data.sequence.items.top - n->data.sequence.items.start) : 1;
    if (!count) {
        char *where = place(r, n->start_mark);
        add(r->config, k, path, NULL, NULL, where);
        free(where);
    }
    for (int i = 0; i < count; i++) {
        const yaml_node_t *item =
            n->type == YAML_SEQUENCE_NODE ? yaml_document_get_node(r->document, n->data.sequence.items.start[i]) : n;
        char *name = atn_format("%s[%d]", path, i);
        atn_status st;
        if (item->type == YAML_MAPPING_NODE && k->type == CONFIG_CASES) st = read_case_map(r, k, name, item);
        else if (item->type != YAML_SCALAR_NODE)
            st = fail_at(r, item->start_mark, "%s: expected %s, got %s", name, type_words(k), node_words(item));
        else
            st = read_scalar(r, k, name, (const char *)item->data.scalar.value,
                             item->data.scalar.style == YAML_PLAIN_SCALAR_STYLE, item->start_mark);
        free(name);
        if (st) return st;
    }
    return ATN_OK;
}

/* Names that may stand directly below a section, and whether `path` is one: the table's paths cut at their next dot. */
static int names_below(const char *pattern, const char *names[], int room)
{
    static char kept[ATN_COUNT(config_keys)][64]; /* static: names are handed out; one thread reads a config */
    size_t n = strlen(pattern);
    int count = 0;
    for (int i = 0; i < config_key_count; i++) {
        const char *p = config_keys[i].path;
        if (n && (strncmp(p, pattern, n) != 0 || p[n] != '.')) continue;
        if (n) p += n + 1;
        snprintf(kept[count], sizeof kept[0], "%.*s", (int)strcspn(p, ".["), p);
        bool seen = false;
        for (int j = 0; j < count; j++) seen |= !strcmp(kept[j], kept[count]);
        if (!seen && count < room) names[count] = kept[count], count++;
    }
    return count;
}

static bool is_section(const char *path, bool list)
{
    char pattern[160];
    pattern_of(path, pattern, sizeof pattern - 4);
    strcat(pattern, list ? "[]." : ".");
    for (int i = 0; i < config_key_count; i++)
        if (text_starts(config_keys[i].path, pattern)) return true;
    return false;
}

static atn_status unknown_key(const reader *r, const char *section, const char *name, yaml_mark_t m)
{
    char pattern[160];
    const char *names[ATN_COUNT(config_keys)];
    pattern_of(section, pattern, sizeof pattern);
    int n = names_below(pattern, names, ATN_COUNT(names));
    const char *near = text_nearest(name, names, n);
    char in[200] = "";
    if (*section) snprintf(in, sizeof in, " in '%s'", section);
    if (near) return fail_at(r, m, "unknown key '%s'%s; did you mean '%s'?", name, in, near);
    for (int i = 0; i < config_key_count; i++) { /* right name, wrong section */
        const char *dot = strrchr(config_keys[i].path, '.');
        if (!strcmp(dot ? dot + 1 : config_keys[i].path, name))
            return fail_at(r, m, "unknown key '%s'%s; there is '%s'", name, in, config_keys[i].path);
    }
    return fail_at(r, m, "unknown key '%s'%s; `attune config --keys` lists the valid ones", name, in);
}

static atn_status read_section(const reader *r, const char *section, const yaml_node_t *n, int depth)
{
    if (n->type == YAML_SCALAR_NODE && is_null((const char *)n->data.scalar.value)) return ATN_OK;
    if (n->type != YAML_MAPPING_NODE || depth > 6)
        return fail_at(r, n->start_mark, "%s: expected a section (key: value), got %s", *section ? section : "the file",
                       node_words(n));
    yaml_node_pair_t *first = n->data.mapping.pairs.start;
    for (yaml_node_pair_t *p = first; p < n->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(r->document, p->key),
                          *value = yaml_document_get_node(r->document, p->value);
        if (key->type != YAML_SCALAR_NODE)
            return fail_at(r, key->start_mark, "a key must be a word, not %s", node_words(key));
        const char *name = (const char *)key->data.scalar.value;
        if (strlen(name) > 60 || strpbrk(name, ".[]")) return unknown_key(r, section, name, key->start_mark);
        char *path = *section ? atn_format("%s.%s", section, name) : atn_strdup(name);
        const config_key *k = key_find(path);
        atn_status st = ATN_OK;
        for (yaml_node_pair_t *q = first; q < p; q++) {
            const yaml_node_t *other = yaml_document_get_node(r->document, q->key);
            if (other->type == YAML_SCALAR_NODE && !strcmp((const char *)other->data.scalar.value, name))
                text_addf(&r->config->twice, "%s:%zu: %s is given twice (first in line %zu); the last one counts\n",
                          r->name, key->start_mark.line + 1, path, other->start_mark.line + 1);
        }
        if (k) {
            st = read_value(r, k, path, value);
        } else if (is_section(path, false)) {
            st = read_section(r, path, value, depth + 1);
        } else if (is_section(path, true)) {
            if (value->type != YAML_SEQUENCE_NODE) {
                if (value->type != YAML_SCALAR_NODE || !is_null((const char *)value->data.scalar.value))
                    st = fail_at(r, value->start_mark, "%s: expected a list of sections, got %s", path,
                                 node_words(value));
            } else {
                config_clear(r->config, path);
                int count = (int)(value->data.sequence.items.top - value->data.sequence.items.start);
                for (int i = 0; i < count && !st; i++) {
                    char *item = atn_format("%s[%d]", path, i);
                    st = read_section(r, item, yaml_document_get_node(r->document, value->data.sequence.items.start[i]),
                                      depth + 1);
                    free(item);
                }
            }
        } else {
            st = unknown_key(r, section, name, key->start_mark);
        }
        free(path);
        if (st) return st;
    }
    return ATN_OK;
}

/* Parses r->text as one YAML document; the caller deletes it. */
static atn_status parse(reader *r, yaml_document_t *document)
{
    yaml_parser_t parser;
    ATN_CHECK(yaml_parser_initialize(&parser));
    yaml_parser_set_input_string(&parser, (const unsigned char *)r->text, strlen(r->text));
    atn_status st = ATN_OK;
    if (!yaml_parser_load(&parser, document)) {
        const char *problem = parser.problem ? parser.problem : "not valid YAML";
        if (parser.error == YAML_READER_ERROR)
            st = atn_fail(r->err, ATN_USAGE, "%s: %s at byte %zu", r->name, problem, parser.problem_offset);
        else if (parser.context)
            st = fail_at(r, parser.problem_mark, "%s (%s in line %zu)", problem, parser.context,
                         parser.context_mark.line + 1);
        else st = fail_at(r, parser.problem_mark, "%s", problem);
    } else {
        r->document = document;
    }
    yaml_parser_delete(&parser);
    return st;
}

static void copy_entries(atn_config *to, const atn_config *from)
{
    for (int i = 0; i < from->n; i++) {
        const entry *e = &from->entries[i];
        add(to, e->key, e->path, e->raw, e->text, e->where);
    }
    if (from->twice.n) text_add(&to->twice, from->twice.s);
}

/* Runs `read` on a copy, so that a failure changes nothing. */
static atn_status transact(atn_config *c, reader *r, atn_status (*read)(reader *r, void *ctx), void *ctx)
{
    atn_config *copy = config_create();
    copy_entries(copy, c);
    r->config = copy;
    atn_status st = read(r, ctx);
    if (st == ATN_OK) {
        atn_config old = *c;
        *c = *copy;
        *copy = old;
    }
    config_free(copy);
    return st;
}

static atn_status read_document(reader *r, void *ctx)
{
    (void)ctx;
    yaml_document_t document;
    atn_status st = parse(r, &document);
    if (st) return st;
    yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root) st = read_section(r, "", root, 0);
    yaml_document_delete(&document);
    return st;
}

atn_status config_read(atn_config *c, const char *path, atn_error *err)
{
    char *text;
    atn_status st = file_read_text(path, 4 << 20, &text, err);
    if (st == ATN_NOT_FOUND)
        return atn_fail(err, ATN_NOT_FOUND, "there is no config file '%s'; `attune config --show > %s` writes one", path, path);
    if (st) return st;
    reader r = {.name = path, .text = text, .places = true, .err = err};
    st = transact(c, &r, read_document, NULL);
    free(text);
    return st;
}

static atn_status read_assignment(reader *r, void *ctx)
{
    const char *path = ctx;
    yaml_document_t document;
    atn_status st = parse(r, &document);
    if (st) return st;
    yaml_node_t *root = yaml_document_get_root_node(&document);
    const config_key *k = key_find(path);
    if (!root) config_clear(r->config, path);
    else if (k) st = read_value(r, k, path, root);
    else if (is_section(path, false)) st = read_section(r, path, root, 1);
    else {
        const char *dot = strrchr(path, '.');
        char *section = atn_strndup(path, dot ? (size_t)(dot - path) : 0);
        st = unknown_key(r, section, dot ? dot + 1 : path, root->start_mark);
        free(section);
    }
    yaml_document_delete(&document);
    return st;
}

/* Whole numbers below 1000 as one writes them: "[007]" would be a second name of "[7]", and "[2147483647]" a list of
 * two billion. */
static bool indices_plain(const char *path)
{
    for (const char *p = path; (p = strchr(p, '[')); p++) {
        size_t digits = strspn(p + 1, "0123456789");
        if (digits < 1 || digits > 3 || p[1 + digits] != ']' || (digits > 1 && p[1] == '0')) return false;
    }
    return true;
}

atn_status config_set(atn_config *c, const char *assignment, atn_error *err)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return atn_fail(err, ATN_USAGE, "--set: expected key=value (judge.tolerance=2), got '%s'", assignment);
    char *path = atn_strndup(assignment, (size_t)(equals - assignment)), *name = atn_format("--set %s", path);
    reader r = {.name = name, .text = equals + 1, .err = err};
    atn_status st = strlen(path) > 120 ? atn_fail(err, ATN_USAGE, "--set: unknown key '%.40s...'", path)
                    : !indices_plain(path)
                        ? atn_fail(err, ATN_USAGE, "--set: the index in '%s' is to be a number from 0 to 999", path)
                        : transact(c, &r, read_assignment, path);
    free(name);
    free(path);
    return st;
}

atn_status config_put(atn_config *c, const char *path, const char *value, const char *origin, atn_error *err)
{
    const config_key *k = key_find(path);
    ATN_CHECK(k && k->type != CONFIG_ANY);
    reader r = {.config = c, .name = origin, .text = "", .err = err};
    if (!is_list(k)) {
        config_clear(c, path);
        return read_scalar(&r, k, path, value, true, (yaml_mark_t){0});
    }
    int n = 0;
    for (int i = 0; i < c->n; i++) n += covers(path, c->entries[i].path) && c->entries[i].raw;
    char *item = atn_format("%s[%d]", path, n);
    atn_status st = read_scalar(&r, k, item, value, true, (yaml_mark_t){0});
    free(item);
    return st;
}

/* --- asking -------------------------------------------------------------------------------------------------------- */

static const char *value_of(const atn_config *c, const char *path)
{
    const config_key *k = key_find(path);
    ATN_CHECK(k);
    const entry *e = entry_find(c, path);
    return e && e->text ? e->text : k->otherwise;
}

bool config_has(const atn_config *c, const char *path)
{
    ATN_CHECK(key_find(path) || is_section(path, true) || is_section(path, false));
    for (int i = 0; i < c->n; i++)
        if (c->entries[i].text && (covers(path, c->entries[i].path) ||
                                   (text_starts(c->entries[i].path, path) && c->entries[i].path[strlen(path)] == '.')))
            return true;
    return false;
}

long long config_int(const atn_config *c, const char *path)
{
    const char *s = value_of(c, path);
    long long v = 0;
    if (s) ATN_CHECK(read_int(s, &v));
    return v;
}

double config_real(const atn_config *c, const char *path)
{
    const char *s = value_of(c, path);
    double v = 0;
    if (s) ATN_CHECK(read_real(s, &v));
    return v;
}

bool config_bool(const atn_config *c, const char *path)
{
    const char *s = value_of(c, path);
    bool v = false;
    if (s) ATN_CHECK(read_bool(s, &v));
    return v;
}

const char *config_text(const atn_config *c, const char *path)
{
    return value_of(c, path);
}

int config_count(const atn_config *c, const char *path)
{
    const config_key *k = key_find(path);
    ATN_CHECK(k || is_section(path, true));
    size_t n = strlen(path);
    int count = 0;
    bool given = false;
    for (int i = 0; i < c->n; i++) {
        const char *p = c->entries[i].path;
        if (!covers(path, p)) continue;
        given = true;
        if (p[n] == '[' && atoi(p + n + 1) >= count) count = atoi(p + n + 1) + 1;
    }
    return given || !k || !k->otherwise ? count : 1;
}

const char *config_item(const atn_config *c, const char *path, int i)
{
    const config_key *k = key_find(path);
    ATN_CHECK(k && is_list(k) && i >= 0 && i < config_count(c, path));
    char item[200];
    snprintf(item, sizeof item, "%s[%d]", path, i);
    const entry *e = entry_find(c, item);
    return e && e->text ? e->text : k->otherwise;
}

const char *config_where(const atn_config *c, const char *path, int i)
{
    char item[200];
    if (i >= 0) snprintf(item, sizeof item, "%s[%d]", path, i);
    const entry *e = entry_find(c, i >= 0 ? item : path);
    return e ? e->where : "default";
}

/* --- meaning ------------------------------------------------------------------------------------------------------ */

/* What the judge can hold; more cases than that make a race longer than its use. */
static atn_status check_count(const atn_suite *s, const char *where, atn_error *err)
{
    if (s->count <= CASES_MAX) return ATN_OK;
    return atn_fail(err, ATN_USAGE, "%s: that makes %d cases, and %d is the most; choose fewer suites or cases", where,
                    s->count, CASES_MAX);
}

atn_status config_suite(const atn_config *c, atn_suite *out, char **name, atn_error *err)
{
    static const char *const standard[] = {"seed", "readme"};
    int suites = config_count(c, "judge.suites"), cases = config_count(c, "judge.cases");
    bool plain = !suites && !cases;
    atn_text words = {0};
    atn_status st = ATN_OK;
    *out = (atn_suite){0};
    if (plain) suites = ATN_COUNT(standard);
    for (int i = 0; i < suites && !st; i++) {
        const char *s = plain ? standard[i] : config_item(c, "judge.suites", i);
        const char *where = plain ? "default" : config_where(c, "judge.suites", i);
        bool again = false;
        for (int j = 0; j < i && !plain; j++) again |= !strcmp(config_item(c, "judge.suites", j), s);
        if (again) continue;
        st = suite_add(out, s, err);
        if (st) {
            if (err) err->code = ATN_USAGE;
            atn_error_prefix(err, "%s", where);
            st = ATN_USAGE;
        }
        if (!st) st = check_count(out, where, err);
        text_addf(&words, "%s%s", words.n ? "+" : "", s);
    }
    for (int i = 0; i < cases && !st; i++) {
        const char *where = config_where(c, "judge.cases", i);
        st = suite_add_case(out, config_item(c, "judge.cases", i), err);
        if (st) {
            if (err) err->code = ATN_USAGE;
            atn_error_prefix(err, "%s", where);
            st = ATN_USAGE;
        }
        if (!st) st = check_count(out, where, err);
    }
    if (cases) text_addf(&words, "%s%d case%s", words.n ? "+" : "", cases, cases == 1 ? "" : "s");
    if (st) {
        suite_free(out);
        *out = (atn_suite){0};
    }
    if (!st && name) *name = text_take(&words);
    text_free(&words);
    return st;
}

atn_status config_check(const atn_config *c, atn_error *err)
{
    for (int i = 0; i < config_count(c, "proposers"); i++) {
        const char *p = config_item(c, "proposers", i);
        if (!is_choice(CONFIG_PROPOSERS, p))
            return atn_fail(err, ATN_USAGE, "%s: there is no proposer '%s'; valid: %s", config_where(c, "proposers", i),
                            p, CONFIG_PROPOSERS);
    }
    if (!config_count(c, "proposers"))
        return atn_fail(err, ATN_USAGE, "%s: proposers is empty; valid: %s", config_where(c, "proposers", -1),
                        CONFIG_PROPOSERS);
    atn_suite suite;
    atn_status st = config_suite(c, &suite, NULL, err);
    if (!st) suite_free(&suite);
    return st;
}

/* --- telling ------------------------------------------------------------------------------------------------------- */

static void add_words(atn_text *t, const char *word, int n)
{
    text_addf(t, "%s%s", n ? ", " : "", word);
}

void config_notes(const atn_config *c, bool with_llm, atn_text *out)
{
    atn_text inert = {0}, waiting = {0}, unset = {0};
    int n_inert = 0, n_waiting = 0, n_unset = 0;
    for (int i = 0; i < c->n; i++) {
        const entry *e = &c->entries[i];
        bool again = false; /* items of one list, or the same key of several models, are said once */
        for (int j = 0; j < i; j++) again |= c->entries[j].key == e->key;
        if (e->key->effect == CONFIG_INERT && !again) {
            add_words(&inert, e->key->path, n_inert++);
            text_addf(&inert, " (%s)", e->key->help);
        }
        if (e->key->effect == CONFIG_LLM) {
            if (with_llm && !e->text) add_words(&unset, e->path, n_unset++);
            n_waiting += !again;
        }
    }
    if (c->twice.n) text_add(out, c->twice.s);
    if (n_inert) text_addf(out, "no effect here: %s\n", inert.s);
    if (n_waiting && !with_llm)
        text_addf(out, "%d settings of llm and prompt wait until the llm proposer is asked for\n", n_waiting);
    if (n_unset) text_addf(out, "not set, because their environment variable is not: %s\n", unset.s);
    text_free(&inert);
    text_free(&waiting);
    text_free(&unset);
}

static bool is_secret(const char *path)
{
    return strstr(path, "api_key") || !strcmp(path, "llm.proxy"); /* a proxy may carry a password */
}

static const char *shown(const entry *e)
{
    if (!e->raw) return "[]";
    if (is_secret(e->path) && !text_starts(e->raw, "${")) return "(hidden)";
    return e->raw;
}

/* Plain where YAML reads it back the same, else double-quoted, which is JSON's way too. */
static void add_scalar(atn_text *t, const char *s)
{
    bool plain = *s && !strchr(" -?:,[]{}#&*!|>'\"%@`", s[0]) && !strpbrk(s, ":#\n\t\"'{}[],&*") &&
                 s[strlen(s) - 1] != ' ' && !is_null(s);
    if (plain) {
        text_add(t, s);
        return;
    }
    json_t *j = json_string(s);
    char *quoted = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
    text_add(t, quoted ? quoted : "\"\"");
    free(quoted);
    json_decref(j);
}

static void show_line(atn_text *out, int indent, const char *name, const char *value, const char *where)
{
    size_t start = out->n;
    text_addf(out, "%*s%s: %s", indent, "", name, value);
    int pad = 44 - (int)(out->n - start);
    text_addf(out, "%*s # %s\n", pad > 0 ? pad : 1, "", where);
}

void config_show(const atn_config *c, atn_text *out)
{
    char section[160] = "";
    for (int i = 0; i < config_key_count; i++) {
        const config_key *k = &config_keys[i];
        if (strstr(k->path, "[].")) continue; /* models: below */
        bool given =
            config_count(c, k->path) > 0 && strcmp(config_where(c, k->path, is_list(k) ? 0 : -1), "default") != 0;
        if (!is_list(k)) given = entry_find(c, k->path) != NULL;
        if (!given && (!k->otherwise || k->effect == CONFIG_INERT)) continue;
        const char *dot = strrchr(k->path, '.');
        char now[160];
        snprintf(now, sizeof now, "%.*s", dot ? (int)(dot - k->path) : 0, k->path);
        if (strcmp(now, section) != 0) text_addf(out, "%s:\n", strcpy(section, now));
        atn_text value = {0};
        if (!is_list(k)) {
            const entry *e = entry_find(c, k->path);
            if (k->type == CONFIG_ANY) text_add(&value, "{}");
            else add_scalar(&value, e ? shown(e) : k->otherwise);
        } else {
            text_add(&value, "[");
            for (int j = 0; j < config_count(c, k->path); j++) {
                if (j) text_add(&value, ", ");
                add_scalar(&value, config_item(c, k->path, j));
            }
            text_add(&value, "]");
        }
        char where[300];
        snprintf(where, sizeof where, "%s%s", config_where(c, k->path, is_list(k) ? 0 : -1),
                 k->effect == CONFIG_INERT ? "; no effect here"
                 : k->effect == CONFIG_LLM ? "; with the llm proposer"
                                           : "");
        show_line(out, dot ? 2 : 0, dot ? dot + 1 : k->path, value.s, where);
        text_free(&value);
    }
    for (int list = 0; list < 2; list++) {
        const char *name = list ? "llm.evaluator_models" : "llm.models";
        for (int m = 0; m < config_count(c, name); m++) {
            text_addf(out, "# %s[%d]\n", name, m);
            for (int i = 0; i < c->n; i++) {
                const entry *e = &c->entries[i];
                char head[80];
                snprintf(head, sizeof head, "%s[%d].", name, m);
                if (text_starts(e->path, head))
                    text_addf(out, "#   %s: %s  # %s\n", e->path + strlen(head), shown(e), e->where);
            }
        }
    }
}

char *config_json(const atn_config *c)
{
    json_t *o = json_object();
    for (int i = 0; i < c->n; i++) json_object_set_new(o, c->entries[i].path, json_string(shown(&c->entries[i])));
    char *s = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return s;
}
