/* Every key that a config may hold, one table: type, range, default, whether it acts here, and words for people. The
 * parser, `attune config --keys` and the notes on keys without effect all read it. */
#include "evolve/config_parts.h"

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
    {"parallel_evaluations", CONFIG_ANY, NO, NULL, CONFIG_INERT,
     "OpenEvolve does not read it here either; it is evaluator.parallel_evaluations"},
    {"max_program_length", CONFIG_ANY, NO, NULL, CONFIG_INERT,
     "OpenEvolve does not read it either; it is max_code_length"},
    {"evolution", CONFIG_ANY, NO, NULL, CONFIG_INERT, "OpenEvolve does not read it either"},
    {"novelty", CONFIG_ANY, NO, NULL, CONFIG_INERT, "OpenEvolve does not read it either"},
    {"algotune", CONFIG_ANY, NO, NULL, CONFIG_INERT, "of another judge"},
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
    {"llm.timeout", CONFIG_REAL, RANGE(0.1, 1e6), "60", CONFIG_LLM,
     "seconds for an answer; all its tries together get that times retries + 1"},
    {"llm.retries", CONFIG_INT, RANGE(0, 1000), "3", CONFIG_LLM, "tries after a failure"},
    {"llm.retry_delay", CONFIG_REAL, RANGE(0, 1e5), "5", CONFIG_LLM, "seconds between tries"},
    {"llm.random_seed", CONFIG_INT, RANGE(0, 9e15), NULL, CONFIG_LLM, "seed sent with requests"},
    {"llm.reasoning_effort", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "sent where given"},
    {"llm.system_message", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "system prompt"},
    {"llm.max_budget_usd", CONFIG_REAL, RANGE(0, 1e9), NULL, CONFIG_LLM,
     "never spend more US dollars than that; needs prices"},
    {"llm.max_budget_tokens", CONFIG_INT, RANGE(0, 9e15), NULL, CONFIG_LLM,
     "never use more tokens than that, of prompts and answers together"},
    {"llm.provider", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "openai: the only one"},
    {"llm.name", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "model where no list is given"},
    {"llm.model", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "the same, as many write it"},
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
#define ITSELF(help) help
#define NO_JUDGE(help) "no model judges; opinions come from llm.models"
#define MODEL(list, effect, why)                                                                                       \
    {list ".name", CONFIG_TEXT, NO, NULL, effect, why("model")},                                                       \
        {list ".weight", CONFIG_REAL, RANGE(0, 1e6), "1", effect, why("its share")},                                   \
        {list ".api_base", CONFIG_TEXT, NO, NULL, effect, why("its endpoint; else that of llm")},                      \
        {list ".api_key", CONFIG_TEXT, NO, NULL, effect, why("its key; else that of llm")},                            \
        {list ".temperature", CONFIG_REAL, RANGE(0, 2), NULL, effect, why("else that of llm")},                        \
        {list ".top_p", CONFIG_REAL, UNIT, NULL, effect, why("else that of llm")},                                     \
        {list ".max_tokens", CONFIG_INT, RANGE(1, 1e8), NULL, effect, why("else that of llm")},                        \
        {list ".timeout", CONFIG_REAL, RANGE(0.1, 1e6), NULL, effect, why("else that of llm")},                        \
        {list ".retries", CONFIG_INT, RANGE(0, 1000), NULL, effect, why("else that of llm")},                          \
        {list ".retry_delay", CONFIG_REAL, RANGE(0, 1e5), NULL, effect, why("else that of llm")},                      \
        {list ".random_seed", CONFIG_INT, RANGE(0, 9e15), NULL, effect, why("else that of llm")},                      \
        {list ".reasoning_effort", CONFIG_TEXT, NO, NULL, effect, why("else that of llm")},                            \
        {list ".system_message", CONFIG_TEXT, NO, NULL, effect, why("else that of llm")},                              \
        {list ".provider", CONFIG_TEXT, NO, NULL, effect, why("openai: the only one")},                                \
        {list ".max_budget_usd", CONFIG_REAL, RANGE(0, 1e9), NULL, effect, why("never spend more on it than that")},   \
        {list ".price_in", CONFIG_REAL, RANGE(0, 1e6), NULL, effect, why("else that of llm")},                         \
        {list ".price_out", CONFIG_REAL, RANGE(0, 1e6), NULL, effect, why("else that of llm")},                        \
        {list ".requests_per_minute", CONFIG_REAL, RANGE(0, 1e9), NULL, effect, why("else that of llm")},              \
        {list ".tokens_per_minute", CONFIG_REAL, RANGE(0, 1e12), NULL, effect, why("else that of llm")},               \
        {list ".manual_mode", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "see llm.manual_mode"},                             \
        {list ".max_ai_credits", CONFIG_REAL, RANGE(0, 1e9), NULL, CONFIG_INERT, "only of another provider"},          \
        {list ".allow_all_tools", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "models get no tools"},                         \
    {                                                                                                                  \
        list ".init_client", CONFIG_ANY, NO, NULL, CONFIG_INERT, "there is one client"                                 \
    }
    MODEL("llm.models[]", CONFIG_LLM, ITSELF),
    MODEL("llm.evaluator_models[]", CONFIG_INERT, NO_JUDGE),

    {"prompt.system_message", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "system prompt"},
    {"prompt.template_dir", CONFIG_TEXT, NO, NULL, CONFIG_LLM, "folder of prompt templates"},
    {"prompt.num_top_programs", CONFIG_INT, RANGE(0, 100), "3", CONFIG_LLM, "best programs shown"},
    {"prompt.num_diverse_programs", CONFIG_INT, RANGE(0, 100), "2", CONFIG_LLM, "other programs shown"},
    {"prompt.use_template_stochasticity", CONFIG_BOOL, NO, NULL, CONFIG_INERT, "the wording is that of the templates"},
    {"prompt.include_artifacts", CONFIG_BOOL, NO, "true", CONFIG_LLM, "show the judge's evidence"},
    {"prompt.max_chars", CONFIG_INT, RANGE(0, 1e9), "0", CONFIG_LLM,
     "beyond that, texts of other programs are left out, then the vector header; 0: no limit"},
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
_Static_assert(ATN_COUNT(config_keys) <= CONFIG_KEYS_MAX, "room for every key");
