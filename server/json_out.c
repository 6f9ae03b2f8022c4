/* Values and the commas between them. */
#include "json_out.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Most pieces are a few bytes that fit in the room there is. */
static void add(json_out *o, const char *bytes, size_t n)
{
    rz_buffer *to = o->to;
    if (o->status != RZ_OK)
        return;
    if (to->length + n < to->capacity && to->length + n <= to->limit) {
        memcpy(to->data + to->length, bytes, n);
        to->length += n;
        to->data[to->length] = '\0';
    } else {
        o->status = rz_buffer_add(to, bytes, n);
    }
}

static void separate(json_out *o)
{
    if (o->comma)
        add(o, ",", 1);
    o->comma = true;
}

void json_out_open(json_out *o, char bracket)
{
    separate(o);
    add(o, &bracket, 1);
    o->comma = false;
}

void json_out_close(json_out *o, char bracket)
{
    add(o, &bracket, 1);
    o->comma = true;
}

/* In one piece, for an answer has hundreds of names. */
void json_out_name(json_out *o, const char *name)
{
    char text[64];
    size_t n = strlen(name), at = 0;
    if (n > sizeof text - 4) {
        separate(o);
        o->comma = false;
        json_out_text(o, name);
        add(o, ":", 1);
    } else {
        if (o->comma)
            text[at++] = ',';
        text[at++] = '"';
        memcpy(text + at, name, n);
        memcpy(text + at + n, "\":", 2);
        add(o, text, at + n + 2);
    }
    o->comma = false;
}

/* Bytes of the UTF-8 sequence that begins here; 0 when it is none. */
static size_t sequence(const unsigned char *p)
{
    size_t n = p[0] < 0x80                    ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0  ? 2
               : p[0] >= 0xe0 && p[0] < 0xf0  ? 3
               : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                              : 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

static void escape(json_out *o, unsigned char c)
{
    static const char shorts[][3] = {"\"\"", "\\\\", "\bb", "\ff", "\nn", "\rr", "\tt"};
    char text[8];
    for (size_t i = 0; i < sizeof shorts / sizeof shorts[0]; i++) {
        if ((unsigned char)shorts[i][0] != c)
            continue;
        add(o, "\\", 1);
        add(o, &shorts[i][1], 1);
        return;
    }
    (void)snprintf(text, sizeof text, "\\u%04X", c);
    add(o, text, 6);
}

void json_out_text(json_out *o, const char *text)
{
    separate(o);
    if (text == NULL) {
        add(o, "null", 4);
        return;
    }
    add(o, "\"", 1);
    const unsigned char *plain = (const unsigned char *)text, *p = plain;
    while (*p != '\0') {
        if (*p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\') {
            p++;
            continue;
        }
        size_t n = *p < 0x80 ? 0 : sequence(p);
        if (n > 0) {
            p += n;
            continue;
        }
        add(o, (const char *)plain, (size_t)(p - plain));
        if (*p < 0x80)
            escape(o, *p);
        else
            add(o, "\xef\xbf\xbd", 3);
        plain = ++p;
    }
    add(o, (const char *)plain, (size_t)(p - plain));
    add(o, "\"", 1);
}

void json_out_int(json_out *o, int64_t value)
{
    char digits[24], *p = digits + sizeof digits;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    separate(o);
    do
        *--p = (char)('0' + left % 10);
    while ((left /= 10) > 0);
    if (value < 0)
        *--p = '-';
    add(o, p, (size_t)(digits + sizeof digits - p));
}

/* "%.6g" that shows it is no integer, with the exponent as short as it goes. */
void json_out_real(json_out *o, double value)
{
    char text[32];
    separate(o);
    if (!isfinite(value)) {
        add(o, "null", 4);
        return;
    }
    size_t n = (size_t)snprintf(text, sizeof text, "%.6g", value);
    char *exponent = strchr(text, 'e');
    if (exponent == NULL && strchr(text, '.') == NULL) {
        memcpy(text + n, ".0", 3);
        n += 2;
    }
    if (exponent != NULL) {
        char *from = exponent + 1, *to = from;
        if (*from == '-')
            to++;
        from++; /* the sign is always there */
        from += strspn(from, "0");
        n = strlen(from);
        memmove(to, from, n);
        n += (size_t)(to - text);
    }
    add(o, text, n);
}

void json_out_raw(json_out *o, const char *json)
{
    separate(o);
    add(o, json, strlen(json));
}

void json_out_member_text(json_out *o, const char *name, const char *text)
{
    json_out_name(o, name);
    json_out_text(o, text);
}

void json_out_member_int(json_out *o, const char *name, int64_t value)
{
    json_out_name(o, name);
    json_out_int(o, value);
}

void json_out_member_real(json_out *o, const char *name, double value)
{
    json_out_name(o, name);
    json_out_real(o, value);
}
