/* HTTP by libcurl, which is met only here: one easy handle per client, so that the connection is
 * kept, and tries with growing pauses. */
#include "transport.h"

#include "base/buffer.h"
#include "base/hash.h"
#include "base/status.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ANSWER_LIMIT = 256 << 20,
    PAUSE_MS_FIRST = 250,
    PAUSE_MS_MAX = 30000,
    RETRY_AFTER_S_MAX = 600 /* a server that asks for more is asked again all the same */
};

struct rz_client {
    CURL *curl;
    char *url;
    struct curl_slist *authorization;
    rz_client_options options;
    unsigned jitter;
};

rz_client_options rz_client_options_defaults(void)
{
    return (rz_client_options){.url = "http://127.0.0.1:8480", .timeout_s = 60, .tries = 8};
}

rz_status rz_client_setup(void)
{
    if (rz_hash_setup(NULL) != RZ_OK)
        return RZ_E_INTERNAL;
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? RZ_OK : RZ_E_INTERNAL;
}

rz_status rz_client_open(const rz_client_options *options, rz_client **out, rz_error *error)
{
    if (strncmp(options->url, "http://", 7) != 0 && strncmp(options->url, "https://", 8) != 0)
        return rz_fail(error, RZ_E_USAGE,
                       "the server's URL must start with http:// or https://, not \"%s\"",
                       options->url);
    for (const char *p = options->token; p != NULL && *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
            return rz_fail(error, RZ_E_USAGE, "a token has no blanks and no control characters");
    if (options->token != NULL && options->token[0] == '\0')
        return rz_fail(error, RZ_E_USAGE, "the token is empty");
    rz_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a client");
    client->options = *options;
    rz_random_bytes(&client->jitter, sizeof client->jitter);
    client->url = strdup(options->url);
    client->curl = curl_easy_init();
    bool complete = client->url != NULL && client->curl != NULL;
    if (complete && options->token != NULL) {
        rz_buffer header;
        rz_buffer_init(&header, 4096);
        complete = rz_buffer_addf(&header, "Authorization: Bearer %s", options->token) == RZ_OK;
        if (complete)
            client->authorization = curl_slist_append(NULL, header.data);
        complete = complete && client->authorization != NULL;
        rz_buffer_done(&header);
    }
    if (!complete) {
        rz_client_close(client);
        return rz_fail(error, RZ_E_NO_MEMORY, "no memory for a client");
    }
    size_t length = strlen(client->url);
    while (length > 0 && client->url[length - 1] == '/')
        client->url[--length] = '\0';
    *out = client;
    return RZ_OK;
}

void rz_client_close(rz_client *client)
{
    if (client == NULL)
        return;
    curl_slist_free_all(client->authorization);
    if (client->curl != NULL)
        curl_easy_cleanup(client->curl);
    free(client->url);
    free(client);
}

void rz_reply_done(rz_reply *reply)
{
    json_decref(reply->json);
    free(reply->text);
    *reply = (rz_reply){0};
}

static size_t on_body(char *bytes, size_t size, size_t n, void *context)
{
    return rz_buffer_add(context, bytes, size * n) == RZ_OK ? size * n : 0;
}

const char *client_url(const rz_client *client)
{
    return client->url;
}

bool client_goes_on(const rz_client *client)
{
    return client->options.go_on == NULL || client->options.go_on(client->options.context);
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return !client_goes_on(context);
}

/* One try. Returns the curl code; *retry_after_s is -1 when the server did not say. */
static CURLcode try_once(rz_client *client, const char *method, const char *url,
                         struct curl_slist *headers, const char *body, size_t length,
                         rz_buffer *answer, long *http, long *retry_after_s)
{
    CURL *curl = client->curl;
    curl_off_t retry_after = -1;
    curl_easy_reset(curl);
    rz_buffer_clear(answer);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, client->options.timeout_s);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    /* Claims do not travel through a proxy that the environment happens to name. */
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "rezept/" REZEPT_VERSION);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (strcmp(method, "HEAD") == 0)
        (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (body != NULL || strcmp(method, "POST") == 0) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body != NULL ? body : "");
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length);
    }
    CURLcode code = curl_easy_perform(curl);
    *http = 0;
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, http);
    if (curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after) == CURLE_OK && retry_after > 0)
        *retry_after_s = (long)retry_after;
    else
        *retry_after_s = -1;
    return code;
}

