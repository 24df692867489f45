/* text.c - the exported text functions: argument checks and JSON around src/text. */
#include "api/sized.h"
#include "base/limits.h"
#include "model/model.h"

#include <string.h>

static int check_flags(unsigned flags, const char *function)
{
    const unsigned known = SLM_TEXT_ADD_SPECIAL | SLM_TEXT_PARSE_SPECIAL | SLM_TEXT_SHOW_SPECIAL;
    if (flags & ~known)
        return slm_fail(SLM_EINVAL, "%s: flags 0x%x has bits that this library does not know", function,
                        flags);
    return SLM_OK;
}

static int need_text(const slm_model *model, const char *function)
{
    if (!model)
        return slm_fail(SLM_EINVAL, "%s: model is NULL", function);
    if (!model->has_text)
        return slm_fail(SLM_EUNSUPPORTED,
                        "the model file has no tokenizer; convert it again from a source "
                        "that has one");
    return SLM_OK;
}

int64_t slm_tokenize(const slm_model *model, const char *text, size_t n, unsigned flags,
                     slm_token *out, size_t cap)
{
    int rc = need_text(model, "slm_tokenize");
    if (rc == SLM_OK)
        rc = check_flags(flags, "slm_tokenize");
    if (rc < 0)
        return rc;
    if ((!text && n) || (!out && cap))
        return slm_fail(SLM_EINVAL, "slm_tokenize: %s is NULL", text ? "out" : "text");
    if (n > SLM_LIMIT_TEXT)
        return slm_fail(SLM_ELIMIT, "%zu bytes of text; the limit is %u", n,
                        (unsigned)SLM_LIMIT_TEXT);
    struct slm_fenv env;
    slm_fenv_enter(&env);
    int64_t count = slm_text_encode(&model->text, text, n, flags, NULL, 0, out, cap, model->allocator);
    slm_fenv_leave(&env);
    return count;
}

int64_t slm_tokenize_pair(const slm_model *model, const char *first, size_t n_first, const char *second,
                          size_t n_second, unsigned flags, slm_token *out, size_t cap,
                          size_t *n_first_tokens)
{
    const char *const texts[2] = {first, second};
    const size_t n[2] = {n_first, n_second};
    size_t n_of_first;
    int rc = need_text(model, "slm_tokenize_pair");
    if (rc == SLM_OK)
        rc = check_flags(flags, "slm_tokenize_pair");
    if (rc < 0)
        return rc;
    if ((!first && n_first) || (!second && n_second) || (!out && cap))
        return slm_fail(SLM_EINVAL, "slm_tokenize_pair: a text or out is NULL");
    if (n_first > SLM_LIMIT_TEXT || n_second > SLM_LIMIT_TEXT)
        return slm_fail(SLM_ELIMIT, "the limit of a text is %u bytes", (unsigned)SLM_LIMIT_TEXT);
    struct slm_fenv env;
    slm_fenv_enter(&env);
    int64_t count = slm_text_encode_pair(&model->text, texts, n, flags, out, cap,
                                         n_first_tokens ? n_first_tokens : &n_of_first, model->allocator);
    slm_fenv_leave(&env);
    return count;
}

/* What a caller with `cap` bytes gets of a text that was built whole. */
static int64_t hand_out(const struct slm_buf *text, char *out, size_t cap)
{
    if (text->length && cap)
        memcpy(out, text->data, text->length < cap ? text->length : cap);
    return (int64_t)text->length;
}

int64_t slm_detokenize(const slm_model *model, const slm_token *tokens, size_t n, unsigned flags,
                       char *out, size_t cap)
{
    int rc = need_text(model, "slm_detokenize");
    if (rc == SLM_OK)
        rc = check_flags(flags, "slm_detokenize");
    if (rc < 0)
        return rc;
    if ((!tokens && n) || (!out && cap))
        return slm_fail(SLM_EINVAL, "slm_detokenize: %s is NULL", tokens ? "out" : "tokens");
    struct slm_buf text = {.allocator = model->allocator};
    struct slm_decoder decoder;
    slm_decoder_init(&decoder, &model->text, flags);
    for (size_t i = 0; i < n && rc == SLM_OK; i++)
        rc = slm_decoder_push(&decoder, tokens[i], &text);
    if (rc == SLM_OK)
        rc = slm_decoder_finish(&decoder, &text);
    if (rc == SLM_OK)
        rc = slm_buf_ok(&text);
    int64_t length = rc < 0 ? rc : hand_out(&text, out, cap);
    slm_buf_free(&text);
    return length;
}

