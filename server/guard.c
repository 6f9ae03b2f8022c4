/* Each rule has its reason: two readers of one connection (a proxy and we) that disagree about
 * where a request ends let one client's request be read as another's. */
#include "guard.h"

#include "base/size.h"

#include <string.h>
#include <strings.h>

static bool is_token(const char *text, size_t n)
{
    static const char extra[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && (c == 0 || strchr(extra, c) == NULL))
            return false;
    }
    return n > 0;
}

static bool is_name(const char *name, size_t n, const char *wanted)
{
    return n == strlen(wanted) && strncasecmp(name, wanted, n) == 0;
}

static void read_length(guard *g, const char *value, size_t n)
{
    uint64_t length = 0;
    g->content_lengths++;
    if (n == 0 || n > 18)
        g->bad_length = true;
    for (size_t i = 0; i < n && !g->bad_length; i++) {
        if (value[i] < '0' || value[i] > '9')
            g->bad_length = true;
        length = length * 10 + (uint64_t)(value[i] - '0');
    }
    g->content_length = length;
    g->has_body = g->has_body || length > 0;
}

static void copy(char *out, size_t cap, const char *value, size_t n)
{
    /* What does not fit is replaced by something that no rule accepts. */
    if (n >= cap) {
        value = "?";
        n = 1;
    }
    memcpy(out, value, n);
    out[n] = '\0';
}

void guard_header(guard *g, const char *name, size_t name_n, const char *value, size_t value_n)
{
    g->bytes += name_n + value_n + 4;
    if (!is_token(name, name_n))
        g->bad_name = true;
    for (size_t i = 0; i < value_n; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            g->bad_value = true;
    }
    if (is_name(name, name_n, "Content-Length")) {
        read_length(g, value, value_n);
    } else if (is_name(name, name_n, "Transfer-Encoding")) {
        g->transfer_encodings++;
        g->has_body = true;
        if (!is_name(value, value_n, "chunked"))
            g->bad_encoding = true;
    } else if (is_name(name, name_n, "Host")) {
        g->hosts++;
        copy(g->host, sizeof g->host, value, value_n);
    } else if (is_name(name, name_n, "Origin")) {
        copy(g->origin, sizeof g->origin, value, value_n);
    }
}

/* An IP address or localhost, with or without a port: what a name server cannot redirect. */
static bool is_this_machine(const char *host)
{
    if (host[0] == '[')
        return true;
    size_t n = strcspn(host, ":");
    if (n == strlen("localhost") && strncasecmp(host, "localhost", n) == 0)
        return true;
    return n > 0 && strspn(host, "0123456789.") == n;
}

static const char *judge_target(const char *raw)
{
    if (raw[0] != '/')
        return "the request target must begin with '/'";
    for (const unsigned char *p = (const unsigned char *)raw; *p != 0; p++)
        if (*p <= 0x20 || *p == 0x7f)
            return "the request target holds a blank or control byte; percent-encode it";
    if (strstr(raw, "%00") != NULL)
        return "the request target holds %00";
    size_t path = strcspn(raw, "?#");
    for (size_t i = 0; i + 1 < path; i++) {
        /* "..", ".%2e", "%2e.", "%2e%2e" between slashes. */
        if (raw[i] != '/')
            continue;
        size_t k = i + 1, dots = 0;
        while (k < path && (raw[k] == '.' || strncasecmp(raw + k, "%2e", 3) == 0)) {
            k += raw[k] == '.' ? 1 : 3;
            dots++;
        }
        bool ends = k >= path || raw[k] == '/' || strncasecmp(raw + k, "%2f", 3) == 0;
        if (ends && (dots == 1 || dots == 2))
            return "the path holds a '.' or '..' segment";
    }
    return NULL;
}

static const char *judge_framing(const guard *g, const char *version)
{
    if (g->bad_name)
        return "a header name holds a byte that is not allowed there";
    if (g->bad_value)
        return "a header value holds a control byte";
    if (g->content_lengths > 1)
        return "more than one Content-Length header";
    if (g->bad_length)
        return "Content-Length is not a decimal number";
    if (g->transfer_encodings > 0 && g->content_lengths > 0)
        return "both Content-Length and Transfer-Encoding are given";
    if (g->transfer_encodings > 1 || g->bad_encoding)
        return "the only Transfer-Encoding is chunked";
    if (g->hosts > 1 || (g->hosts == 0 && strcmp(version, "HTTP/1.0") != 0))
        return "exactly one Host header is required";
    return NULL;
}

guard_verdict guard_judge(const guard *g, const char *method, const char *version,
                          const char *raw_target, const char **why)
{
    static const char *const methods[] = {"GET",   "HEAD",   "POST",   "PUT",
                                          "PATCH", "DELETE", "OPTIONS"};
    bool known = false;
    if (g->bytes + strlen(raw_target) > g->header_bytes_max) {
        *why = "request line and headers are too large";
        return GUARD_HEADERS_TOO_LARGE;
    }
    *why = judge_framing(g, version);
    if (*why == NULL)
        *why = judge_target(raw_target);
    if (*why != NULL)
        return GUARD_MALFORMED;
    for (size_t i = 0; i < RZ_COUNT(methods); i++)
        known = known || strcmp(method, methods[i]) == 0;
    if (!known) {
        *why = "the server knows GET, HEAD, POST and DELETE";
        return GUARD_UNKNOWN_METHOD;
    }
    if (g->local_only && g->hosts > 0 && !is_this_machine(g->host)) {
        *why = "without tokens only localhost and IP addresses are answered; make a token with "
               "`rezeptd token create` to serve other names";
        return GUARD_MISDIRECTED;
    }
    if (g->local_only && g->origin[0] != '\0' && strcmp(method, "GET") != 0) {
        const char *host = strstr(g->origin, "://");
        if (host == NULL || strcmp(host + 3, g->host) != 0) {
            *why = "pages of other origins may not change anything here without a token";
            return GUARD_FORBIDDEN;
        }
    }
    return GUARD_PASS;
}
