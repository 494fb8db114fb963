/* llm: language models behind OpenAI-compatible endpoints: a weighted ensemble, a bandit over it, a hard budget.
 *
 * Asking and waiting happen on the client's thread; here only questions are made and answers taken. Money is set aside
 * before a request is sent, for the longest answer it allows, so that the budget cannot be passed. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "evolve/config.h"
#include "evolve/propose/mind.h"

#ifndef ATN_HAVE_CURL

atn_proposer *proposer_llm_create(const struct atn_config *c, atn_error *err)
{
    (void)c;
    atn_fail(err, ATN_UNSUPPORTED,
             "this attune was built without libcurl, which the llm proposer needs; install libcurl's "
             "development files and build again");
    return NULL;
}

#else

#include "evolve/propose/client.h"

typedef struct {
    char *name, *url, *key;
    const char *system; /* of the config; NULL: as for all */
    double weight, temperature, top_p, timeout, price_in, price_out, retry_delay;
    long long max_tokens, seed;
    int retries;
    unsigned without;            /* settings that its server refuses, as bits of `droppable` */
    mind_spend budget, reserved; /* budget 0: none of its own */
    char *effort;
    bool has_seed, has_top_p;
    client_lane lane;
} model;

typedef struct {
    mind_question *q;
    mind_spend reserved;
} flight;

typedef struct {
    atn_proposer base;
    mind *m;
    client *net;
    model models[MIND_MODELS];
    flight *flights[256];
    int n, parallel, flying, failures;
    double first_token, stall;
    double prompt_tokens; /* of the last question, as an estimate for the next */
    mind_spend budget, reserved;
    char *proxy, *version;
    char complained[300];
    bool broke;
} llm;

static const int FAILURES_MAX = 12; /* in a row, retries apart, before it gives up */

/* ---- settings ---- */

/* "llm.models[i].what" where given, else "llm.what". */
static const char *setting(const atn_config *c, int i, const char *what, char out[96])
{
    snprintf(out, 96, "llm.models[%d].%s", i, what);
    if (i >= 0 && config_has(c, out)) return out;
    snprintf(out, 96, "llm.%s", what);
    return out;
}

static char *read_key(const atn_config *c, int i, const char *base, atn_error *err)
{
    char p[96];
    const char *key = config_text(c, setting(c, i, "api_key", p)), *file = config_text(c, "llm.api_key_file");
    if (key && *key) return atn_strdup(key);
    if (file) {
        char *text = NULL;
        if (file_read(file, 16 << 10, &text, NULL, err)) return NULL;
        text[strcspn(text, "\r\n")] = 0;
        return text;
    }
    bool google = strstr(base, "googleapis.com") != NULL;
    const char *names[] = {google ? "GEMINI_API_KEY" : "OPENAI_API_KEY", google ? "GOOGLE_API_KEY" : "OPENAI_API_KEY",
                           "OPENAI_API_KEY"};
    for (int k = 0; k < ATN_COUNT(names); k++)
        if (getenv(names[k]) && *getenv(names[k])) return atn_strdup(getenv(names[k]));
    return atn_strdup(""); /* local servers want none */
}