const char *slm_token_text(const slm_model *model, slm_token token, size_t *n)
{
    size_t length = 0;
    const char *text = model && model->has_text ? slm_text_token(&model->text, token, &length) : NULL;
    if (n)
        *n = length;
    return text;
}

int slm_token_is_stop(const slm_model *model, slm_token token)
{
    return model && model->has_text && slm_text_is_stop(&model->text, token);
}

/* --------------------------------------------------------------------- stream --- */

struct slm_text_stream {
    slm_model *model; /* a reference */
    unsigned flags;
    struct slm_decoder decoder;
    struct slm_buf piece;
};

int slm_text_stream_new(slm_text_stream **out, slm_model *model, unsigned flags)
{
    if (!out)
        return slm_fail(SLM_EINVAL, "slm_text_stream_new: out is NULL");
    *out = NULL;
    int rc = need_text(model, "slm_text_stream_new");
    if (rc == SLM_OK)
        rc = check_flags(flags, "slm_text_stream_new");
    if (rc < 0)
        return rc;
    slm_text_stream *stream = slm_calloc(model->allocator, sizeof *stream);
    if (!stream)
        return SLM_ENOMEM;
    stream->model = slm_model_ref(model);
    stream->flags = flags;
    stream->piece.allocator = model->allocator;
    slm_decoder_init(&stream->decoder, &model->text, flags);
    *out = stream;
    return SLM_OK;
}

int slm_text_stream_push(slm_text_stream *stream, slm_token token, const char **piece, size_t *n)
{
    if (!stream || !piece || !n)
        return slm_fail(SLM_EINVAL, "slm_text_stream_push: an argument is NULL");
    *piece = "";
    *n = 0;
    stream->piece.length = 0;
    stream->piece.failed = false;
    struct slm_decoder before = stream->decoder; /* a push that fails has not happened */
    int rc;
    if (token == SLM_TOKEN_NONE) {
        rc = slm_decoder_finish(&stream->decoder, &stream->piece);
        slm_decoder_init(&stream->decoder, &stream->model->text, stream->flags);
    } else {
        rc = slm_decoder_push(&stream->decoder, token, &stream->piece);
    }
    if (rc == SLM_OK)
        rc = slm_buf_ok(&stream->piece);
    if (rc < 0)
        stream->decoder = before;
    if (rc == SLM_OK && stream->piece.length) {
        *piece = (const char *)stream->piece.data;
        *n = stream->piece.length;
    }
    return rc;
}

void slm_text_stream_free(slm_text_stream *stream)
{
    if (!stream)
        return;
    slm_model *model = stream->model;
    slm_buf_free(&stream->piece);
    slm_free(model->allocator, stream, sizeof *stream);
    slm_model_unref(model);
}

/* ----------------------------------------------------------------------- chat --- */

static void write_key(struct slm_buf *json, const char *key)
{
    slm_buf_text(json, json->length > 1 ? "," : "");
    slm_json_write_string(json, key, strlen(key));
    slm_buf_byte(json, ':');
}

/* The special tokens that have a name, as transformers hands them to templates. */
static void write_tokens(struct slm_buf *json, const struct slm_text *t)
{
    static const char *const NAMES[SLM_NAMED_COUNT] = {
        [SLM_NAMED_BOS] = "bos_token",         [SLM_NAMED_EOS] = "eos_token",
        [SLM_NAMED_UNKNOWN] = "unk_token",     [SLM_NAMED_SEPARATOR] = "sep_token",
        [SLM_NAMED_PADDING] = "pad_token",     [SLM_NAMED_CLASSIFIER] = "cls_token",
        [SLM_NAMED_MASK] = "mask_token",
    };
    for (int i = 0; i < SLM_NAMED_COUNT; i++) {
        size_t n;
        const char *text = slm_text_token(t, slm_text_named(t, i), &n);
        if (!text)
            continue;
        write_key(json, NAMES[i]);
        slm_json_write_string(json, text, n);
    }
}

