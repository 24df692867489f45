/*
 * chat.c - slm chat: a conversation on the terminal.
 *
 * Every turn renders the whole conversation anew with the model's template; what the sequence holds
 * already, up to the first token that differs, is not computed again. When the context is full the
 * oldest turns are forgotten, in the middle of an answer too.
 */
#include "answer.h"
#include "conversation.h"
#include "engine.h"
#include "files.h"
#include "terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIELD(name) offsetof(struct cli_settings, name)

static const struct cli_option options[] = {
    {0, "system", CLI_TEXT, FIELD(system), "TEXT", "the system message", 0, 0, NULL},
    {'n', "tokens", CLI_INT, FIELD(n), "N", CLI_TOKENS_HELP, 0, 1e9, NULL},
    {'c', "context", CLI_INT, FIELD(context), "N",
     "context in tokens (default: the model's, at most 4096)", 1, 16777216, NULL},
    {0, "show-prompt", CLI_FLAG, FIELD(show_prompt), NULL,
     "print what the model gets to see on stderr, before its answer", 0, 0, NULL},
    {0, "stop", CLI_LIST, FIELD(stop), "TEXT", "end answers before this text. Repeatable", 0, 0,
     NULL},
    {0, NULL, CLI_FLAG, 0, NULL, NULL, 0, 0, NULL},
};

static const struct cli_group groups[] = {
    {"Options", options},
    {"Sampling", cli_sampling_options},
    {"Engine", cli_engine_options},
    {NULL, NULL},
};

#define BLANK " \t\n"

/* What was read of stdin and is not used yet. */
struct read_ahead {
    char bytes[4096];
    size_t at, n;
};

struct chat {
    const struct cli_settings *settings;
    struct cli_engine engine;
    struct cli_conversation conversation;
    slm_sampler *sampler;
    slm_seq *seq;
    struct cli_tokens held; /* what the sequence holds */
    int32_t context;
    bool interactive; /* a person types */
    bool leaving;     /* no more is read */
    size_t forgotten; /* turns, of which nobody has been told yet */
    struct read_ahead ahead;

    /* of the last answer, for /stats */
    size_t n_prompt, n_reused, n_answer;
    double first_token_seconds, answer_seconds;
};

/* ---------------------------------------------------------------------------- one turn --- */

static int append_tokens(struct cli_tokens *to, const slm_token *ids, size_t n)
{
    if (n == 0)
        return CLI_OK;
    slm_token *grown = realloc(to->ids, (to->n + n) * sizeof *grown);
    if (!grown)
        return cli_fail("out of memory");
    memcpy(grown + to->n, ids, n * sizeof *grown);
    to->ids = grown;
    to->n += n;
    return CLI_OK;
}

/* Not in the middle of an answer: it may stand on the same screen, or in the same file. */
static void note_forgotten(struct chat *chat)
{
    if (chat->forgotten > 0)
        cli_note("(the context is full: the oldest %s forgotten)",
                 chat->forgotten == 1 ? "turn is" : "turns are");
    chat->forgotten = 0;
}

/* The answer has no room to begin. In its middle (`so_far`) that is no error: it ends there. */
enum { NO_ROOM = -2 };

static int no_room(const struct chat *chat, const struct cli_tokens *so_far, size_t needed)
{
    if (so_far->n > 0)
        return NO_ROOM;
    return cli_fail(
        "this needs %zu tokens, and the context has %d: shorten it, or start with a larger -c",
        needed, (int)chat->context);
}

/* Would the system message and the last one alone fit? If not, nothing is gained by forgetting. */
static int check_last(struct chat *chat, const struct cli_tokens *so_far)
{
    const struct cli_conversation *c = &chat->conversation;
    slm_message few[2] = {c->messages[0], c->messages[c->n - 1]};
    bool system = c->n > 1 && strcmp(few[0].role, "system") == 0;
    struct cli_tokens tokens = {0};
    int code =
        cli_tokenize_chat(chat->engine.model, system ? few : few + 1, system ? 2 : 1, &tokens);
    if (code == CLI_OK && tokens.n + so_far->n >= (size_t)chat->context)
        code = no_room(chat, so_far, tokens.n + so_far->n);
    cli_tokens_free(&tokens);
    return code;
}

/* The conversation as tokens, then what the answer has so far. Forgets the oldest turns until
 * there is room to go on. */