static atn_status add_model(llm *l, const atn_config *c, int i, const char *name, double weight, atn_error *err)
{
    char p[96];
    if (l->n == MIND_MODELS)
        return atn_fail(err, ATN_USAGE, "%s: at most %d models", config_where(c, "llm.models", i), MIND_MODELS);
    model *m = &l->models[l->n++];
    const char *base = config_text(c, setting(c, i, "api_base", p));
    if (!base) base = getenv("OPENAI_API_BASE");
    if (!base) base = "https://api.openai.com/v1";
    m->name = atn_strdup(name);
    m->weight = weight;
    size_t n = strlen(base);
    while (n && base[n - 1] == '/') n--;
    bool whole =
        n > 17 && !strncmp(base + n - 17, "/chat/completions", 17); /* the address as it stands in other manuals */
    m->url = atn_format("%.*s%s", (int)n, base, whole ? "" : "/chat/completions");
    if (!text_starts(base, "http://") && !text_starts(base, "https://"))
        return atn_fail(err, ATN_USAGE, "%s: '%s' is no http address", config_where(c, p, -1), base);
    if (!(m->key = read_key(c, i, base, err))) return ATN_NOT_FOUND;
    if (strpbrk(m->key, "\r\n")) return atn_fail(err, ATN_USAGE, "the key of model '%s' has a line break in it", name);
    m->temperature = config_real(c, setting(c, i, "temperature", p));
    m->has_top_p = config_has(c, setting(c, i, "top_p", p));
    m->top_p = config_real(c, p);
    m->max_tokens = config_int(c, setting(c, i, "max_tokens", p));
    m->timeout = config_real(c, setting(c, i, "timeout", p));
    m->retries = (int)config_int(c, setting(c, i, "retries", p));
    m->retry_delay = config_real(c, setting(c, i, "retry_delay", p));
    m->has_seed = config_has(c, setting(c, i, "random_seed", p));
    m->seed = config_int(c, p);
    m->price_in = config_real(c, setting(c, i, "price_in", p));
    m->price_out = config_real(c, setting(c, i, "price_out", p));
    m->lane.requests_per_minute = config_real(c, setting(c, i, "requests_per_minute", p));
    m->lane.tokens_per_minute = config_real(c, setting(c, i, "tokens_per_minute", p));
    const char *effort = config_text(c, setting(c, i, "reasoning_effort", p));
    m->effort = effort ? atn_strdup(effort) : NULL;
    const char *provider = config_text(c, setting(c, i, "provider", p));
    if (provider && strcmp(provider, "openai") != 0)
        return atn_fail(
            err, ATN_USAGE,
            "%s: there is no provider '%s' here, only 'openai': any OpenAI-compatible address in api_base; a "
            "program that answers on its own is asked by the exec proposer (exec.command)",
            config_where(c, p, -1), provider);
    if (i < 0) return ATN_OK;
    snprintf(p, sizeof p, "llm.models[%d].system_message", i);
    m->system = config_text(c, p);
    snprintf(p, sizeof p, "llm.models[%d].max_budget_usd", i);
    m->budget.usd = config_real(c, p);
    return ATN_OK;
}

static atn_status read_models(llm *l, const atn_config *c, atn_error *err)
{
    atn_status st = ATN_OK;
    char p[96];
    for (int i = 0; i < config_count(c, "llm.models") && !st; i++) {
        snprintf(p, sizeof p, "llm.models[%d].name", i);
        const char *name = config_text(c, p);
        snprintf(p, sizeof p, "llm.models[%d].weight", i);
        double weight =
            config_has(c, p) || !config_has(c, "llm.weight") ? config_real(c, p) : config_real(c, "llm.weight");
        if (!name) st = atn_fail(err, ATN_USAGE, "llm.models[%d] has no name", i);
        else st = add_model(l, c, i, name, weight, err);
    }
    static const char *const legacy[] = {"primary_model", "secondary_model"};
    for (int i = 0; i < 2 && !st && !config_count(c, "llm.models"); i++) {
        snprintf(p, sizeof p, "llm.%s", legacy[i]);
        const char *name = config_text(c, p);
        snprintf(p, sizeof p, "llm.%s_weight", legacy[i]);
        if (name) st = add_model(l, c, -1, name, config_real(c, p), err);
    }
    static const char *const alone[] = {"llm.name", "llm.model"};
    for (int i = 0; i < 2 && !st && !l->n; i++)
        if (config_text(c, alone[i])) st = add_model(l, c, -1, config_text(c, alone[i]), 1, err);
    if (!st && !l->n)
        st =
            atn_fail(err, ATN_USAGE,
                     "the llm proposer needs a model: --set llm.name=NAME --set llm.api_base=URL, or llm.models in the "
                     "config file");
    return st;
}

/* ---- what a request says ---- */

static bool reasons(const char *name)
{
    static const char *const prefixes[] = {"o1", "o3", "o4", "gpt-5", "gpt-oss"};
    const char *slash = strrchr(name, '/');
    for (int i = 0; i < ATN_COUNT(prefixes); i++)
        if (text_starts(slash ? slash + 1 : name, prefixes[i])) return true;
    return false;
}

