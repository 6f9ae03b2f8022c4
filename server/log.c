/* Lines are built whole and written with one call, so that threads do not mix them. */
#include "log.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t time_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

char *time_text(int64_t us, char out[TIME_TEXT])
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm parts = {0};
    (void)gmtime_r(&seconds, &parts);
    size_t n = strftime(out, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(out + n, TIME_TEXT - n, ".%06dZ", (int)(us % 1000000));
    return out;
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
        ssize_t written = write(STDERR_FILENO, text, n + 1);
        (void)written; /* a log that cannot be written has nowhere to say so */
    }
    free(text);
    json_decref(line);
}