static int make_prompt(struct chat *chat, const struct cli_tokens *so_far,
                       struct cli_tokens *prompt)
{
    size_t context = (size_t)chat->context;
    size_t room = context / 4 < 256 ? context / 4 : 256;
    bool checked = false;
    int code;
    for (;;) {
        code = cli_tokenize_chat(chat->engine.model, chat->conversation.messages,
                                 chat->conversation.n, prompt);
        if (code == CLI_OK)
            code = append_tokens(prompt, so_far->ids, so_far->n);
        if (code == CLI_OK && prompt->n + room > context && !checked)
            code = check_last(chat, so_far);
        checked = true;
        if (code != CLI_OK || prompt->n + room <= context)
            break;
        if (!cli_conversation_drop_oldest(&chat->conversation)) {
            if (prompt->n >= context)
                code = no_room(chat, so_far, prompt->n);
            break;
        }
        chat->forgotten++;
        cli_tokens_free(prompt);
    }
    if (so_far->n == 0)
        note_forgotten(chat);
    if (code == CLI_OK && chat->settings->show_prompt)
        code =
            cli_show_prompt(chat->engine.model, chat->conversation.messages, chat->conversation.n);
    return code;
}

/* Generate after this prompt; computes only what the sequence does not hold. Returns an slm_finish
 * or an slm_error. */
static int generate(struct chat *chat, const struct cli_tokens *prompt, struct cli_answer *answer)
{
    size_t same = 0;
    while (same < chat->held.n && same < prompt->n && chat->held.ids[same] == prompt->ids[same])
        same++;
    if (same == prompt->n)
        same--; /* the last token's logits are needed */
    slm_seq_truncate(chat->seq, (int32_t)same);
    chat->n_prompt = prompt->n;
    chat->n_reused = same;

    const struct cli_settings *s = chat->settings;
    const slm_generate_options how = {
        .size = sizeof how,
        .max_tokens = s->n > 0 ? (size_t)s->n - answer->tokens.n : 0,
        .stop = s->stop.items,
        .n_stop = s->stop.n,
    };
    size_t before = answer->tokens.n;
    slm_sampler_accept(chat->sampler, prompt->ids + same, prompt->n - same);
    /* A Ctrl-C just after the last answer was not meant for this one, unlike one since the line was
     * read. */
    slm_ctx_interrupt_clear(chat->engine.ctx);
    cli_catch_interrupt(chat->engine.ctx);
    int finish = SLM_EINTR;
    if (!cli_interrupted())
        finish = slm_generate(chat->seq, chat->sampler, prompt->ids + same, prompt->n - same, &how,
                              cli_answer_piece, answer);
    cli_catch_interrupt(NULL);
    cli_interrupted(); /* it was heard */

    /* The sequence may hold less than was generated, never more. */
    chat->held.n = 0;
    if (append_tokens(&chat->held, prompt->ids, prompt->n) != CLI_OK ||
        append_tokens(&chat->held, answer->tokens.ids + before, answer->tokens.n - before) !=
            CLI_OK)
        return SLM_ENOMEM;
    size_t length = (size_t)slm_seq_length(chat->seq);
    chat->held.n = chat->held.n < length ? chat->held.n : length;
    return finish;
}

/* Answer the conversation's last message and add the answer to it. */
static int answer_turn(struct chat *chat)
{
    struct cli_answer answer = {.engine = &chat->engine, .print = true};
    struct cli_tokens prompt = {0};
    double start = cli_uptime();
    int finish = 0;
    int code = make_prompt(chat, &answer.tokens, &prompt);
    while (code == CLI_OK) {
        finish = generate(chat, &prompt, &answer);
        cli_tokens_free(&prompt);
        if (finish != SLM_FINISH_CONTEXT)
            break;
        /* Full in the middle of the answer: go on behind a shorter conversation. */
        if (!cli_conversation_drop_oldest(&chat->conversation))
            break;
        chat->forgotten++;
        code = make_prompt(chat, &answer.tokens, &prompt);
    }
    if (code == NO_ROOM)
        code = CLI_OK;
    cli_tokens_free(&prompt);
    chat->n_answer = answer.tokens.n;
    chat->first_token_seconds = answer.first_token - start;
    chat->answer_seconds = cli_uptime() - start;

    if (answer.text.length > 0 || code == CLI_OK)
        putchar('\n');
    fflush(stdout);
    note_forgotten(chat);
    if (code == CLI_OK && finish < 0 && finish != SLM_EINTR)
        code = cli_fail_library(finish);
    if (finish == SLM_EINTR)
        cli_note("(stopped)");
    if (finish == SLM_FINISH_CONTEXT)
        cli_note("(the context is full: the answer ends here)");
    else if (code == CLI_OK)
        cli_note_unfinished(finish, chat->settings);
    slm_buf_byte(&answer.text, 0);
    if (code == CLI_OK && slm_buf_ok(&answer.text) == 0 && answer.tokens.n > 0)
        code =
            cli_conversation_add(&chat->conversation, "assistant", (const char *)answer.text.data);
    else
        cli_conversation_remove_last(&chat->conversation); /* nobody answered it */
    cli_answer_free(&answer);
    /* At a keyboard Ctrl-C is for the answer, elsewhere for the program. */
    return finish == SLM_EINTR && !chat->interactive ? CLI_INTERRUPTED : code;
}

