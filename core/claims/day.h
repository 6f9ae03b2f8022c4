/* Days: the only unit of time in a history. A day is a count since 1970-01-01 in the proleptic
 * Gregorian calendar, without time zone; years 1800 to 2400 are accepted. */
#ifndef RZ_CLAIMS_DAY_H
#define RZ_CLAIMS_DAY_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RZ_DAY_NONE INT32_MIN /* unknown */
#define RZ_DAY_MIN  (-62091)  /* 1800-01-01 */
#define RZ_DAY_MAX  157419    /* 2400-12-31 */

enum { RZ_DAY_TEXT = 11 }; /* "2024-05-01" and NUL */

int32_t rz_day_from_civil(int year, int month, int day); /* the date must exist */
void rz_day_to_civil(int32_t day, int *year, int *month, int *day_of_month);

/* Parses exactly YYYY-MM-DD; false when the text is no date or the date does not exist. */
bool rz_day_parse(const char *text, int32_t *out);
/* The same with a length, also accepting YYYYMMDD and a time after 'T' or ' ', which is dropped. */
bool rz_day_parse_loose(const char *text, size_t n, int32_t *out);
/* Writes YYYY-MM-DD, or "" for RZ_DAY_NONE; returns `out`. */
char *rz_day_text(int32_t day, char out[RZ_DAY_TEXT]);

/* Today in UTC by the system's clock. */
int32_t rz_day_today(void);
/* Whole years between two days, by the calendar. */
int rz_day_years_between(int32_t birth_day, int32_t day);

#endif
