/* Risks as people read them: one row a task, per cent with the interval, or why there is none. */
#ifndef REZEPT_CLIENT_RISK_TABLE_H
#define REZEPT_CLIENT_RISK_TABLE_H

#include "base/status.h"

#include <jansson.h>
#include <stdio.h>

/* "12.3 %", or "" for null. */
const char *risk_percent(const json_t *value, char cell[32]);
/* "already recorded (N18.9 on 2024-02-01)"; "" when there is a risk. */
const char *risk_reason(const json_t *risk, char cell[128]);

/* risks  the array "risks" of the server's answers */
RZ_MUST_CHECK rz_status risk_table_print(const json_t *risks, FILE *out, rz_error *error);

#endif