/* ---------------------------------------------------------------------------- commands --- */

static void show_help(void)
{
    fputs("  /help            this list\n"
          "  /clear           forget the conversation, keep the system message\n"
          "  /system [TEXT]   show or set the system message\n"
          "  /save FILE       write the conversation to a file (JSON)\n"
          "  /load FILE       go on with a conversation from a file\n"
          "  /stats           speeds, memory, and how full the context is\n"
          "  /exit, /quit     leave (as Ctrl-D does)\n"
          "A line that ends with \\ goes on below; \"\"\" begins and ends a text of many lines.\n"
          "Ctrl-C stops an answer.\n",
          stderr);
}

static void show_stats(const struct chat *chat)
{
    slm_stats stats = {.size = sizeof stats};
    slm_ctx_stats(chat->engine.ctx, &stats);
    fprintf(stderr, "context      %zu of %d tokens, %zu messages\n", chat->held.n,
            (int)chat->context, chat->conversation.n);
    fprintf(stderr, "last prompt  %zu tokens, %zu of them reused\n", chat->n_prompt,
            chat->n_reused);
    if (chat->n_answer > 0)
        fprintf(stderr, "last answer  %zu tokens in %.2f s, the first after %.3f s\n",
                chat->n_answer, chat->answer_seconds, chat->first_token_seconds);
    if (stats.prompt_seconds > 0)
        fprintf(stderr, "prompts      %.1f tokens/s\n",
                (double)stats.prompt_tokens / stats.prompt_seconds);
    if (stats.decode_seconds > 0)
        fprintf(stderr, "answers      %.1f tokens/s\n",
                (double)stats.decode_tokens / stats.decode_seconds);
    fprintf(stderr, "peak memory  %s\n", cli_bytes(cli_peak_memory()).text);
}

static int do_system(struct chat *chat, const char *text)
{
    struct cli_conversation *c = &chat->conversation;
    if (*text) {
        int code = cli_conversation_set_system(c, text);
        if (code == CLI_OK)
            cli_note("(the system message is set)");
        return code;
    }
    bool there = c->n > 0 && strcmp(c->messages[0].role, "system") == 0;
    cli_note("system message: %s", there ? c->messages[0].content : "(none)");
    return CLI_OK;
}

static int do_file(struct chat *chat, bool save, const char *path)
{
    struct cli_conversation *c = &chat->conversation;
    if (!*path)
        return cli_fail("which file? %s FILE", save ? "/save" : "/load");
    int code = save ? cli_conversation_save(c, path) : cli_conversation_load(c, path);
    if (code == CLI_OK)
        cli_note("(%zu message%s %s %s)", c->n, cli_s(c->n), save ? "in" : "from", path);
    return code;
}

static int unknown_command(const char *line, size_t n, const char *const *names, size_t n_names)
{
    char word[32];
    snprintf(word, sizeof word, "%.*s", (int)(n < 31 ? n : 31), line);
    const char *meant = cli_did_you_mean(word, names, n_names);
    if (meant)
        cli_fail("there is no command %s; did you mean %s?", word, meant);
    else
        cli_fail("there is no command %s; /help lists them", word);
    cli_note("(begin with a blank to send it as text)");
    return CLI_FAILED;
}