static int read_message(slm_message *own, const slm_message *messages, size_t i)
{
    int rc = slm_sized_read_at(own, sizeof *own, messages, i, "slm_message");
    if (rc == SLM_OK && (!own->role || !own->content))
        rc = slm_fail(SLM_EINVAL, "%s is NULL", own->role ? "content" : "role");
    return rc < 0 ? slm_fail_in(rc, "message %zu", i) : SLM_OK;
}

static int write_messages(struct slm_buf *json, const slm_message *messages, size_t n)
{
    slm_buf_byte(json, '[');
    for (size_t i = 0; i < n; i++) {
        slm_message m;
        int rc = read_message(&m, messages, i);
        if (rc < 0)
            return rc;
        slm_buf_text(json, i ? ",{\"role\":" : "{\"role\":");
        slm_json_write_string(json, m.role, strlen(m.role));
        slm_buf_text(json, ",\"content\":");
        slm_json_write_string(json, m.content, strlen(m.content));
        slm_buf_byte(json, '}');
    }
    slm_buf_byte(json, ']');
    return SLM_OK;
}

/* Files that were written on Windows often begin with a byte order mark. */
static const char *without_mark(const char *text)
{
    return strncmp(text, "\xEF\xBB\xBF", 3) == 0 ? text + 3 : text;
}

/* A caller's JSON goes in as it is, once it is known to be one whole value of the right kind: an
 * object's members are merged, an array stands under its key. */
static int check_json(const char *name, const char *text, enum slm_json_type type,
                      const slm_allocator *a)
{
    struct slm_json *doc;
    int rc = slm_json_parse(&doc, text, strlen(text), a);
    if (rc < 0)
        return slm_fail_in(rc == SLM_EFORMAT ? SLM_EINVAL : rc, "%s", name);
    if (slm_json_type(doc, 0) != type)
        rc = slm_fail(SLM_EINVAL, "%s: expected a JSON %s", name,
                      type == JSON_ARRAY ? "array" : "object");
    slm_json_free(doc);
    return rc;
}

static int add_json(struct slm_buf *json, const char *key, const char *name, const char *text,
                    const slm_allocator *a)
{
    text = text ? without_mark(text) : NULL;
    int rc = text ? check_json(name, text, JSON_ARRAY, a) : SLM_OK;
    write_key(json, key);
    slm_buf_text(json, text ? text : "null");
    return rc;
}

/* The members of a JSON object, without its braces, behind what stands in the document. Later
 * members win over earlier ones of the same name. */
static int add_variables(struct slm_buf *json, const char *text, const slm_allocator *a)
{
    text = without_mark(text);
    int rc = check_json("slm_chat_options.variables_json", text, JSON_OBJECT, a);
    if (rc < 0)
        return rc;
    const char *open = strchr(text, '{') + 1, *close = strrchr(text, '}');
    if (strspn(open, " \t\r\n") < (size_t)(close - open)) {
        slm_buf_byte(json, ',');
        slm_buf_append(json, open, (size_t)(close - open));
    }
    return SLM_OK;
}

/* All that a template sees, as one JSON object. */
static int write_variables(struct slm_buf *json, const slm_model *model, const slm_message *messages,
                           size_t n, const slm_chat_options *o)
{
    const slm_allocator *a = json->allocator;
    int rc = SLM_OK;
    slm_buf_byte(json, '{');
    write_key(json, "add_generation_prompt");
    slm_buf_text(json, o->no_generation_prompt ? "false" : "true");
    if (model && model->has_text)
        write_tokens(json, &model->text);
    if (o->messages_json) {
        rc = add_json(json, "messages", "slm_chat_options.messages_json", o->messages_json, a);
    } else {
        write_key(json, "messages");
        rc = write_messages(json, messages, n);
    }
    write_key(json, "documents"); /* templates expect the name, if only as null */
    slm_buf_text(json, "null");
    if (rc == SLM_OK)
        rc = add_json(json, "tools", "slm_chat_options.tools_json", o->tools_json, a);
    if (rc == SLM_OK && o->variables_json)
        rc = add_variables(json, o->variables_json, a);
    slm_buf_byte(json, '}');
    return rc < 0 ? rc : slm_buf_ok(json);
}

