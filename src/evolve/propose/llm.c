/* llm: language models behind OpenAI-compatible endpoints. */
#include "evolve/config.h"
#include "evolve/propose/mind.h"

atn_proposer *proposer_llm_create(const struct atn_config *c, atn_error *err)
{
    (void)c;
    atn_fail(err, ATN_UNSUPPORTED, "this attune was built without libcurl, which the llm proposer needs");
    return NULL;
}