/* A line that begins with "/". */
static int do_command(struct chat *chat, const char *line)
{
    static const char *const names[] = {"/help", "/clear", "/system", "/save",
                                        "/load", "/stats", "/exit",   "/quit"};
    enum { HELP, CLEAR, SYSTEM, SAVE, LOAD, STATS, EXIT, QUIT, N_NAMES };
    size_t n = strcspn(line, BLANK), which = 0;
    while (which < N_NAMES && (strlen(names[which]) != n || memcmp(names[which], line, n) != 0))
        which++;
    const char *rest = line + n + strspn(line + n, BLANK);
    switch (which) {
    case HELP: show_help(); return CLI_OK;
    case CLEAR:
        cli_conversation_clear(&chat->conversation);
        slm_sampler_reset(chat->sampler);
        cli_note("(a new conversation)");
        return CLI_OK;
    case SYSTEM: return do_system(chat, rest);
    case SAVE: return do_file(chat, true, rest);
    case LOAD: return do_file(chat, false, rest);
    case STATS: show_stats(chat); return CLI_OK;
    case EXIT:
    case QUIT: chat->leaving = true; return CLI_OK;
    default: return unknown_command(line, n, names, N_NAMES);
    }
}

/* ------------------------------------------------------------------------------- input --- */

enum input { INPUT_TEXT, INPUT_INTERRUPTED, INPUT_END, INPUT_FAILED };

/* One line without its newline, appended to *text. */
static enum input read_line(struct chat *chat, const char *prompt, struct slm_buf *text)
{
    struct read_ahead *ahead = &chat->ahead;
    if (chat->interactive) {
        printf("%s%s%s", cli_style(stdout, CLI_GREEN), prompt, cli_style(stdout, CLI_PLAIN));
        fflush(stdout);
    }
    size_t start = text->length;
    for (;;) {
        const char *rest = ahead->bytes + ahead->at;
        const char *newline = memchr(rest, '\n', ahead->n - ahead->at);
        size_t n = newline ? (size_t)(newline - rest) : ahead->n - ahead->at;
        slm_buf_append(text, rest, n);
        ahead->at += n + (newline != NULL);
        if (text->length > CLI_TEXT_LIMIT || slm_buf_ok(text) < 0) {
            cli_fail("this message is larger than %s, the most that is read of one",
                     cli_bytes(CLI_TEXT_LIMIT).text);
            return INPUT_FAILED;
        }
        if (newline)
            break;
        if (!cli_wait_for_input()) {
            text->length = start;
            return INPUT_INTERRUPTED;
        }
        ssize_t got = read(STDIN_FILENO, ahead->bytes, sizeof ahead->bytes);
        if (got < 0) {
            cli_fail("standard input can't be read: %s", strerror(errno));
            chat->leaving = true;
            return INPUT_FAILED;
        }
        if (got == 0 && text->length == start)
            return INPUT_END;
        if (got == 0)
            break;
        ahead->at = 0;
        ahead->n = (size_t)got;
    }
    while (text->length > start && text->data[text->length - 1] == '\r')
        text->length--;
    return INPUT_TEXT;
}

static bool ends_with(const struct slm_buf *text, const char *end)
{
    size_t n = strlen(end);
    return text->length >= n && memcmp(text->data + text->length - n, end, n) == 0;
}

/* A message is a C string; this ends it. */
static enum input end_message(struct slm_buf *text)
{
    const char *nul = text->length ? memchr(text->data, '\0', text->length) : NULL;
    size_t at = nul ? (size_t)(nul - (const char *)text->data) : 0;
    slm_buf_byte(text, 0);
    if (slm_buf_ok(text) == 0 && !nul)
        return INPUT_TEXT;
    if (nul)
        cli_fail("byte %zu of this message is NUL, which a message can't hold", at);
    else
        cli_fail("out of memory");
    return INPUT_FAILED;
}

/* What the user says, of one or many lines; ends with NUL. */
static enum input read_message(struct chat *chat, struct slm_buf *text)
{
    static const char quotes[] = "\"\"\"";
    text->length = 0;
    enum input got = read_line(chat, "> ", text);
    bool block = text->length >= 3 && memcmp(text->data, quotes, 3) == 0;
    bool closed = block && text->length >= 6 && ends_with(text, quotes);
    while (got == INPUT_TEXT && (block ? !closed : ends_with(text, "\\"))) {
        if (!block)
            text->length--; /* the backslash */
        slm_buf_byte(text, '\n');
        got = read_line(chat, ". ", text);
        closed = block && ends_with(text, quotes);
    }
    if (got == INPUT_END && text->length > 0 && !chat->interactive)
        got = INPUT_TEXT; /* a script that ends in the middle of a message */
    if (got == INPUT_TEXT && block) { /* a newline next to the quotes is theirs */
        size_t start = 3, end = closed ? text->length - 3 : text->length;
        start += start < end && text->data[start] == '\n';
        end -= end > start && text->data[end - 1] == '\n';
        memmove(text->data, text->data + start, end - start);
        text->length = end - start;
    }
    return got == INPUT_TEXT ? end_message(text) : got;
}