/* The template of the options, which *own gets, or the model's. */
static int choose_template(const slm_model *model, const slm_chat_options *o, const char *function,
                           struct slm_template **own, const struct slm_template **template)
{
    const slm_allocator *a = model ? model->allocator : NULL;
    const char *source = o->template_source;
    int rc;
    if (source) {
        rc = slm_template_parse(own, source, strlen(source), a);
        *template = *own;
        return rc;
    }
    if (!model)
        return slm_fail(SLM_EINVAL, "%s: model is NULL", function);
    *template = model->chat;
    if (model->chat)
        return SLM_OK;
    if (!model->file.chat_template)
        return slm_fail(SLM_EUNSUPPORTED,
                        "the model has no chat template; it continues plain text");
    /* It could not be parsed when the model was opened: say why. */
    rc = slm_template_parse(own, model->file.chat_template, model->file.chat_template_length, a);
    *template = *own;
    return rc < 0 ? slm_fail_in(rc, "the model's chat template") : rc;
}

static int render(const slm_model *model, const slm_message *messages, size_t n,
                  const slm_chat_options *o, const char *function, struct slm_buf *text,
                  struct slm_buf *ranges)
{
    const struct slm_template *template = NULL;
    struct slm_template *own = NULL;
    struct slm_buf json = {.allocator = text->allocator};
    struct slm_json *variables = NULL;
    int rc = choose_template(model, o, function, &own, &template);
    if (rc == SLM_OK && ((!messages && n) || (messages && n && o->messages_json)))
        rc = slm_fail(SLM_EINVAL, "give the conversation either as messages or as messages_json");
    if (rc == SLM_OK)
        rc = write_variables(&json, model, messages, n, o);
    if (rc == SLM_OK)
        rc = slm_json_parse(&variables, (const char *)json.data, json.length, json.allocator);
    if (rc == SLM_OK)
        rc = slm_template_render(template, variables, text, ranges, text->allocator);
    slm_json_free(variables);
    slm_buf_free(&json);
    slm_template_free(own);
    return rc;
}

int64_t slm_chat_format(const slm_model *model, const slm_message *messages, size_t n,
                        const slm_chat_options *options, char *out, size_t cap)
{
    if (!out && cap)
        return slm_fail(SLM_EINVAL, "slm_chat_format: out is NULL");
    slm_chat_options o;
    int rc = slm_sized_read(&o, sizeof o, options, "slm_chat_options");
    if (rc < 0)
        return rc;
    struct slm_buf text = {.allocator = model ? model->allocator : NULL};
    struct slm_fenv env;
    slm_fenv_enter(&env);
    rc = render(model, messages, n, &o, "slm_chat_format", &text, NULL);
    slm_fenv_leave(&env);
    int64_t length = rc < 0 ? rc : hand_out(&text, out, cap);
    slm_buf_free(&text);
    return length;
}

int64_t slm_chat_tokenize(const slm_model *model, const slm_message *messages, size_t n,
                          const slm_chat_options *options, slm_token *out, size_t cap)
{
    int64_t rc = need_text(model, "slm_chat_tokenize");
    if (rc < 0)
        return rc;
    if (!out && cap)
        return slm_fail(SLM_EINVAL, "slm_chat_tokenize: out is NULL");
    slm_chat_options o;
    if ((rc = slm_sized_read(&o, sizeof o, options, "slm_chat_options")) < 0)
        return rc;
    struct slm_text with = model->text; /* what this template writes is markup, too */
    with.chat_template = o.template_source;
    with.n_template = o.template_source ? strlen(o.template_source) : 0;
    struct slm_buf text = {.allocator = model->allocator}, ranges = {.allocator = model->allocator};
    struct slm_fenv env;
    slm_fenv_enter(&env);
    rc = render(model, messages, n, &o, "slm_chat_tokenize", &text, &ranges);
    if (rc == SLM_OK)
        rc = slm_text_encode(&with, (const char *)text.data, text.length, SLM_TEXT_PARSE_SPECIAL,
                             (const struct slm_range *)(const void *)ranges.data,
                             ranges.length / sizeof(struct slm_range), out, cap, model->allocator);
    slm_fenv_leave(&env);
    slm_buf_free(&ranges);
    slm_buf_free(&text);
    return rc;
}
