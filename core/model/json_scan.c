/* The pull reader of JSON: one pass over bytes in memory, strings decoded in place (a decoded
 * string is never longer than its source). */
#include "model/json_scan.h"

#include <string.h>

void rz_scan_init(rz_scan *scan, char *text, size_t n)
{
    *scan = (rz_scan){.text = text, .n = n};
}

static bool wrong(rz_scan *scan, const char *problem)
{
    if (scan->problem == NULL)
        scan->problem = problem;
    return false;
}

static void skip_space(rz_scan *scan)
{
    while (scan->at < scan->n && memchr(" \t\r\n", scan->text[scan->at], 4) != NULL)
        scan->at++;
}

bool rz_scan_take(rz_scan *scan, char c)
{
    skip_space(scan);
    if (scan->problem != NULL || scan->at >= scan->n || scan->text[scan->at] != c)
        return false;
    scan->at++;
    return true;
}

bool rz_scan_expect(rz_scan *scan, char c)
{
    if (rz_scan_take(scan, c))
        return true;
    switch (c) {
    case '{':
        return wrong(scan, "'{' is expected");
    case '}':
        return wrong(scan, "',' or '}' is expected");
    case '[':
        return wrong(scan, "'[' is expected");
    case ']':
        return wrong(scan, "',' or ']' is expected");
    case ':':
        return wrong(scan, "':' is expected");
    default:
        return wrong(scan, "',' is expected");
    }
}

/* Length of the UTF-8 character at `s` of at most n bytes; 0 when it is none (overlong forms,
 * surrogates and code points past U+10FFFF are none). */
static size_t utf8_length(const unsigned char *s, size_t n)
{
    static const struct {
        unsigned char first, last, second_low, second_high, length;
    } forms[] = {
        {0x20, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (s[0] < forms[i].first || s[0] > forms[i].last)
            continue;
        if (forms[i].length > n)
            return 0;
        if (forms[i].length > 1 && (s[1] < forms[i].second_low || s[1] > forms[i].second_high))
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if (s[k] < 0x80 || s[k] > 0xbf)
                return 0;
        return forms[i].length;
    }
    return 0;
}

static bool hex4(const char *s, uint32_t *out)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdefABCDEF", *found = strchr(digits, s[i]);
        if (s[i] == '\0' || found == NULL)
            return false;
        uint32_t digit = (uint32_t)(found - digits);
        value = value << 4 | (digit < 16 ? digit : digit - 6);
    }
    *out = value;
    return true;
}

static size_t utf8_write(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* The escape whose backslash is at `at`; moves behind it. Six bytes become at most three, twelve
 * four, so writing over the source is safe. */
static bool escape(rz_scan *scan, size_t *written, char *out)
{
    static const char from[] = "\"\\/", to[] = "\"\\/";
    if (scan->n - scan->at < 2)
        return wrong(scan, "a string does not end");
    char c = scan->text[scan->at + 1];
    const char *simple = c != '\0' ? strchr(from, c) : NULL;
    if (simple != NULL) {
        *out = to[simple - from];
        *written = 1;
        scan->at += 2;
        return true;
    }
    uint32_t high, low;
    if (c != 'u' || scan->n - scan->at < 6 || !hex4(scan->text + scan->at + 2, &high))
        return wrong(scan, "a string holds an escape that is not allowed here");
    scan->at += 6;
    if (high >= 0xd800 && high < 0xdc00) {
        if (scan->n - scan->at < 6 || scan->text[scan->at] != '\\' ||
            scan->text[scan->at + 1] != 'u' || !hex4(scan->text + scan->at + 2, &low) ||
            low < 0xdc00 || low > 0xdfff)
            return wrong(scan, "a string holds half a surrogate pair");
        scan->at += 6;
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    } else if (high >= 0xdc00 && high < 0xe000) {
        return wrong(scan, "a string holds half a surrogate pair");
    }
    if (high < 0x20)
        return wrong(scan, "a string holds a control character");
    *written = utf8_write(high, out);
    return true;
}

bool rz_scan_string(rz_scan *scan, const char **out, size_t *n)
{
    if (!rz_scan_take(scan, '"'))
        return wrong(scan, "a string is expected");
    char *start = scan->text + scan->at, *end = start;
    while (scan->at < scan->n && scan->text[scan->at] != '"') {
        size_t written = 0;
        if (scan->text[scan->at] == '\\') {
            if (!escape(scan, &written, end))
                return false;
        } else {
            written = utf8_length((const unsigned char *)scan->text + scan->at, scan->n - scan->at);
            if (written == 0)
                return wrong(scan, "a string holds a control character or is not UTF-8");
            memmove(end, scan->text + scan->at, written);
            scan->at += written;
        }
        end += written;
    }
    if (scan->at >= scan->n)
        return wrong(scan, "a string does not end");
    scan->at++;
    *end = '\0';
    *out = start;
    if (n != NULL)
        *n = (size_t)(end - start);
    return true;
}

bool rz_scan_unsigned(rz_scan *scan, uint64_t max, uint64_t *out)
{
    skip_space(scan);
    size_t first = scan->at;
    uint64_t value = 0;
    if (scan->problem != NULL)
        return false;
    while (scan->at < scan->n && scan->text[scan->at] >= '0' && scan->text[scan->at] <= '9') {
        uint64_t digit = (uint64_t)(scan->text[scan->at] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return wrong(scan, "a number is too large");
        value = value * 10 + digit;
        scan->at++;
    }
    if (scan->at == first || (scan->at - first > 1 && scan->text[first] == '0') ||
        (scan->at < scan->n && memchr(".eE", scan->text[scan->at], 3) != NULL))
        return wrong(scan, "a whole number without sign is expected");
    if (value > max)
        return wrong(scan, "a number is too large");
    *out = value;
    return true;
}

bool rz_scan_key(rz_scan *scan, const char **out)
{
    return rz_scan_string(scan, out, NULL) && rz_scan_expect(scan, ':');
}

bool rz_scan_end(rz_scan *scan)
{
    skip_space(scan);
    return (scan->problem == NULL && scan->at == scan->n) ||
           wrong(scan, "more follows where the end is expected");
}

rz_status rz_scan_quote(rz_buffer *out, const char *text)
{
    size_t n = strlen(text);
    rz_status status = rz_buffer_add(out, "\"", 1);
    for (size_t at = 0, length; at < n && status == RZ_OK; at += length) {
        length = utf8_length((const unsigned char *)text + at, n - at);
        if (length == 0)
            return RZ_E_INVALID;
        if (text[at] == '"' || text[at] == '\\')
            status = rz_buffer_add(out, "\\", 1);
        if (status == RZ_OK)
            status = rz_buffer_add(out, text + at, length);
    }
    return status == RZ_OK ? rz_buffer_add(out, "\"", 1) : status;
}
