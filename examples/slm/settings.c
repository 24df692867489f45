/*
 * settings.c - the options that several commands share.
 */
#include "cli.h"

#define FIELD(name) offsetof(struct cli_settings, name)

static const struct cli_choice kv_types[] = {
    {"f16", SLM_KV_F16},
    {"q8", SLM_KV_Q8},
    {"f32", SLM_KV_F32},
    {NULL, 0},
};

const char *cli_kv_name(int kv)
{
    for (const struct cli_choice *c = kv_types; c->name; c++)
        if (c->value == kv)
            return c->name;
    return "?";
}

const struct cli_option cli_engine_options[] = {
    {'t', "threads", CLI_INT, FIELD(threads), "N",
     "threads (default: the performance cores that this process\nmay use)", 1, 256, NULL},
    {0, "cpu", CLI_TEXT, FIELD(cpu), "TIER",
     "c, avx2, avx512...: use these kernels instead of the best", 0, 0, NULL},
    {0, "kv", CLI_CHOICE, FIELD(kv), "f16|q8|f32",
     "type of keys and values (default: f16); q8 takes half the memory", 0, 0, kv_types},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};

const struct cli_option cli_sampling_options[] = {
    {0, "temp", CLI_FLOAT, FIELD(temperature), "T",
     "temperature; 0 takes the likeliest (default: 0)", 0, 1000, NULL},
    {0, "top-k", CLI_INT, FIELD(top_k), "K", "choose among the K likeliest; 0: all", 0, 1e9, NULL},
    {0, "top-p", CLI_FLOAT, FIELD(top_p), "P", "choose among the likeliest that make up P; 1: all",
     0, 1, NULL},
    {0, "min-p", CLI_FLOAT, FIELD(min_p), "P",
     "leave out what is less than P times as likely as the best", 0, 1, NULL},
    {0, "repeat-penalty", CLI_FLOAT, FIELD(repeat_penalty), "X",
     "divide the logit of what occurred; 1: off", 0, 1000, NULL},
    {0, "presence-penalty", CLI_FLOAT, FIELD(presence_penalty), "X", "subtract from what occurred",
     -1000, 1000, NULL},
    {0, "frequency-penalty", CLI_FLOAT, FIELD(frequency_penalty), "X",
     "subtract for each time it occurred", -1000, 1000, NULL},
    {0, "penalty-window", CLI_INT, FIELD(penalty_window), "N",
     "tokens that penalties look back; -1: all (default: 64)", -1, 16777216, NULL},
    {0, "bias", CLI_LIST, FIELD(bias), "ID=X",
     "add X to the logit of token ID; -inf forbids it. Repeatable", 0, 0, NULL},
    {0, "seed", CLI_SEED, FIELD(seed), "N", "same seed, same text (default: a new one each time)",
     0, 0, NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};