/* Text that is not UTF-8 (a candidate may hold any bytes) goes as '?'. */
static json_t *json_text(const char *s)
{
    json_t *j = json_string(s);
    if (j) return j;
    char *plain = atn_strdup(s);
    for (char *p = plain; *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
    j = json_string(plain);
    free(plain);
    return j;
}

/* Settings that servers differ on. One that refuses a request over a word of it is asked again without. */
typedef struct {
    const char *word, *instead;
} option;
static const option droppable[] = {{"stream_options", "estimating tokens"},
                                   {"max_completion_tokens", "saying max_tokens"},
                                   {"max_tokens", "saying max_completion_tokens"},
                                   {"temperature", "leaving it out"},
                                   {"top_p", "leaving it out"},
                                   {"seed", "leaving it out"},
                                   {"reasoning_effort", "leaving it out"}};
enum { STREAM_OPTIONS, MAX_COMPLETION_TOKENS, MAX_TOKENS, TEMPERATURE, TOP_P, SEED, REASONING_EFFORT };

static bool takes(const model *m, int what)
{
    return !(m->without & 1u << what);
}

static char *body_of(const model *m, const mind_question *q)
{
    json_t *o =
        json_pack("{s:s, s:[{s:s, s:o}, {s:s, s:o}], s:b}", "model", m->name, "messages", "role", "system", "content",
                  json_text(q->system), "role", "user", "content", json_text(q->prompt), "stream", 1);
    bool thinks = reasons(m->name);
    bool completion = takes(m, thinks ? MAX_COMPLETION_TOKENS : MAX_TOKENS) ? thinks : !thinks;
    if (takes(m, STREAM_OPTIONS)) json_object_set_new(o, "stream_options", json_pack("{s:b}", "include_usage", 1));
    json_object_set_new(o, completion ? "max_completion_tokens" : "max_tokens", json_integer(m->max_tokens));
    if (!thinks && takes(m, TEMPERATURE)) json_object_set_new(o, "temperature", json_real(m->temperature));
    if (!thinks && m->has_top_p && takes(m, TOP_P)) json_object_set_new(o, "top_p", json_real(m->top_p));
    if (m->has_seed && takes(m, SEED) && !strstr(m->url, "googleapis.com"))
        json_object_set_new(o, "seed", json_integer(m->seed + q->number));
    if (m->effort && takes(m, REASONING_EFFORT)) json_object_set_new(o, "reasoning_effort", json_string(m->effort));
    char *s = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    ATN_CHECK(s);
    return s;
}

/* ---- money ---- */

/* What a try can cost at most. A token of code is three bytes or more. */
static mind_spend dearest(const model *m, double prompt_tokens)
{
    return (mind_spend){(prompt_tokens * m->price_in + (double)m->max_tokens * m->price_out) * 1e-6,
                        (int64_t)prompt_tokens + m->max_tokens};
}

static mind_spend times(mind_spend x, int n)
{
    return (mind_spend){x.usd * n, x.tokens * n};
}

static bool within(const mind_spend *budget, mind_spend spent, const mind_spend *reserved, mind_spend next)
{
    return (!(budget->usd > 0) || spent.usd + reserved->usd + next.usd <= budget->usd) &&
           (budget->tokens <= 0 || spent.tokens + reserved->tokens + next.tokens <= budget->tokens);
}

/* Whether a question of so many tokens may be asked: all its tries together are set aside. */
static bool affordable(const llm *l, int i, double prompt_tokens)
{
    const model *m = &l->models[i];
    mind_spend next = times(dearest(m, prompt_tokens), 1 + m->retries);
    return within(&l->budget, mind_spent(l->m, -1), &l->reserved, next) &&
           within(&m->budget, mind_spent(l->m, i), &m->reserved, next);
}

static void reserve(llm *l, model *m, mind_spend x, int sign)
{
    mind_spend *const of[] = {&l->reserved, &m->reserved};
    for (int i = 0; i < 2; i++) of[i]->usd += sign * x.usd, of[i]->tokens += sign * x.tokens;
}

static void say_broke(llm *l)
{
    char text[300];
    mind_spend spent = mind_spent(l->m, -1), next = dearest(&l->models[0], l->prompt_tokens);
    if (l->broke) return;
    l->broke = true;
    next = times(next, 1 + l->models[0].retries);
    if (l->budget.tokens > 0 && spent.tokens + next.tokens > l->budget.tokens)
        snprintf(text, sizeof text,
                 "llm: the budget is spent: %lld of %lld tokens, and one more question may take %lld with its retries "
                 "(llm.max_budget_tokens)",
                 (long long)spent.tokens, (long long)l->budget.tokens, (long long)next.tokens);
    else
        snprintf(text, sizeof text,
                 "llm: the budget is spent: $%.4f so far, and one more question may cost $%.4f with its retries "
                 "(llm.max_budget_usd)",
                 spent.usd, next.usd);
    mind_host(l->m)->warn(mind_host(l->m)->ctx, text);
}

/* ---- requests ---- */

static void post(llm *l, flight *f)
{
    const model *m = &l->models[f->q->model];
    char *body = body_of(m, f->q);
    client_send(l->net, &(client_request){.url = m->url,
                                          .key = m->key,
                                          .body = body,
                                          .proxy = l->proxy,
                                          .http_version = l->version,
                                          .lane = f->q->model,
                                          .tokens = (int64_t)l->prompt_tokens + m->max_tokens,
                                          .first_token_s = l->first_token,
                                          .stall_s = l->stall,
                                          .total_s = m->timeout * (1 + m->retries),
                                          .retries = m->retries,
                                          .retry_delay_s = m->retry_delay,
                                          .tag = f});
    free(body);
}

static void send(llm *l, mind_question *q)
{
    model *m = &l->models[q->model];
    mind_spend most = dearest(m, l->prompt_tokens);
    flight *f = atn_alloc(sizeof *f);
    *f = (flight){.q = q, .reserved = times(most, 1 + m->retries)};
    reserve(l, m, f->reserved, 1);
    l->flights[l->flying++] = f;
    mind_sent(l->m, q, &most);
    post(l, f);
}

static void complain(llm *l, const char *model, const char *why)
{
    char text[400];
    snprintf(text, sizeof text, "llm: %s: %s", model, why);
    if (!strncmp(text, l->complained, sizeof l->complained - 1)) return; /* once for a row of the same */
    snprintf(l->complained, sizeof l->complained, "%.299s", text);
    mind_host(l->m)->warn(mind_host(l->m)->ctx, text);
}

/* A server that refuses a word of the request: true, and the next request has it no more. */
static bool gives_in(llm *l, int i, const client_result *r)
{
    model *m = &l->models[i];
    if (r->status != 400 && r->status != 422) return false;
    for (int k = 0; k < ATN_COUNT(droppable); k++) {
        bool thinks = reasons(m->name), sent = k != (thinks ? MAX_TOKENS : MAX_COMPLETION_TOKENS);
        if (!sent || !takes(m, k) || !strcasestr(r->error, droppable[k].word)) continue;
        char text[200];
        m->without |= 1u << k;
        snprintf(text, sizeof text, "its server does not take %s; %s", droppable[k].word, droppable[k].instead);
        complain(l, m->name, text);
        return true;
    }
    return false;
}

static void llm_service(atn_proposer *p)
{
    llm *l = (llm *)p;
    client_result r;
    while (client_next(l->net, &r)) {
        flight *f = r.tag;
        model *m = &l->models[r.lane];
        if (!r.ok && gives_in(l, r.lane, &r)) {
            post(l, f);
            client_result_clear(&r);
            continue;
        }
        double usd = ((double)r.tokens_in * m->price_in + (double)r.tokens_out * m->price_out) * 1e-6;
        mind_answer a = {.text = r.text,
                         .model = m->name,
                         .tokens_in = r.tokens_in,
                         .tokens_out = r.tokens_out,
                         .usd = usd,
                         .seconds = r.seconds,
                         .tries = r.tries};
        if (r.ok) {
            if (f->q->op == MIND_REVIEW) mind_reviewed(l->m, f->q, &a);
            else mind_take(l->m, f->q, &a, false, NULL, 0);
            l->failures = 0;
        } else {
            mind_lost(l->m, f->q, &a, r.error);
            complain(l, m->name, r.error);
            l->failures++;
        }
        reserve(l, m, f->reserved, -1);
        for (int i = 0; i < l->flying; i++)
            if (l->flights[i] == f) l->flights[i] = l->flights[--l->flying];
        mind_question_free(f->q);
        free(f);
        client_result_clear(&r);
    }
}

static propose_answer llm_propose(atn_proposer *p, const atn_propose_context *c, atn_rng *rng, atn_proposal *out)
{
    llm *l = (llm *)p;
    llm_service(p);
    if (mind_next(l->m, out)) return PROPOSE_OK;
    bool able[MIND_MODELS], any = false, paused = false;
    for (int i = 0; i < l->n; i++) {
        bool open = client_lane_open(l->net, i);
        able[i] = open && affordable(l, i, l->prompt_tokens);
        any |= able[i];
        paused |= !open;
    }
    if (!any && !paused && !l->flying) say_broke(l);
    mind_patience patience = mind_tired(l->m, c, l->flying > 0);
    if (patience == MIND_STOP) return PROPOSE_EXHAUSTED;
    any = any && patience == MIND_GO_ON;
    if (!l->flying && l->failures >= FAILURES_MAX) return PROPOSE_EXHAUSTED;
    int most = c->iterations_left >= 0 ? ATN_MIN(l->parallel, c->iterations_left) : l->parallel;
    while (any && l->flying < most && l->failures < FAILURES_MAX) {
        mind_question *q = mind_repair(l->m);
        if (!q) q = mind_review(l->m);
        bool can = !q || (q->model >= 0 && q->model < l->n && able[q->model]);
        for (int i = 0; !can && i < l->n; i++) /* paused or too dear, or of a session before: another may put it right */
            if (able[i]) q->model = i, can = true;
        if (!q) q = mind_ask(l->m, c, rng, able);
        if (!q) break;
        l->prompt_tokens = (double)(strlen(q->prompt) + strlen(q->system)) / 3;
        if (!affordable(l, q->model, l->prompt_tokens)) {
            mind_question_free(q);
            break;
        }
        send(l, q);
        any = false; /* what was set aside may leave no room for another */
        for (int i = 0; i < l->n; i++) any |= able[i] = able[i] && affordable(l, i, l->prompt_tokens);
    }
    return l->flying || paused || any ? PROPOSE_LATER : PROPOSE_EXHAUSTED;
}

static void llm_learn(atn_proposer *p, const atn_program_view *v)
{
    mind_learn(((llm *)p)->m, v);
}
static void llm_attach(atn_proposer *p, const propose_host *h)
{
    mind_attach(((llm *)p)->m, h);
}
static int llm_fd(atn_proposer *p)
{
    return client_fd(((llm *)p)->net);
}

static char *llm_tell(const atn_proposer *p)
{
    return mind_tell(((const llm *)p)->m);
}

static void llm_destroy(atn_proposer *p)
{
    llm *l = (llm *)p;
    client_close(l->net); /* flights that it still had are dropped */
    for (int i = 0; i < l->flying; i++) {
        mind_question_free(l->flights[i]->q);
        free(l->flights[i]);
    }
    mind_free(l->m);
    for (int i = 0; i < l->n; i++) {
        model *m = &l->models[i];
        if (m->key) memset(m->key, 0, strlen(m->key));
        free(m->name);
        free(m->url);
        free(m->key);
        free(m->effort);
    }
    free(l->proxy);
    free(l->version);
    free(l);
}

static char *copy(const char *s)
{
    return s ? atn_strdup(s) : NULL;
}

atn_proposer *proposer_llm_create(const struct atn_config *c, atn_error *err)
{
    llm *l = atn_alloc(sizeof *l);
    l->base = (atn_proposer){.name = "llm",
                             .propose = llm_propose,
                             .learn = llm_learn,
                             .poll_fd = llm_fd,
                             .destroy = llm_destroy,
                             .attach = llm_attach,
                             .service = llm_service,
                             .tell = llm_tell};
    l->parallel = (int)config_int(c, "llm.parallel");
    l->first_token = config_real(c, "llm.first_token_timeout");
    l->stall = config_real(c, "llm.stall_timeout");
    l->budget = (mind_spend){config_real(c, "llm.max_budget_usd"), config_int(c, "llm.max_budget_tokens")};
    l->proxy = copy(config_text(c, "llm.proxy"));
    l->version = copy(config_text(c, "llm.http_version"));
    json_object_seed(0); /* before there are threads */
    atn_status st = read_models(l, c, err);
    if (!st) st = mind_create("llm", c, &l->m, err);
    mind_model models[MIND_MODELS];
    client_lane lanes[MIND_MODELS];
    for (int i = 0; i < l->n; i++) {
        const model *own = &l->models[i];
        models[i] = (mind_model){own->name, own->system, own->weight};
        lanes[i] = own->lane;
        if ((l->budget.usd > 0 || own->budget.usd > 0) && own->price_in <= 0 && own->price_out <= 0 && !st)
            st =
                atn_fail(err, ATN_USAGE,
                         "llm.max_budget_usd is given, but model '%s' has no price: set llm.price_in and llm.price_out "
                         "(US dollars for a million tokens)",
                         own->name);
    }
    if (!st) mind_models(l->m, models, l->n);
    if (!st) st = client_open(lanes, l->n, l->parallel, &l->net, err);
    if (!st) return &l->base;
    llm_destroy(&l->base);
    return NULL;
}

#endif