/* Waits before try number `next` (2, 3, …): doubled each time, spread by an eighth so that many
 * clients do not come back together, and at least as long as the server asked for. */
static bool pause_before(rz_client *client, unsigned next, long retry_after_s)
{
    long pause_ms = PAUSE_MS_FIRST;
    for (unsigned i = 2; i < next && pause_ms < PAUSE_MS_MAX; i++)
        pause_ms *= 2;
    if (pause_ms > PAUSE_MS_MAX)
        pause_ms = PAUSE_MS_MAX;
    if (retry_after_s > RETRY_AFTER_S_MAX)
        retry_after_s = RETRY_AFTER_S_MAX;
    if (retry_after_s > 0 && retry_after_s * 1000 > pause_ms)
        pause_ms = retry_after_s * 1000;
    client->jitter = client->jitter * 1103515245u + 12345u;
    pause_ms += (long)(client->jitter >> 16) % (pause_ms / 8 + 1);
    for (long waited_ms = 0; waited_ms < pause_ms; waited_ms += 50) {
        const struct timespec step = {.tv_nsec = 50000000};
        if (!client_goes_on(client))
            return false;
        (void)nanosleep(&step, NULL);
    }
    return true;
}

static rz_status status_of(long http)
{
    switch (http) {
    case 400:
        return RZ_E_FORMAT;
    case 401:
        return RZ_E_AUTH;
    case 403:
    case 421:
        return RZ_E_FORBIDDEN;
    case 404:
    case 405:
        return RZ_E_NOT_FOUND;
    case 408:
        return RZ_E_TIMEOUT;
    case 409:
        return RZ_E_CONFLICT;
    case 413:
    case 414:
    case 431:
        return RZ_E_TOO_LARGE;
    case 415:
        return RZ_E_UNSUPPORTED;
    case 422:
        return RZ_E_INVALID;
    case 429:
        return RZ_E_QUEUE_FULL;
    case 502:
    case 503:
    case 504:
        return RZ_E_BUSY;
    case 507:
        return RZ_E_DISK_FULL;
    default:
        return http >= 200 && http < 300 ? RZ_OK : RZ_E_INTERNAL;
    }
}

/* What exists instead, where a problem lists it: " (ckd, amlodipine)". */
static void list_choices(const json_t *problem, char *out, size_t cap)
{
    static const char *const members[] = {"tasks", "models", "facilities"};
    size_t used = 0;
    out[0] = '\0';
    for (size_t m = 0; m < sizeof members / sizeof *members; m++) {
        const json_t *all = json_object_get(problem, members[m]);
        for (size_t i = 0; i < json_array_size(all); i++) {
            const char *name = json_string_value(json_array_get(all, i));
            if (name == NULL || used + strlen(name) + 4 > cap)
                continue;
            used += (size_t)snprintf(out + used, cap - used, "%s%s", used == 0 ? " (" : ", ", name);
        }
    }
    if (used > 0)
        (void)snprintf(out + used, cap - used, ")");
}

/* "title: detail; first of the listed errors" of a problem, or the bare code. */
static rz_status fail_by_problem(const rz_reply *reply, rz_error *error)
{
    const char *title = json_string_value(json_object_get(reply->json, "title"));
    const char *detail = json_string_value(json_object_get(reply->json, "detail"));
    const json_t *first = json_array_get(json_object_get(reply->json, "errors"), 0);
    const char *pointer = json_string_value(json_object_get(first, "pointer"));
    const char *more = json_string_value(json_object_get(first, "detail"));
    const char *setting = json_string_value(json_object_get(reply->json, "setting"));
    char choices[160];
    list_choices(reply->json, choices, sizeof choices);
    if (setting != NULL)
        (void)snprintf(choices, sizeof choices, " (%s = %" JSON_INTEGER_FORMAT ")", setting,
                       json_integer_value(json_object_get(reply->json, "limit")));
    return rz_fail(error, status_of(reply->http), "%s%s%s%s%s%s%s%s (HTTP %ld)",
                   title != NULL ? title : "the server refused", detail != NULL ? ": " : "",
                   detail != NULL ? detail : "", choices, more != NULL ? "; " : "",
                   more != NULL && pointer != NULL ? pointer : "", more != NULL ? ": " : "",
                   more != NULL ? more : "", reply->http);
}

