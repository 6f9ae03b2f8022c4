/* Lines are built whole and written with one call, so that threads do not mix them. */
#include "log.h"

#include "json_out.h"
#include "request.h"
#include "route.h"

#include "claims/day.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 1024 /* of a request; its parts are bounded far below */ };

int64_t time_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static char *digits(char *to, int n, int value)
{
    for (int i = n; i-- > 0; value /= 10)
        to[i] = (char)('0' + value % 10);
    return to + n;
}

char *time_text(int64_t us, char out[TIME_TEXT])
{
    int64_t seconds = us / 1000000;
    char *to = out + strlen(rz_day_text((int32_t)(seconds / 86400), out));
    int second = (int)(seconds % 86400);
    *to++ = 'T';
    to = digits(to, 2, second / 3600);
    *to++ = ':';
    to = digits(to, 2, second / 60 % 60);
    *to++ = ':';
    to = digits(to, 2, second % 60);
    *to++ = '.';
    to = digits(to, 6, (int)(us % 1000000));
    memcpy(to, "Z", 2);
    return out;
}

static void put(const char *line, size_t n)
{
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written; /* a log that cannot be written has nowhere to say so */
}

void log_event(const char *level, const char *event, const char *format, ...)
{
    char now[TIME_TEXT];
    json_t *line = json_pack("{s:s, s:s, s:s}", "time", time_text(time_now_us(), now), "level",
                             level, "event", event);
    if (line != NULL && format != NULL) {
        va_list args;
        va_start(args, format);
        json_t *more = json_vpack_ex(NULL, 0, format, args);
        va_end(args);
        if (more == NULL)
            more = json_pack("{s:s}", "log", "some details could not be written");
        (void)json_object_update(line, more);
        json_decref(more);
    }
    char *text = line != NULL ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    size_t n = text != NULL ? strlen(text) : 0;
    if (text != NULL) {
        text[n] = '\n'; /* over the NUL: written with its length */
        put(text, n + 1);
    }
    free(text);
    json_decref(line);
}

static const char *or_dash(const char *text)
{
    return text[0] != '\0' ? text : "-";
}

/* Milliseconds with three places: printing a double would be the dearest part of the line. */
static const char *ms_text(double seconds, char out[32])
{
    long long us = (long long)(seconds * 1e6), ms = us / 1000;
    char *end = out + 31, *p = end - 4;
    *end = '\0';
    *p = '.';
    (void)digits(p + 1, 3, (int)(us % 1000));
    do
        *--p = (char)('0' + ms % 10);
    while ((ms /= 10) > 0);
    return p;
}

void log_request(const char *level, const request *r, double seconds)
{
    char now[TIME_TEXT], ms[32], memory[LINE_BYTES_MAX];
    rz_buffer line;
    json_out out = {.to = &line};
    rz_buffer_init_in(&line, memory, sizeof memory);
    json_out_open(&out, '{');
    json_out_member_text(&out, "time", time_text(time_now_us(), now));
    json_out_member_text(&out, "level", level);
    json_out_member_text(&out, "event", "request");
    json_out_member_text(&out, "request_id", r->id);
    json_out_member_text(&out, "method", or_dash(r->method));
    json_out_member_text(&out, "route", r->route != NULL ? r->route->pattern : "-");
    json_out_member_int(&out, "status", r->answer.status);
    json_out_name(&out, "ms");
    json_out_raw(&out, ms_text(seconds, ms));
    json_out_member_int(&out, "body_bytes", (int64_t)r->body.length);
    json_out_member_text(&out, "caller", or_dash(r->caller));
    json_out_close(&out, '}');
    if (out.status == RZ_OK && rz_buffer_add(&line, "\n", 1) == RZ_OK)
        put(line.data, line.length);
    rz_buffer_done(&line);
}