static bool is_blank(const char *text)
{
    return text[strspn(text, BLANK)] == '\0';
}

/* One message or command, from reading it to the end of what it brings about. */
static int talk_once(struct chat *chat, struct slm_buf *text)
{
    switch (read_message(chat, text)) {
    case INPUT_TEXT: break;
    case INPUT_END: chat->leaving = true; return CLI_OK;
    case INPUT_FAILED: return CLI_FAILED;
    case INPUT_INTERRUPTED:
        if (chat->interactive)
            fputs("\n(/exit or Ctrl-D leaves)\n", stderr);
        return CLI_INTERRUPTED;
    }
    const char *line = (const char *)text->data;
    if (is_blank(line))
        return CLI_OK;
    if (line[0] == '/') {
        while (strchr(BLANK, text->data[text->length - 2])) /* before the NUL; '/' is no blank */
            text->data[--text->length - 1] = '\0';
        return do_command(chat, line);
    }
    int code = cli_conversation_add(&chat->conversation, "user", line);
    return code == CLI_OK ? answer_turn(chat) : code;
}

static int talk(struct chat *chat)
{
    struct slm_buf text = {0};
    int code = CLI_OK;
    cli_catch_interrupt(NULL);
    while (!chat->leaving) {
        code = talk_once(chat, &text);
        if (code != CLI_OK && !chat->interactive)
            chat->leaving = true; /* a person can go on, a script can't know */
    }
    if (chat->interactive)
        putchar('\n');
    slm_buf_free(&text);
    return code;
}

static int run(const struct cli_settings *s)
{
    struct chat chat = {.settings = s,
                        .interactive = cli_is_terminal(stdin) && cli_is_terminal(stdout)};
    uint64_t seed;
    int code = cli_check_stop("chat", s);
    if (code == CLI_OK)
        code = cli_engine_decoder(&chat.engine, s);
    if (code == CLI_OK && !chat.engine.info.has_template)
        code = cli_fail("this model has no chat template; 'slm run' continues texts with it");
    if (code == CLI_OK)
        code = cli_engine_sampler("chat", &chat.engine, s, &chat.sampler, &seed);
    if (code == CLI_OK) {
        chat.context = cli_engine_context_length(&chat.engine, s);
        const struct cli_wants wants = {.max_tokens = chat.context};
        code = cli_engine_context(&chat.engine, s, &wants);
    }
    if (code == CLI_OK) {
        int rc = slm_seq_new(&chat.seq, chat.engine.ctx);
        if (rc < 0)
            code = cli_fail_library(rc);
    }
    if (code == CLI_OK && s->system)
        code = cli_conversation_set_system(&chat.conversation, s->system);
    if (code == CLI_OK) {
        if (chat.interactive)
            cli_note("%s, %d tokens of context; /help explains, Ctrl-C stops an answer",
                     s->arguments[0], (int)chat.context);
        code = talk(&chat);
    }
    cli_conversation_free(&chat.conversation);
    cli_tokens_free(&chat.held);
    slm_sampler_free(chat.sampler);
    slm_seq_free(chat.seq);
    cli_engine_close(&chat.engine);
    return code;
}

static void defaults(struct cli_settings *s)
{
    s->n = CLI_DEFAULT_TOKENS;
}

const struct cli_command cli_chat = {
    .name = "chat",
    .usage = "MODEL [options]",
    .summary = "have a conversation",
    .details =
        "Type a message; /help lists the commands that a line can be. When the context is full "
        "the\n"
        "oldest turns are forgotten and the system message stays. Input may also be piped in.",
    .examples = "  slm chat model.slm --system \"You are a helpful AI assistant.\"\n"
                "  slm chat model.slm --temp 0.7 --top-p 0.9 -c 8192",
    .min_arguments = 1,
    .max_arguments = 1,
    .groups = groups,
    .defaults = defaults,
    .run = run,
};
