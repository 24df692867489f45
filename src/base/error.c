/*
 * error.c - the calling thread's last message, and the names of the codes.
 *
 * The text lives in thread-local storage: there is no lock, and a message can't be overwritten by
 * another thread. It is cut, never overrun.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 1024 };

static _Thread_local char message[MESSAGE_SIZE];

/* A cut message ends in whole UTF-8: host programs put it into JSON and logs. */
static void trim(char *text, int written)
{
    if (written < MESSAGE_SIZE)
        return;
    size_t n = MESSAGE_SIZE - 1;
    while (n > 0 && ((unsigned char)text[n - 1] & 0xC0) == 0x80)
        n--;
    if (n > 0 && (unsigned char)text[n - 1] >= 0xC0)
        n--;
    else
        n = MESSAGE_SIZE - 1;
    text[n] = '\0';
}

int slm_fail(int code, const char *format, ...)
{
    char text[MESSAGE_SIZE]; /* arguments may point into message itself */
    va_list args;
    va_start(args, format);
    trim(text, vsnprintf(text, sizeof text, format, args));
    va_end(args);
    memcpy(message, text, sizeof message);
    return code;
}

int slm_fail_in(int code, const char *format, ...)
{
    char text[MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n >= 0 && n < MESSAGE_SIZE)
        n += snprintf(text + n, sizeof text - (size_t)n, ": %s", message);
    trim(text, n);
    memcpy(message, text, sizeof message);
    return code;
}

const char *slm_error_message(void)
{
    return message;
}

const char *slm_error_name(int code)
{
    switch (code) {
    case SLM_OK: return "success";
    case SLM_EINVAL: return "invalid argument";
    case SLM_ENOMEM: return "out of memory";
    case SLM_EIO: return "input or output failed";
    case SLM_EFORMAT: return "damaged or malformed file";
    case SLM_EVERSION: return "file of another version";
    case SLM_ELIMIT: return "limit exceeded";
    case SLM_ENOSPACE: return "no free page in the context";
    case SLM_ESTATE: return "not possible in this state";
    case SLM_EINTR: return "interrupted";
    case SLM_EUNSUPPORTED: return "not supported";
    }
    return code > 0 ? "success" : "unknown error";
}
