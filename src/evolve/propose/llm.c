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
    double weight, temperature, top_p, timeout, price_in, price_out, retry_delay;
    long long max_tokens, seed;
    int retries;
    char *effort;
    bool has_seed, has_top_p;
    client_lane lane;
} model;

typedef struct {
    mind_question *q;
    double reserved;
} flight;

typedef struct {
    atn_proposer base;
    mind *m;
    client *net;
    model models[MIND_MODELS];
    flight *flights[256];
    int n, parallel, flying, failures;
    int64_t gave_up_at; /* the best program of that moment; 0: going on */
    int forgiven;
    double first_token, stall, budget, reserved;
    char *proxy, *version;
    char complained[300];
    bool broke;
} llm;

static const int USELESS_MAX = 40;
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
    m->url = atn_format("%.*s/chat/completions", (int)(strlen(base) - (base[strlen(base) - 1] == '/')), base);
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
    if (!st && !l->n && config_text(c, "llm.name")) st = add_model(l, c, -1, config_text(c, "llm.name"), 1, err);
    if (!st && !l->n)
        st =
            atn_fail(err, ATN_USAGE,
                     "the llm proposer needs a model: --set llm.name=NAME --set llm.api_base=URL, or llm.models in the "
                     "config file");
    return st;
}

/* ---- requests ---- */

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

static char *body_of(const model *m, const mind_question *q)
{
    json_t *o = json_pack("{s:s, s:[{s:s, s:o}, {s:s, s:o}], s:b, s:{s:b}}", "model", m->name, "messages", "role",
                          "system", "content", json_text(q->system), "role", "user", "content", json_text(q->prompt),
                          "stream", 1, "stream_options", "include_usage", 1);
    bool thinks = reasons(m->name);
    json_object_set_new(o, thinks ? "max_completion_tokens" : "max_tokens", json_integer(m->max_tokens));
    if (!thinks) json_object_set_new(o, "temperature", json_real(m->temperature));
    if (!thinks && m->has_top_p) json_object_set_new(o, "top_p", json_real(m->top_p));
    if (m->has_seed && !strstr(m->url, "googleapis.com"))
        json_object_set_new(o, "seed", json_integer(m->seed + q->number));
    if (m->effort) json_object_set_new(o, "reasoning_effort", json_string(m->effort));
    char *s = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    ATN_CHECK(s);
    return s;
}

/* The most that a question can cost, all its tries together. */
static double dearest(const model *m, double prompt_tokens)
{
    return (prompt_tokens * m->price_in + (double)m->max_tokens * m->price_out) * 1e-6 * (1 + m->retries);
}

static bool affordable(const llm *l, double usd)
{
    return !(l->budget > 0) || mind_spent_usd(l->m) + l->reserved + usd <= l->budget;
}

static void send(llm *l, mind_question *q)
{
    const model *m = &l->models[q->model];
    char *body = body_of(m, q);
    double tokens = (double)strlen(body) / 3;
    flight *f = atn_alloc(sizeof *f);
    *f = (flight){.q = q, .reserved = dearest(m, tokens)};
    l->reserved += f->reserved;
    l->flights[l->flying++] = f;
    client_send(l->net, &(client_request){.url = m->url,
                                          .key = m->key,
                                          .body = body,
                                          .proxy = l->proxy,
                                          .http_version = l->version,
                                          .lane = q->model,
                                          .tokens = (int64_t)tokens + m->max_tokens,
                                          .first_token_s = l->first_token,
                                          .stall_s = l->stall,
                                          .total_s = m->timeout * (1 + m->retries),
                                          .retries = m->retries,
                                          .retry_delay_s = m->retry_delay,
                                          .tag = f});
    free(body);
}

static void complain(llm *l, const char *model, const char *why)
{
    char text[400];
    snprintf(text, sizeof text, "llm: %s: %s", model, why);
    if (!strncmp(text, l->complained, sizeof l->complained - 1)) return; /* once for a row of the same */
    snprintf(l->complained, sizeof l->complained, "%.299s", text);
    mind_host(l->m)->warn(mind_host(l->m)->ctx, text);
}

static void llm_service(atn_proposer *p)
{
    llm *l = (llm *)p;
    client_result r;
    while (client_next(l->net, &r)) {
        flight *f = r.tag;
        const model *m = &l->models[r.lane];
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
        l->reserved -= f->reserved;
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
        able[i] = open && affordable(l, dearest(&l->models[i], 30000));
        any |= able[i];
        paused |= !open;
    }
    if (!any && !paused && !l->flying && !l->broke) {
        l->broke = true;
        mind_host(l->m)->warn(mind_host(l->m)->ctx, "llm: the budget is spent (llm.max_budget_usd)");
    }
    /* Models that only repeat themselves would spend the whole budget on it: they are asked again after a new best. */
    if (l->gave_up_at && c->best && c->best->id == l->gave_up_at) return PROPOSE_EXHAUSTED;
    int useless = mind_useless(l->m);
    if (l->gave_up_at) l->forgiven = useless;
    l->gave_up_at = 0;
    l->forgiven = ATN_MIN(l->forgiven, useless);
    if (useless - l->forgiven >= USELESS_MAX) {
        any = false;
        if (!l->flying && c->best) {
            char text[120];
            snprintf(text, sizeof text, "llm: %d answers in a row led to no new program; waiting for a new best",
                     useless);
            mind_host(l->m)->warn(mind_host(l->m)->ctx, text);
            l->gave_up_at = c->best->id;
            return PROPOSE_EXHAUSTED;
        }
    }
    if (!l->flying && l->failures >= FAILURES_MAX) return PROPOSE_EXHAUSTED;
    int most = c->iterations_left >= 0 ? ATN_MIN(l->parallel, c->iterations_left) : l->parallel;
    while (any && l->flying < most && l->failures < FAILURES_MAX) {
        mind_question *q = mind_repair(l->m);
        if (!q) q = mind_review(l->m);
        if (q && (q->model < 0 || q->model >= l->n || !able[q->model])) {
            mind_question_free(q);
            continue;
        }
        if (!q) q = mind_ask(l->m, c, rng, able);
        if (!q) break;
        double usd = dearest(&l->models[q->model], (double)(strlen(q->prompt) + strlen(q->system)) / 3);
        if (!affordable(l, usd)) {
            mind_question_free(q);
            break;
        }
        send(l, q);
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
    l->budget = config_real(c, "llm.max_budget_usd");
    l->proxy = copy(config_text(c, "llm.proxy"));
    l->version = copy(config_text(c, "llm.http_version"));
    json_object_seed(0); /* before there are threads */
    atn_status st = read_models(l, c, err);
    if (!st) st = mind_create("llm", c, &l->m, err);
    const char *names[MIND_MODELS];
    double weights[MIND_MODELS];
    client_lane lanes[MIND_MODELS];
    for (int i = 0; i < l->n; i++) {
        names[i] = l->models[i].name;
        weights[i] = l->models[i].weight;
        lanes[i] = l->models[i].lane;
        if (l->budget > 0 && l->models[i].price_in <= 0 && l->models[i].price_out <= 0 && !st)
            st =
                atn_fail(err, ATN_USAGE,
                         "llm.max_budget_usd is given, but model '%s' has no price: set llm.price_in and llm.price_out "
                         "(US dollars for a million tokens)",
                         names[i]);
    }
    if (!st) mind_models(l->m, names, weights, l->n);
    if (!st) st = client_open(lanes, l->n, l->parallel, &l->net, err);
    if (!st) return &l->base;
    llm_destroy(&l->base);
    return NULL;
}

#endif
