/*
 * stop.c - see stop.h. One Knuth-Morris-Pratt automaton a text.
 *
 * Its state is the length of the longest end of the text so far that is a beginning of the stop
 * text. So the greatest state of all is how many bytes must be held back, and a state that is the
 * whole length is a hit: linear time for any texts.
 */
#include "gen/stop.h"

#include "base/utf8.h"

#include <string.h>

struct pattern {
    const char *text;     /* [length] */
    const size_t *border; /* [length] longest proper end of text[0..i] that is a beginning too */
    size_t length;
    size_t state;
};

struct slm_stop {
    const slm_allocator *allocator;
    size_t bytes; /* of this block */
    struct pattern *patterns;
    size_t n_patterns;
    struct slm_buf text; /* released bytes of the last push, then what is held */
    size_t n_released;
};

static int check_texts(const char *const *texts, size_t n)
{
    if (n > 0 && !texts)
        return slm_fail(SLM_EINVAL, "n_stop is %zu, but stop is NULL", n);
    for (size_t i = 0; i < n; i++) {
        if (!texts[i] || !*texts[i])
            return slm_fail(SLM_EINVAL, "stop[%zu] is %s; a stop text needs a character", i,
                            texts[i] ? "empty" : "NULL");
        size_t length = strlen(texts[i]);
        for (size_t at = 0; at < length;) {
            uint32_t c;
            size_t step = slm_utf8_decode(texts[i] + at, length - at, &c);
            if (step == 0)
                return slm_fail(SLM_EINVAL, "stop[%zu] is not UTF-8 at byte %zu", i, at);
            at += step;
        }
    }
    return SLM_OK;
}

/* border[i] for every beginning of the text, each from the ones before it. */
static void fill_borders(const char *text, size_t length, size_t *border)
{
    border[0] = 0;
    for (size_t i = 1; i < length; i++) {
        size_t k = border[i - 1];
        while (k > 0 && text[i] != text[k])
            k = border[k - 1];
        border[i] = text[i] == text[k] ? k + 1 : 0;
    }
}

/* Run twice: for the size, then for the pointers. */
static struct slm_stop *lay_out(struct slm_arena *arena, const char *const *texts, size_t n)
{
    struct slm_stop *stop = slm_arena_take(arena, 1, sizeof *stop);
    struct pattern *patterns = slm_arena_take(arena, n, sizeof *patterns);
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(texts[i]);
        char *text = slm_arena_take(arena, length, 1);
        size_t *border = slm_arena_take(arena, length, sizeof *border);
        if (!stop)
            continue;
        memcpy(text, texts[i], length);
        fill_borders(text, length, border);
        patterns[i] = (struct pattern){.text = text, .border = border, .length = length};
    }
    if (stop)
        *stop = (struct slm_stop){.patterns = patterns, .n_patterns = n};
    return stop;
}

int slm_stop_new(struct slm_stop **out, const char *const *texts, size_t n, const slm_allocator *a)
{
    *out = NULL;
    int code = check_texts(texts, n);
    if (code < 0)
        return code;
    struct slm_arena arena = {0};
    lay_out(&arena, texts, n);
    if (arena.overflow)
        return slm_fail(SLM_ENOMEM, "the stop texts do not fit the address space");
    arena.base = slm_alloc(a, arena.used);
    if (!arena.base)
        return SLM_ENOMEM;
    arena.capacity = arena.used;
    arena.used = 0;
    struct slm_stop *stop = lay_out(&arena, texts, n);
    stop->allocator = a;
    stop->bytes = arena.used;
    stop->text.allocator = a;
    *out = stop;
    return SLM_OK;
}

void slm_stop_free(struct slm_stop *stop)
{
    if (!stop)
        return;
    slm_buf_free(&stop->text);
    slm_free(stop->allocator, stop, stop->bytes);
}

/* One more byte for one text. True when it is complete. */
static bool advance(struct pattern *p, char byte)
{
    while (p->state > 0 && p->text[p->state] != byte)
        p->state = p->border[p->state - 1];
    if (p->text[p->state] == byte)
        p->state++;
    return p->state == p->length;
}

/* The length of the stop text that ends with this byte, or 0; *held gets the greatest state. */
static size_t advance_all(struct slm_stop *stop, char byte, size_t *held)
{
    size_t hit = 0;
    *held = 0;
    for (size_t i = 0; i < stop->n_patterns; i++) {
        struct pattern *p = &stop->patterns[i];
        if (advance(p, byte) && p->length > hit)
            hit = p->length;
        if (p->state > *held)
            *held = p->state;
    }
    return hit;
}

static void reset_states(struct slm_stop *stop)
{
    for (size_t i = 0; i < stop->n_patterns; i++)
        stop->patterns[i].state = 0;
}

/* Throw away what the last push released. */
static void drop_released(struct slm_stop *stop)
{
    struct slm_buf *b = &stop->text;
    if (stop->n_released > 0)
        memmove(b->data, b->data + stop->n_released, b->length - stop->n_released);
    b->length -= stop->n_released;
    stop->n_released = 0;
}

int slm_stop_push(struct slm_stop *stop, const char *text, size_t n, const char **released,
                  size_t *n_released)
{
    drop_released(stop);
    size_t start = stop->text.length, held = start, hit = 0;
    slm_buf_append(&stop->text, text, n);
    int code = slm_buf_ok(&stop->text);
    if (code < 0)
        return code;

    size_t end = start;
    while (end < stop->text.length && hit == 0)
        hit = advance_all(stop, (char)stop->text.data[end++], &held);
    if (hit > 0) {
        stop->n_released = end - hit;
        stop->text.length = end - hit;
        reset_states(stop);
    } else {
        stop->n_released = stop->text.length - held;
    }
    *released = (const char *)stop->text.data;
    *n_released = stop->n_released;
    return hit > 0;
}

void slm_stop_finish(struct slm_stop *stop, const char **released, size_t *n_released)
{
    drop_released(stop);
    stop->n_released = stop->text.length;
    reset_states(stop);
    *released = (const char *)stop->text.data;
    *n_released = stop->n_released;
}
