/* The log: one JSON object a line on standard error. No patient id, no code and no body ever goes
 * in; routes are logged as their patterns. */
#ifndef REZEPTD_LOG_H
#define REZEPTD_LOG_H

/* level   "info", "warning", "error"
 * event   a short name: "started", "request", "model_failed"
 * format  jansson's pack format of an object ("{s:s, s:i}") and its arguments, or NULL */
void log_event(const char *level, const char *event, const char *format, ...);

/* The line "request" of a request that is over; it is written for every one, so it takes no detour.
 * level  "info", "warning" */
struct request;
void log_request(const char *level, const struct request *r, double seconds);

/* Microseconds since 1970 by the system's clock, and as "2024-05-01T12:00:00.000000Z". */
#include <stdint.h>
enum { TIME_TEXT = 28 };
int64_t time_now_us(void);
char *time_text(int64_t us, char out[TIME_TEXT]);

#endif
