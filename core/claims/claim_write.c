/* Writing the native claim: keys in the order of the format, no spaces, the shortest number that
 * reads back the same. Written by hand because the simulator and the tests write millions. */
#include "claims/claim_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Collects the first failure so that the writing below reads as the format does. */
typedef struct writer {
    rz_buffer *out;
    rz_status status;
} writer;

static void put(writer *w, const char *text, size_t n)
{
    if (w->status == RZ_OK)
        w->status = rz_buffer_add(w->out, text, n);
}

static void put_text(writer *w, const char *text)
{
    put(w, text, strlen(text));
}

/* A string with its quotation marks; bytes above 0x7F are UTF-8 already and stay. */
static void put_string(writer *w, const char *text)
{
    put(w, "\"", 1);
    const char *from = text;
    for (;; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        put(w, from, (size_t)(text - from));
        if (c == '\0')
            break;
        char escape[8];
        int n = c >= 0x20 ? snprintf(escape, sizeof escape, "\\%c", c)
                          : snprintf(escape, sizeof escape, "\\u%04x", c);
        put(w, escape, (size_t)n);
        from = text + 1;
    }
    put(w, "\"", 1);
}

static void put_day(writer *w, const char *key, int32_t day)
{
    char text[RZ_DAY_TEXT];
    put_text(w, key);
    put(w, "\"", 1);
    put_text(w, rz_day_text(day, text));
    put(w, "\"", 1);
}

static void put_number(writer *w, double value)
{
    char text[40];
    if (fabs(value) < 1e15 && value == trunc(value)) {
        (void)snprintf(text, sizeof text, "%lld", (long long)value);
    } else {
        for (int digits = 15; digits <= 17; digits++) {
            (void)snprintf(text, sizeof text, "%.*g", digits, value);
            if (strtod(text, NULL) == value)
                break;
        }
        /* Some locales write a comma; JSON never does. */
        for (char *c = text; *c != '\0'; c++)
            if (strchr("0123456789+-e", *c) == NULL)
                *c = '.';
    }
    put_text(w, text);
}

static void put_event(writer *w, const rz_event *event)
{
    put_text(w, "{\"system\":\"");
    put_text(w, rz_code_system_name(event->system));
    put_text(w, "\",\"code\":");
    put_string(w, event->code);
    put_day(w, ",\"date\":", event->day);
    if (event->kind == RZ_KIND_DIAGNOSIS)
        put_text(w, (event->flags & RZ_EVENT_SUSPECTED) != 0 ? ",\"suspected\":true"
                                                             : ",\"suspected\":false");
    if (event->kind == RZ_KIND_MEDICATION && isfinite(event->value)) {
        put_text(w, ",\"days\":");
        put_number(w, event->value);
    }
    if (event->kind == RZ_KIND_LAB && isfinite(event->value)) {
        put_text(w, ",\"value\":");
        put_number(w, event->value);
    }
    if (event->kind == RZ_KIND_LAB && event->unit != NULL) {
        put_text(w, ",\"unit\":");
        put_string(w, event->unit);
    }
    put(w, "}", 1);
}

static void put_events(writer *w, const rz_claim *claim, rz_kind kind, const char *name)
{
    bool first = true;
    put_text(w, ",\"");
    put_text(w, name);
    put_text(w, "\":[");
    for (size_t i = 0; i < claim->n_events; i++) {
        if (claim->events[i].kind != kind)
            continue;
        if (!first)
            put(w, ",", 1);
        put_event(w, &claim->events[i]);
        first = false;
    }
    put(w, "]", 1);
}

rz_status rz_claim_to_json(const rz_claim *claim, rz_buffer *out, rz_error *error)
{
    writer w = {.out = out};
    put_text(&w, "{\"claim_id\":");
    put_string(&w, claim->claim_id);
    put_text(&w, ",\"facility\":");
    put_string(&w, claim->facility);
    put_text(&w, ",\"patient\":{\"id\":");
    put_string(&w, claim->patient_id);
    put_text(&w, ",\"sex\":\"");
    put_text(&w, rz_sex_name(claim->sex));
    put_text(&w, "\"");
    if (claim->birth_day != RZ_DAY_NONE)
        put_day(&w, ",\"birth_date\":", claim->birth_day);
    put_text(&w, "},\"setting\":\"");
    put_text(&w, rz_setting_name(claim->setting));
    put_text(&w, "\"");
    put_day(&w, ",\"start\":", claim->start_day);
    put_day(&w, ",\"end\":", claim->end_day);
    put_day(&w, ",\"known\":", claim->known_day);
    put_events(&w, claim, RZ_KIND_DIAGNOSIS, "diagnoses");
    put_events(&w, claim, RZ_KIND_MEDICATION, "medications");
    put_events(&w, claim, RZ_KIND_PROCEDURE, "procedures");
    put_events(&w, claim, RZ_KIND_LAB, "labs");
    for (size_t i = 0; i < claim->n_events; i++) {
        if (claim->events[i].kind == RZ_KIND_DEATH) {
            put_day(&w, ",\"death\":", claim->events[i].day);
            break;
        }
    }
    put(&w, "}", 1);
    if (w.status == RZ_OK)
        return RZ_OK;
    return rz_fail(error, w.status, "a claim of %zu events does not fit into %zu bytes",
                   claim->n_events, out->limit);
}