rz_status rz_client_call(rz_client *client, const char *method, const char *path,
                         const char *content_type, const char *body, size_t length, rz_reply *reply,
                         rz_error *error)
{
    rz_status status = RZ_OK;
    rz_buffer url, answer, type;
    struct curl_slist *headers = NULL, *more;
    *reply = (rz_reply){0};
    rz_buffer_init(&url, 16384);
    rz_buffer_init(&type, 256);
    rz_buffer_init(&answer, ANSWER_LIMIT);
    if (rz_buffer_addf(&url, "%s%s", client->url, path) != RZ_OK ||
        rz_buffer_addf(&type, "Content-Type: %s", content_type != NULL ? content_type : "") !=
            RZ_OK) {
        status = rz_fail(error, RZ_E_TOO_LARGE, "the URL of %s is too long", path);
        goto out;
    }
    /* "Expect:" switches 100-continue off: a refused body costs less than a round trip each time.
     */
    headers = curl_slist_append(NULL, "Expect:");
    more = headers == NULL ? NULL : curl_slist_append(headers, type.data);
    if (more != NULL && client->authorization != NULL)
        more = curl_slist_append(headers, client->authorization->data);
    if (more == NULL) {
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for a request");
        goto out;
    }
    CURLcode code;
    for (;;) {
        long retry_after_s;
        reply->tries++;
        code = try_once(client, method, url.data, headers, body, length, &answer, &reply->http,
                        &retry_after_s);
        bool again = code == CURLE_COULDNT_CONNECT || code == CURLE_GOT_NOTHING ||
                     code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR ||
                     code == CURLE_PARTIAL_FILE ||
                     (code == CURLE_OK && (reply->http == 429 || reply->http == 503));
        if (!again || reply->tries >= client->options.tries)
            break;
        if (!pause_before(client, reply->tries + 1, retry_after_s)) {
            code = CURLE_ABORTED_BY_CALLBACK;
            break;
        }
    }
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        status = rz_fail(error, RZ_E_CANCELED, "interrupted");
        goto out;
    }
    if (code == CURLE_WRITE_ERROR) {
        status =
            rz_fail(error, RZ_E_TOO_LARGE, "the answer has more than %d MiB", ANSWER_LIMIT >> 20);
        goto out;
    }
    if (code != CURLE_OK) {
        status =
            rz_fail(error,
                    code == CURLE_OPERATION_TIMEDOUT ? RZ_E_TIMEOUT
                    : code == CURLE_URL_MALFORMAT    ? RZ_E_USAGE
                                                     : RZ_E_BUSY,
                    "%s cannot be reached after %u %s: %s; is rezeptd running there?", client->url,
                    reply->tries, reply->tries == 1 ? "try" : "tries", curl_easy_strerror(code));
        goto out;
    }
    reply->text = rz_buffer_take(&answer, &reply->length);
    if (reply->text == NULL) {
        status = rz_fail(error, RZ_E_NO_MEMORY, "no memory for the answer");
        goto out;
    }
    reply->json = json_loadb(reply->text, reply->length, JSON_REJECT_DUPLICATES, NULL);
    if (status_of(reply->http) != RZ_OK)
        status = fail_by_problem(reply, error);
out:
    curl_slist_free_all(headers);
    rz_buffer_done(&url);
    rz_buffer_done(&type);
    rz_buffer_done(&answer);
    return status;
}
