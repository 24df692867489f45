/*
 * conversation.h - the messages of a chat: a list that grows at its end, loses its oldest turns,
 * and goes to a file and back.
 */
#ifndef SLM_CLI_CONVERSATION_H
#define SLM_CLI_CONVERSATION_H

#include "cli.h"

/* The system message, if there is one, is messages[0]; then user and assistant take turns. */
struct cli_conversation {
    slm_message *messages; /* [n]; contents belong to this struct, roles are literals */
    size_t n;
};

/* Append a message. role is a literal. */
int cli_conversation_add(struct cli_conversation *c, const char *role, const char *text);
void cli_conversation_remove_last(struct cli_conversation *c);
/* Set or replace the system message; NULL removes it. */
int cli_conversation_set_system(struct cli_conversation *c, const char *text);
/* All but the system message. */
void cli_conversation_clear(struct cli_conversation *c);
/* Forget the oldest user message with its answer; false when only the last turn is left. */
bool cli_conversation_drop_oldest(struct cli_conversation *c);
void cli_conversation_free(struct cli_conversation *c);

/* A JSON array of {"role", "content"}. Loading replaces everything, or nothing if it fails. */
int cli_conversation_save(const struct cli_conversation *c, const char *path);
int cli_conversation_load(struct cli_conversation *c, const char *path);

#endif
