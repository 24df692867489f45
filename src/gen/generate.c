/*
 * generate.c - see generate.h: evaluate, choose, report, until something ends it.
 *
 * Text takes two steps before it goes out: the decoder holds back the beginning of a character, the
 * stop search what may be the beginning of a stop text. Every token is reported once, with the text
 * that is free by then; what is still held at the end comes in a last piece without a token. Half a
 * character comes out (as U+FFFD) only if the model ended there: where a limit or an interrupt cut
 * it, who goes on gets the whole character, and who does not has lost nothing readable.
 */
#include "gen/generate.h"

#include "gen/stop.h"

struct loop {
    const struct slm_generation *what;
    struct slm_decoder decoder;
    struct slm_buf decoded; /* text of the present token */
    struct slm_stop *stop;
    size_t n_generated;
};

/* Append tokens to the sequence and get the logits after the last of them. */
static int evaluate(struct loop *loop, const slm_token *tokens, size_t n, const float **logits)
{
    slm_span span = {
        .size = sizeof span, .seq = loop->what->seq, .tokens = tokens, .n = n, .n_logits = 1};
    int code = slm_eval(loop->what->ctx, &span, 1);
    if (code < 0)
        return code;
    *logits = slm_logits(loop->what->ctx, 0, 0);
    return SLM_OK;
}

/* Nonzero when the callback wants to stop. */
static int deliver(struct loop *loop, const slm_piece *piece)
{
    return loop->what->on_piece ? loop->what->on_piece(loop->what->user, piece) : 0;
}

/* Decode one token and look for stop texts: piece->text and n get what is free to go out.
 * Returns 1 when a stop text is complete, 0, or an error. */
static int token_text(struct loop *loop, slm_token token, bool ends, slm_piece *piece)
{
    loop->decoded.length = 0;
    /* A token that ends the answer is no part of its text, whatever the vocabulary calls it. */
    if (loop->what->text && (!ends || loop->what->options.show_special)) {
        int code = slm_decoder_push(&loop->decoder, token, &loop->decoded);
        if (code < 0)
            return code;
    }
    return slm_stop_push(loop->stop, (const char *)loop->decoded.data, loop->decoded.length,
                         &piece->text, &piece->n);
}

/* Report a token that was chosen. Returns 0 to go on, an slm_finish, or an error. */
static int report(struct loop *loop, const slm_choice *choice, const float *logits)
{
    const slm_generate_options *options = &loop->what->options;
    slm_piece piece = {
        .size = sizeof piece,
        .token = choice->token,
        .logprob = choice->logprob,
        .entropy = choice->entropy,
        .logits = logits,
    };
    bool ends = !options->ignore_stop_tokens && loop->what->text &&
                slm_text_is_stop(loop->what->text, choice->token);
    int hit = token_text(loop, choice->token, ends, &piece);
    if (hit < 0)
        return hit;
    loop->n_generated++;
    if (deliver(loop, &piece))
        return SLM_FINISH_CALLBACK;
    if (hit)
        return SLM_FINISH_TEXT;
    if (ends)
        return SLM_FINISH_STOP;
    if (options->max_tokens > 0 && loop->n_generated >= options->max_tokens)
        return SLM_FINISH_LENGTH;
    return 0;
}

/* The loop itself. Returns an slm_finish or an error. */
static int run(struct loop *loop, const slm_token *tokens, size_t n)
{
    const float *logits;
    int code = evaluate(loop, tokens, n, &logits);
    while (code == SLM_OK) {
        slm_choice choice = {.size = sizeof choice};
        code = slm_sample(loop->what->sampler, logits, &choice);
        if (code == SLM_OK)
            code = report(loop, &choice, logits);
        if (code != SLM_OK)
            return code;
        code = evaluate(loop, &choice.token, 1, &logits);
        if (code == SLM_ELIMIT) /* the prompt did fit, so this is no mistake of the caller */
            return SLM_FINISH_CONTEXT;
    }
    return code;
}

/* The end: what the stop search holds goes out, without a token, and what the decoder holds if the
 * model ended there. Returns an slm_finish when that ends the answer in another way, SLM_OK, or an
 * error. */
static int flush(struct loop *loop, bool model_ended)
{
    slm_piece piece = {.size = sizeof piece, .token = SLM_TOKEN_NONE};
    loop->decoded.length = 0;
    if (loop->what->text && model_ended) {
        int code = slm_decoder_finish(&loop->decoder, &loop->decoded);
        if (code < 0)
            return code;
    }
    const char *text = (const char *)loop->decoded.data;
    int hit = slm_stop_push(loop->stop, text, loop->decoded.length, &piece.text, &piece.n);
    if (hit < 0)
        return hit;
    if (piece.n > 0 && deliver(loop, &piece))
        return SLM_FINISH_CALLBACK;
    if (hit)
        return SLM_FINISH_TEXT;
    slm_stop_finish(loop->stop, &piece.text, &piece.n);
    return piece.n > 0 && deliver(loop, &piece) ? SLM_FINISH_CALLBACK : SLM_OK;
}

static int run_and_flush(struct loop *loop, const slm_token *tokens, size_t n)
{
    int code = run(loop, tokens, n);
    /* After a stop text the rest is not part of the answer, and a callback that asked to stop is
     * not called again. Everything else, an interrupt too, leaves nothing behind. */
    if (code != SLM_FINISH_TEXT && code != SLM_FINISH_CALLBACK) {
        int flushed = flush(loop, code == SLM_FINISH_STOP);
        if (code > 0 && flushed != SLM_OK)
            code = flushed;
    }
    return code;
}

/* Let the decoder see what comes before the answer: a space after it is not at the start of a text,
 * and a character that the prompt begins may end in the answer. */
static int prime_decoder(struct loop *loop, const slm_token *tokens, size_t n)
{
    const struct slm_generation *what = loop->what;
    if (!what->text)
        return SLM_OK;
    slm_decoder_init(&loop->decoder, what->text,
                     what->options.show_special ? SLM_TEXT_SHOW_SPECIAL : 0);
    if (slm_seq_length(what->seq) > 0)
        loop->decoder.at_start = false;
    int code = SLM_OK;
    for (size_t i = 0; i < n && code == SLM_OK; i++) {
        loop->decoded.length = 0;
        code = slm_decoder_push(&loop->decoder, tokens[i], &loop->decoded);
    }
    return code;
}

int slm_generate_run(const struct slm_generation *what, const slm_token *tokens, size_t n)
{
    struct loop loop = {.what = what, .decoded = {.allocator = what->allocator}};
    int code = slm_stop_new(&loop.stop, what->options.stop, what->options.n_stop, what->allocator);
    if (code == SLM_OK)
        code = prime_decoder(&loop, tokens, n);
    if (code == SLM_OK)
        code = run_and_flush(&loop, tokens, n);
    slm_stop_free(loop.stop);
    slm_buf_free(&loop.decoded);
    return code;
}
